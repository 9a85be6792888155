# Two ways in: `make demo` decompiles two networks, `make test` runs every check.
# Linux without an accelerator: `make demo TORCH_INDEX=URL` takes torch from a CPU-only index.
PYTHON ?= python3
TORCH_INDEX ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test lint bench clean

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name it by make PYTHON=python3.12 …"; exit 1; }
	$(PYTHON) -m venv --clear .venv
	touch $@

.venv/.demo: .venv/.made pyproject.toml constraints.txt
	@echo "installing into .venv, first of all PyTorch: some minutes without a word"
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(PIP) --editable '.[examples]'
	touch $@

.venv/.test: .venv/.demo
	$(PIP) --editable '.[examples,test]'
	touch $@

demo: .venv/.demo
	$(BIN)/synth run examples/digits_mlp100.toml --jobs 2
	$(BIN)/synth run examples/pnet.toml --jobs 2
	@echo "next: source .venv/bin/activate; synth report results/digits_mlp100 (docs/tutorial.md)"

test: .venv/.test lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist worksteal --quiet

lint: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# One table that we publish: `make bench NAME=digits`
bench: .venv/.test
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/$(NAME).py

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis
