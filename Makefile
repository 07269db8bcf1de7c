# Two commands on a fresh machine: `make demo` sets up and runs the main job, `make test` sets up and passes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := dev,data,text,lm,store,log,cluster,postgres
STAMP := $(VENV)/.installed

.PHONY: help setup demo test lint soak claims bench clean

help:
	@echo "make demo    set up and run the main job"
	@echo "make test    set up, check style and types, run the tests"
	@echo "make soak    the long tests (hundreds of kills, large files)"
	@echo "make claims  run every claim and write docs/claims.md"
	@echo "make bench   measure speed and memory and write docs/bench.md"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[$(EXTRAS)]"
	@touch $@

demo: setup
	$(BIN)/remanence run digits

lint: setup
	$(BIN)/ruff format --check src tests bench examples
	$(BIN)/ruff check src tests bench examples
	$(BIN)/mypy

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not soak"

soak: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m soak

claims: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m remanence.claims --jobs 2

bench: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m bench

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache runs
