# Two commands on a fresh machine: `make demo` sets up and runs the main job, `make test` sets up and passes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := dev,data,text,lm,store,log,cluster,postgres
STAMP := $(VENV)/.installed
# torch is held at one release in every environment, so that results compare; what builds and installs is locked too
TORCH ?= torch==2.13.0
LOCKED := $(TORCH) pip hatchling editables
COMPILE := $(BIN)/uv pip compile pyproject.toml - --all-extras --universal --python-version 3.11 --upgrade --quiet \
	--no-emit-index-url --no-emit-find-links --annotation-style line --custom-compile-command "make lock"
INSTALL := -m pip install --quiet --build-constraint constraints.txt

.PHONY: help setup lock demo test lint soak claims bench clean

help:
	@echo "make demo    set up and run the main job"
	@echo "make test    set up, check style and types, run the tests"
	@echo "make soak    the long tests (hundreds of kills, large files)"
	@echo "make claims  run every claim and write docs/claims.md and the pages of its rooms"
	@echo "make bench   measure speed and memory and write docs/bench.md"
	@echo "make lock    pin the newest version of every package in constraints.txt"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade -c constraints.txt pip
	$(BIN)/python $(INSTALL) -c constraints.txt -e ".[$(EXTRAS)]"
	@touch $@

lock: setup
	printf '%s\n' $(LOCKED) | $(COMPILE) --output-file constraints.txt

demo: setup
	$(BIN)/remanence run digits

lint: setup
	$(BIN)/ruff format --check src tests bench examples
	$(BIN)/ruff check src tests bench examples
	$(BIN)/mypy
	$(BIN)/lint-imports

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
