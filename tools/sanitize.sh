#!/usr/bin/env bash
# Builds with sanitizers and runs the tests: `make sanitize`. The first argument says
# which, address,undefined or thread; the others go to pytest.
#
# Only our code is instrumented, not Python or NumPy; what sanitizers must know of them
# (allocations, locks, threads) they learn from the library that is loaded first. They
# do not see what masked vector instructions read and write.
set -euo pipefail
cd "$(dirname "$0")/.."
sanitizers=$1
shift
name=${sanitizers%%,*}
environment=build/sanitize/$name
tools/apart.sh "$environment" --config-settings=install.strip=false \
  --config-settings=cmake.define.LAMINA_SANITIZE="$sanitizers"

# No test of our code, or none that a sanitizer leaves as it is.
skipped=(
  # They read the symbols of the objects of `make test`.
  --deselect tests/test_codebase.py::test_no_foreign_weak_symbols
  # They limit the address space, of which sanitizers take terabytes.
  --deselect tests/test_activations.py::test_strided_softmax_without_memory_raises
  --deselect tests/test_numbers.py::test_any_number_anywhere
  --deselect tests/test_pool.py::test_no_threads_to_be_had
  --deselect tests/test_pool.py::test_memory_that_is_not_there
  --deselect tests/test_pool.py::test_memory_for_packing_that_is_not_there
  # They keep memory that was given back, and books of all that is read.
  --deselect tests/test_pool.py::test_scratch_of_a_large_call_is_given_back
  --deselect tests/test_dense.py::test_more_elements_than_32_bits_count
  # Speeds, which say nothing here; what it calls has tests of its own.
  --ignore tests/test_bench.py
)
# NumPy's calls of its own threads are none of ours.
export OPENBLAS_NUM_THREADS=1
case $name in
  address)
    # Every object of Python with borders of its own. What Python allocates once and
    # never frees is no leak.
    export PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=1
    export UBSAN_OPTIONS=print_stacktrace=1
    ;;
  thread)
    export TSAN_OPTIONS=halt_on_error=1:suppressions=$PWD/tools/tsan.supp
    skipped+=(
      # It does not follow the threads of a process with several into a fork.
      --deselect tests/test_pool.py::test_children_of_a_fork_have_threads_of_their_own
      --deselect tests/test_pool.py::test_fork_in_a_signal_handler
      --deselect tests/test_pool.py::test_processes_of_a_pool
    )
    ;;
esac
# With the C++ library, which Python does not load by itself: exceptions are watched.
LD_PRELOAD="$(g++ -print-file-name="lib${name:0:1}san.so") $(g++ -print-file-name=libstdc++.so)" \
  exec "$environment/bin/python" -m pytest -p no:cacheprovider "${skipped[@]}" "$@"
