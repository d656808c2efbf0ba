# `make demo` runs the main job, `make test` everything that CI runs, `make bench` the benchmarks.
# Each works alone on a fresh checkout: the virtual environment is made on the first call.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# What an installation is made of: it is made again when one of them changed.
SOURCES := pyproject.toml constraints.txt hatch_build.py $(wildcard src/penalize/evaluation/kernels.[ch])
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test bench clean

demo: $(VENV)/.installed-demo
	$(BIN)/penalize path digits --out penalize-path

test: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2

bench: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-demo: $(SOURCES) | $(BIN)/python
	$(INSTALL) torch
	$(INSTALL) -e '.[path]'
	touch $@

$(VENV)/.installed-test: $(SOURCES) | $(BIN)/python
	$(INSTALL) torch
	$(INSTALL) -e '.[all,test]'
	touch $@ $(VENV)/.installed-demo

$(VENV)/.installed-bench: $(SOURCES) | $(BIN)/python
	$(INSTALL) torch
	$(INSTALL) -e '.[bench]'
	touch $@ $(VENV)/.installed-demo
