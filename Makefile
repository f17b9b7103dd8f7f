# `make demo` on a fresh machine is enough: each target sets .venv up first, which is quick when nothing has changed.
PYTHON ?= python3
VENV := .venv
ARGS ?=

.PHONY: help setup demo test test-full test-robots test-faults bench lint
help:
	@echo "make setup      the environment $(VENV) with the command $(VENV)/bin/physai"
	@echo "make demo       the whole graph on the simulated arm (ARGS='--minutes 10')"
	@echo "make test       style, floors and tests: what CI runs first (ARGS='-k name')"
	@echo "make test-full  the same with the long soaks"
	@echo "make test-robots  drivers of real arms by their vendors' clients, against emulated robots; CI runs it as well"
	@echo "make test-faults  the fault matrix against the live graph, every fault five times (about 20 minutes); CI runs it as well"
	@echo "make bench      every bench (ARGS='latency' for one)"
	@echo "make lint       style and floors alone"

setup:
	@command -v $(PYTHON) >/dev/null || { echo "setup: no $(PYTHON) found; install Python 3.10 or newer with venv." >&2; exit 1; }
	@$(PYTHON) tools/set_up.py --venv $(VENV)

demo: setup
	$(VENV)/bin/physai demo $(ARGS)

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports

test: lint
	$(VENV)/bin/python tools/run_tests.py -m "not slow" $(ARGS)

test-full: lint
	$(VENV)/bin/python tools/run_tests.py $(ARGS)

test-robots: setup
	$(VENV)/bin/python tools/test_robots.py $(ARGS)

test-faults: setup
	$(VENV)/bin/physai faults --repeat 5 --tolerate 1 $(ARGS)

bench: setup
	@for name in $(or $(ARGS),latency safety fusion replay training transfer isolation); do \
	  echo "$(VENV)/bin/physai bench $$name"; $(VENV)/bin/physai bench $$name || exit 1; done
