# The README's two commands are `make demo` and `make test`; each sets up what it needs first.
# PYTHON=python3.12 chooses another interpreter. Nothing here calls apt.
PYTHON ?= python3
SHELL := /bin/bash
ENVIRONMENT = . .venv/environment.sh
# Options for one run: make demo ARGS='--episodes 3', make test ARGS='test/core -k splice'.
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint docs clean

help:    ## what can be made
	@sed -n 's/^\([a-z]*\): .*## \(.*\)/  make \1\t\2/p; s/^\([a-z]*\):  *## \(.*\)/  make \1\t\2/p' \
	  Makefile | sort -u

setup:    ## .venv, pinned packages, ROS 2, messages and links; seconds when nothing changed
	@$(PYTHON) tools/set_up.py

demo: setup    ## a simulated arm picks and places, driven by action chunks; writes out/demo
	@$(ENVIRONMENT); exec chunked-vla demo $(ARGS)

# numpy's annotations differ between versions; the types are right for those of numpy 2.4.
lint: setup    ## style and types
	@$(ENVIRONMENT); ruff check . && \
	if python -c 'import numpy, sys; sys.exit(numpy.__version__ < "2.4")'; then mypy; \
	else echo 'mypy: skipped, needs the annotations of numpy 2.4 (Python 3.11 or newer)'; fi

# Two processes: one has the tests that start nodes, which mostly wait; the other has the rest and
# stands back behind them (conftest.py).
test: lint    ## style, types and every test
	@$(ENVIRONMENT); ROS_PYTHON_CHECK_FIELDS=1 ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST \
	  exec pytest -raR -n 2 --dist loadgroup $(ARGS)

docs: setup    ## what docs/ repeats of the code: modules, keys of a training
	@$(ENVIRONMENT); python tools/write_docs.py

clean:    ## remove everything that set-up and runs made
	rm -rf .venv build install log out .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
