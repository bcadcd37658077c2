# run, test, lint, type and format set up .venv on first use and reuse it afterwards.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BENCHMARK ?= pickcube-awr
# Two processes: most tests wait for imports and subprocesses as much as they compute.
PYTEST_ARGS ?= -n 2

VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--constraint constraints.txt
# Two busy thread pools on two cores are several times slower than one.
ONE_THREAD := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE

.PHONY: run test lint type format venv

run: $(VENV)/run.stamp
	$(BIN)/suite-bench run $(BENCHMARK)

test: $(VENV)/test.stamp
	$(ONE_THREAD) $(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# An editable install maps suite_bench onto cli/ and benchmarks/ at run time, where pyright
# cannot see it, so the same mapping is laid out as links.
type: $(VENV)/test.stamp
	rm -rf build/typing
	mkdir -p build/typing/suite_bench
	ln -s $(CURDIR)/cli/* $(CURDIR)/benchmarks build/typing/suite_bench/
	$(BIN)/pyright --warnings

format: $(VENV)/test.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

venv: $(VENV)/test.stamp

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 is needed, got '$(PYTHON)'; try: make PYTHON=/path/to/python3.11"; \
	  exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: setup.cfg pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV); the first time takes a few minutes."
	$(INSTALL) --editable ".[all]"
	@touch $@

$(VENV)/test.stamp: setup.cfg pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV); the first time takes a few minutes."
	$(INSTALL) --editable ".[all,test]"
	@touch $@ $(VENV)/run.stamp
