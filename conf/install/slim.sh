#!/bin/sh
# Takes out of an installation what a gate that is never upgraded in place has no use for: the image's.
#
#     conf/install/slim.sh PREFIX
#
# PREFIX is what install.sh made. Its pip goes, so a newer release needs a new PREFIX. Compiled
# bytecode stays: under a read-only root file system every start would compile everything anew.
set -eu

if [ $# -ne 1 ] || [ ! -x "$1/bin/python" ]; then
  echo "slim.sh: of what? conf/install/slim.sh PREFIX, as install.sh made it" >&2
  exit 2
fi
python=$1/bin/python
site=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

"$python" -m pip uninstall --quiet --yes setuptools pip

# the libraries' own tests and their data
find "$site" -depth -type d -name tests -exec rm -rf {} +

# ONNX Runtime for programs in C; the Python module has its own within it
rm -f "$site"/onnxruntime/capi/libonnxruntime.so.*

# Wheels hold no links, so lib.so, lib.so.3 and lib.so.3.2 come as copies: links, as their makers meant
"$python" - "$site" <<'END'
import hashlib
import pathlib
import sys

first = {}
for path in sorted(pathlib.Path(sys.argv[1]).rglob("*.so*"), key=lambda one: -len(one.name)):
    if path.is_file() and not path.is_symlink():
        content = (path.parent, hashlib.sha256(path.read_bytes()).digest())
        kept = first.setdefault(content, path)
        if kept != path:
            path.unlink()
            path.symlink_to(kept.name)
END
