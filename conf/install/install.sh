#!/bin/sh
# Installs the gate into a virtual environment of its own: on a bare host and in the image alike.
#
#     conf/install/install.sh [--extra NAME]... [--no-libraries] PREFIX
#
# run from a checkout. PREFIX is made (or brought up to date) and holds bin/iqgate afterwards, the
# documents in share/doc/iqgate, units and samples in share/iqgate. NAME is an extra of
# pyproject.toml: postgresql, tensorrt, cuda, openvino. --no-libraries installs the gate alone, where
# its libraries are there already. PYTHON names another interpreter than python3; it must be 3.11 or
# newer. pip obeys its own environment variables (PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, …).
set -eu

python=${PYTHON:-python3}
extras=
libraries=
prefix=
while [ $# -gt 0 ]; do
  case $1 in
    --extra)
      extras="${extras:+$extras,}$2"
      shift 2
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
  echo "install.sh: where to? conf/install/install.sh [--extra NAME]... [--no-libraries] PREFIX" >&2
  exit 2
fi
source=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "install.sh: $python is older than Python 3.11, or missing; set PYTHON" >&2
  exit 1
fi

[ -x "$prefix/bin/python" ] || "$python" -m venv "$prefix"
"$prefix/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir \
  --constraint "$source/conf/install/constraints.txt" \
  --upgrade $libraries "$source${extras:+[$extras]}"

# a folder at a time, so that what a release drops is gone
for one in "docs:share/doc/iqgate" "systemd:share/iqgate/systemd" "conf:share/iqgate/conf"; do
  to="$prefix/${one#*:}"
  rm -rf "$to"
  mkdir -p "${to%/*}"
  cp -R "$source/${one%%:*}" "$to"
done

# what was installed starts, and its networks are whole
"$prefix/bin/iqgate" --version
"$prefix/bin/iqgate" bundle list
