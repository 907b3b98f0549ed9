# Every word sets itself up in .venv and builds what is out of date.
PYTHON ?= python3
VENV := .venv
PEERS := .venv-peers
BIN := $(VENV)/bin
SOURCES := $(shell find csrc -type f) CMakeLists.txt pyproject.toml \
	python/lamina/kernels.pyx python/lamina/kernels.pxd
# An editable install redirects imports to the files it knew: new ones need a new install.
MODULES := $(sort $(wildcard python/lamina/*.py))

.PHONY: demo test bench bench-peers lint format generate wheel clean

demo: $(VENV)/installed
	$(BIN)/python examples/digits.py

test: $(VENV)/installed
	$(BIN)/python -m pytest

bench: $(VENV)/installed
	$(BIN)/python -m pytest bench --benchmark-only

# With every peer, in an environment of its own: about half an hour.
bench-peers: $(PEERS)/installed
	$(PEERS)/bin/python -m pytest bench --benchmark-only --peers all

lint: $(VENV)/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy bench
	git ls-files 'csrc/*.hpp' 'csrc/*.cpp' | xargs $(BIN)/clang-format --dry-run --Werror
	$(BIN)/python tools/generate.py --check

format: $(VENV)/installed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	git ls-files 'csrc/*.hpp' 'csrc/*.cpp' | xargs $(BIN)/clang-format -i

# Rewrites what is printed from the list of activations: README table, stubs, C API.
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

$(PEERS)/environment: bench/peers/requirements.txt
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --requirement $<
	touch $@

$(PEERS)/installed: $(PEERS)/environment $(SOURCES) $(VENV)/modules
	$(PEERS)/bin/python -m pip install --quiet --no-deps --no-build-isolation .
	touch $@

# Changes only when a Python file comes or goes.
$(VENV)/modules: FORCE
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo '$(MODULES)' | cmp -s - $@ || echo '$(MODULES)' > $@

.PHONY: FORCE
FORCE:
