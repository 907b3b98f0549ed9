#!/usr/bin/env bash
# Tests those of the wheels in dist/wheels that run here: `make test-wheels`. For each
# Python among the arguments, pip chooses and installs the wheel; the tests are all but
# those of the tree itself. On an emulated arm64 processor, as tools/arm64.sh says, they
# are those of the results' bits.
set -euo pipefail
cd "$(dirname "$0")/.."
elsewhere=(--ignore tests/test_bench.py --ignore tests/test_codebase.py)

for python in "$@"; do
  environment=.venv-wheels/test-$(basename "$python")
  test -x "$environment/bin/python" || "$python" -m venv "$environment"
  pip=("$environment/bin/python" -m pip install --quiet)
  "${pip[@]}" --upgrade "pip>=25.1"
  "${pip[@]}" --group test "cython>=3.3"
  "${pip[@]}" --no-index --find-links dist/wheels --no-deps --force-reinstall lamina
  "$environment/bin/python" -m pytest "${elsewhere[@]}"
done

for wheel in dist/wheels/*-cp311-manylinux*_aarch64.whl; do
  WHEEL=$wheel tools/arm64.sh tests/test_bits.py
done
