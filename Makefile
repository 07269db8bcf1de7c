# Two commands on a fresh machine: `make demo` sets up and runs the main job, `make test` sets up and passes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := data,text,lm,store,log,cluster,postgres
STAMP := $(VENV)/.installed
# torch is held at one release in every environment, so that results compare; what builds and installs is locked too
TORCH ?= torch==2.13.0
LOCKED := $(TORCH) pip editables
COMPILE := $(BIN)/uv pip compile pyproject.toml - --python-version 3.11 --upgrade --quiet \
	--no-emit-index-url --no-emit-find-links --annotation-style line --custom-compile-command "make lock"
INSTALL := -m pip install --quiet --build-constraint constraints.txt
# what the suite runs on beside the pins: the newest that pyproject allows, and the lowest of all that it names
PINS_newest :=
PINS_oldest := -c constraints-oldest.txt
# the checks of one system of the contract share a walk, and so a worker
PYTEST := -m pytest -n 2 --dist loadgroup -m "not soak"
TESTS ?= tests
# tests start many processes: what one has compiled, the others read, wherever bytecode is switched off
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup lock api demo test doctest test-newest test-oldest lint soak claims bench clean

help:
	@echo "make demo    set up and run the main job"
	@echo "make test    set up, check style and types, run the tests"
	@echo "make doctest run the examples in docstrings, as make test does first"
	@echo "make soak    the long tests (hundreds of kills, large files)"
	@echo "make claims  run every claim and write docs/claims.md and the pages of its rooms"
	@echo "make bench   measure speed and memory and write docs/bench.md"
	@echo "make lock    pin the newest version of every package in constraints.txt, and the lowest in constraints-oldest.txt"
	@echo "make api     renew the snapshot of public names, once the changelog names what breaks"
	@echo "make test-newest, make test-oldest"
	@echo "             run the tests on the newest and on the lowest versions allowed, in environments of their own"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade -c constraints.txt pip
	$(BIN)/python $(INSTALL) -c constraints.txt -e ".[dev,$(EXTRAS)]"
	@touch $@

lock: setup
	printf '%s\n' $(LOCKED) | $(COMPILE) --all-extras --universal --output-file constraints.txt
	echo $(TORCH) | $(COMPILE) $$(echo ,test,$(EXTRAS) | sed 's/,/ --extra /g') --resolution lowest-direct \
		--output-file constraints-oldest.txt

api: setup
	$(BIN)/python tests/public_api.py

demo: setup
	$(BIN)/remanence run digits

lint: setup
	$(BIN)/ruff format --check src tests bench examples
	$(BIN)/ruff check src tests bench examples
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint doctest
	OMP_NUM_THREADS=1 $(BIN)/python $(PYTEST)

# a job of its own: finding the examples loads every module, which each of several workers would do again
doctest: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --doctest-modules src

test-newest test-oldest: test-%:
	rm -rf .venv-$*
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --upgrade -c constraints.txt pip
	.venv-$*/bin/python $(INSTALL) $(PINS_$*) $(TORCH) -e ".[test,$(EXTRAS)]"
	OMP_NUM_THREADS=1 .venv-$*/bin/python $(PYTEST) $(TESTS)

soak: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m soak

claims: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m remanence.claims --jobs 2

bench: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m bench

clean:
	rm -rf $(VENV) .venv-newest .venv-oldest .mypy_cache .ruff_cache .pytest_cache runs
