#!/bin/sh
# Installs the gate into a virtual environment of its own: on a bare host and in the image alike.
#
#     conf/install/install.sh [--extra NAME]... [--only-libraries | --no-libraries] PREFIX
#
# run from a checkout. PREFIX is made (or brought up to date) and holds bin/iqgate afterwards, the
# documents in share/doc/iqgate, units and samples in share/iqgate. NAME is an extra of
# pyproject.toml: postgresql, tensorrt, cuda, openvino. --only-libraries installs what pyproject.toml
# lists and not the gate, --no-libraries the gate alone, where its libraries are there already: an
# image's layers. With DESTDIR in the environment the gate's files are put under $DESTDIR$PREFIX, for
# a PREFIX that has the libraries. PYTHON names another interpreter than python3; it must be 3.11 or
# newer. pip obeys its own environment variables (PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, …).
set -eu

python=${PYTHON:-python3}
destination=${DESTDIR:-}
extras=
only=
libraries=
prefix=
while [ $# -gt 0 ]; do
  case $1 in
    --extra)
      extras="${extras:+$extras,}$2"
      shift 2
      ;;
    --only-libraries)
      only=yes
      shift
      ;;
    --no-libraries)
      libraries=--no-deps
      shift
      ;;
    -*)
      echo "install.sh: $1: no such option; see the head of the script" >&2
      exit 2
      ;;
    *)
      prefix=$1
      shift
      ;;
  esac
done
if [ -z "$prefix" ]; then
  echo "install.sh: where to? conf/install/install.sh [--extra NAME]... PREFIX" >&2
  exit 2
fi
source=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "install.sh: $python is older than Python 3.11, or missing; set PYTHON" >&2
  exit 1
fi

pip_install() {
  "$prefix/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir \
    --constraint "$source/conf/install/constraints.txt" --upgrade "$@"
}

# ONNX Runtime's wheels with and without CUDA fill the same folder, and the gate requires the latter
# by name: whichever pip wrote last is there, or parts of both
one_onnx_runtime() {
  case ",$extras," in
    *,cuda,*)
      "$prefix/bin/python" -m pip uninstall --quiet --yes onnxruntime
      pip_install --no-deps --force-reinstall onnxruntime-gpu
      ;;
  esac
}

[ -x "$prefix/bin/python" ] || "$python" -m venv "$prefix"
if [ -n "$only" ]; then
  wanted=$("$prefix/bin/python" - "$source/pyproject.toml" "$extras" <<'END'
import sys
import tomllib

with open(sys.argv[1], "rb") as file:
    project = tomllib.load(file)["project"]
optional = project["optional-dependencies"]
for name in filter(None, sys.argv[2].split(",")):
    if name not in optional:
        sys.exit(f"install.sh: --extra {name}: pyproject.toml has no such extra")
    project["dependencies"] += optional[name]
print("\n".join(project["dependencies"]))
END
  )
  echo "$wanted" | pip_install --requirement /dev/stdin
  one_onnx_runtime
  exit
fi
pip_install $libraries ${destination:+--root "$destination"} "$source${extras:+[$extras]}"
[ -n "$libraries" ] || one_onnx_runtime
prefix=$destination$prefix

# a folder at a time, so that what a release drops is gone
for one in "docs:share/doc/iqgate" "systemd:share/iqgate/systemd" "conf:share/iqgate/conf"; do
  to="$prefix/${one#*:}"
  rm -rf "$to"
  mkdir -p "${to%/*}"
  cp -R "$source/${one%%:*}" "$to"
done

# what was installed starts, and its networks are whole
if [ -n "$destination" ]; then
  PYTHONPATH=$(echo "$prefix"/lib/python3*/site-packages)${PYTHONPATH:+:$PYTHONPATH}
  export PYTHONPATH
fi
"$prefix/bin/iqgate" --version
"$prefix/bin/iqgate" bundle list
