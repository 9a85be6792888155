# Two ways in: `make demo` decompiles the example network, `make test` runs every check.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test lint bench clean

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.demo: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) torch
	$(PIP) --editable '.[examples]'
	touch $@

.venv/.test: .venv/.demo
	$(PIP) --editable '.[examples,test]'
	touch $@

demo: .venv/.demo
	$(BIN)/synth run examples/digits_mlp100.toml --jobs 2

test: .venv/.test lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadgroup --quiet

lint: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# One table that we publish: `make bench NAME=digits`
bench: .venv/.test
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/$(NAME).py

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis
