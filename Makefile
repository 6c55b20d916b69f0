# Everything a checkout needs: Python 3.10 or newer, pip, make, git. Nothing is installed outside of
# this directory.
#
#   make run          bring up server, worker and a real model, and keep serving   (DATA=directory)
#   make test         all tests on the default Python          (TESTS=folder, JOBS=processes)
#   make test-pythons unit and contract tests on every Python from 3.10 to 3.13 that is found
#   make check        format, lint, types, layers, generated pages
#   make bench        the numbers we promise, measured
#   make lock         resolve the pinned requirements anew
#   make docs         write the generated reference pages
#   make clean        remove what was built; DATA is kept

PYTHON ?= python3
VENV   ?= .venv
DATA   ?= .data
TESTS  ?= tests
JOBS   ?= 2
BIN    := $(VENV)/bin
UV     := .make/uv/bin/uv
# Mirrors configured for pip serve uv too; a public index that is not reachable would end the build.
export UV_DEFAULT_INDEX ?= $(shell $(PYTHON) -m pip config get global.index-url 2>/dev/null)
ifeq ($(strip $(UV_DEFAULT_INDEX)),)
unexport UV_DEFAULT_INDEX
endif
export UV_NO_PROGRESS := 1
# It installs below this directory only, so it is harmless as root and need not say otherwise.
export PIP_ROOT_USER_ACTION := ignore
export UV_PYTHON_DOWNLOADS := never
unexport VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: help run test test-pythons check bench lock docs clean

help:
	@sed -n 's/^#   //p' Makefile

run: $(VENV)/.ready-run
	@$(BIN)/aimindserve quickstart --data-dir $(DATA)

test: $(VENV)/.ready-test
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(TESTS)

test-pythons: $(UV)
	@.ci/test-pythons

check: $(VENV)/.ready-check
	$(BIN)/ruff format --check src tests tools
	$(BIN)/ruff check src tests tools
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	$(BIN)/python -m aimindserve.boot.reference --check docs
	$(BIN)/python -m aimindserve.cli._reference --check docs

# Two more need an environment of their own: memory_vllm.py and parts_transformers.py say which.
BENCHES := $(filter-out %_mock.py %_vllm.py %_transformers.py,$(wildcard tests/bench/[a-z]*.py))
bench: $(VENV)/.ready-test
	@for script in $(BENCHES); do echo "== $$script"; PYTHONPATH=tests $(BIN)/python $$script || exit 1; done

LOCK := $(UV) pip compile --quiet --universal --python-version 3.10 --generate-hashes \
        --no-emit-index-url --no-annotate --custom-compile-command "make lock" --all-extras --group build
lock: $(UV)
	echo uv | $(UV) pip compile --quiet --universal --python-version 3.10 --generate-hashes \
	  --no-emit-index-url --no-annotate --custom-compile-command "make lock" - -o requirements/uv.txt
	$(LOCK) pyproject.toml -o requirements/run.txt
	$(LOCK) --group test -c requirements/run.txt pyproject.toml -o requirements/test.txt
	$(LOCK) --group test --group check -c requirements/test.txt pyproject.toml -o requirements/check.txt

docs: $(VENV)/.ready-run
	$(BIN)/python -m aimindserve.boot.reference docs
	$(BIN)/python -m aimindserve.cli._reference docs
	$(BIN)/python -m aimindserve.server.openapi_snapshot docs/reference/openapi.json
	$(BIN)/python tools/api_reference.py
	$(BIN)/python tools/troubleshooting.py

clean:
	rm -rf .make .venv .venv-3.* build dist .ruff_cache .import_linter_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(UV): requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "Python 3.10 or newer is needed; name one with make PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --upgrade --require-hashes \
	  --target .make/uv -r requirements/uv.txt
	@touch $@

$(BIN)/python: | $(UV)
	$(UV) venv --quiet --python $(PYTHON) $(VENV)

$(VENV)/.ready-%: requirements/%.txt pyproject.toml | $(UV) $(BIN)/python
	$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r $<
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@# Compiling at the first start would make it twice as slow; some machines even forbid it.
	@$(BIN)/python -m compileall -q src
	@touch $@
