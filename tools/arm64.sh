#!/usr/bin/env bash
# Builds for arm64 and runs the tests there, on an emulated processor: `make
# test-arm64`. Needs Debian 12, whose Python is 3.11, and no root but for
#
#     apt-get install qemu-user g++-aarch64-linux-gnu
#
# Only Python is emulated: .venv-arm64/bin/python, a script that starts the emulator, is
# what sys.executable names. Compilers, CMake and git are this machine's own. Arguments
# go to pytest. Where WHEEL names a wheel, that is installed instead.
set -euo pipefail
cd "$(dirname "$0")/.."
environment=$PWD/.venv-arm64
root=$environment/root
version=3.11
packages=$environment/lib/python$version/site-packages

# Debian's Python and the libraries that it needs, unpacked under `root`.
make_root() {
  local apt=$environment/apt archive
  mkdir -p "$root" "$apt"/{state/lists,cache/archives}/partial
  touch "$apt/status" # no package is installed
  local get=(apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64
    -o Dir::State="$apt/state" -o Dir::State::status="$apt/status"
    -o Dir::Cache="$apt/cache")
  "${get[@]}" update
  "${get[@]}" install --yes --download-only --no-install-recommends \
    "python$version" "libpython$version-dev" libstdc++6
  for archive in "$apt"/cache/archives/*.deb; do
    dpkg-deb --extract "$archive" "$root"
  done
  rm -r "$apt"
  # Debian's pyconfig.h includes the architecture's, by its path in /usr/include.
  ln -s ../aarch64-linux-gnu "$root/usr/include/python$version/"
}

# A virtual environment: the script, what a test calls by its plain name, and packages.
# The processor has armv8-a and no more, all that the target `neon` may use. With SVE
# and SME, as the emulator's default has, OpenBLAS raises floating-point warnings.
make_environment() {
  local tool
  mkdir -p "$environment/bin"
  echo "home = $root/usr/bin" > "$environment/pyvenv.cfg"
  cat > "$environment/bin/python" << EOF
#!/bin/sh
exec qemu-aarch64 -cpu cortex-a72 -L '$root' -0 "\$0" \\
  '$root/usr/bin/python$version' "\$@"
EOF
  chmod +x "$environment/bin/python"
  for tool in gcc nm; do
    ln -s "$(command -v aarch64-linux-gnu-$tool)" "$environment/bin/$tool"
  done
  .venv/bin/python -m pip install --quiet --target "$packages" --only-binary=:all: \
    --python-version "$version" --platform manylinux_2_28_aarch64 \
    --platform manylinux2014_aarch64 --group dev pip
}

if ! test "$environment/made" -nt pyproject.toml; then
  rm -rf "$environment"
  make_root
  make_environment
  touch "$environment/made"
fi
export PATH=$environment/bin:$PATH
if test "${WHEEL:-}"; then
  python -m pip install --quiet --no-deps --force-reinstall "$WHEEL"
else
  export CMAKE_ARGS="-DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64
    -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -DLAMINA_WERROR=ON"
  python -m pip install --quiet --no-deps --no-build-isolation --editable . \
    --config-settings=build-dir=build/arm64
fi
# What the emulator cannot: fork a process with threads (its own assertions fail), limit
# their number; and what it takes minutes for, so that even a fast processor has time for
# an interrupt.
python -m pytest "$@" \
  --deselect tests/test_pool.py::test_children_of_a_fork_have_threads_of_their_own \
  --deselect tests/test_pool.py::test_fork_in_a_signal_handler \
  --deselect tests/test_pool.py::test_no_threads_to_be_had \
  --deselect tests/test_pool.py::test_control_c_stops_long_work
