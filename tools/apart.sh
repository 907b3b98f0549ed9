#!/usr/bin/env bash
# Installs Lamina apart from .venv, for another compiler or other options than `make
# test` has: an environment with .venv's packages in the folder of the first argument,
# built below it. The other arguments go to pip install.
set -euo pipefail
cd "$(dirname "$0")/.."
environment=$PWD/$1
shift
packages=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

if ! test -x "$environment/bin/python"; then
  .venv/bin/python -m venv --without-pip "$environment"
  # Its packages, but not what is installed there for editing.
  echo "$packages" > "${packages/"$PWD/.venv"/"$environment"}/packages.pth"
fi
.venv/bin/python -m pip --python "$environment/bin/python" install --quiet --no-deps \
  --no-build-isolation . --config-settings=build-dir="$environment/cmake" "$@"
