# Needs Python 3.10 or newer and make, nothing else: everything else is set up in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
AIRFLOW := .venv-airflow
.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-all test-airflow bench lint clean

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## load an invented call centre into vbc.duckdb; again: load what has arrived since
	$(BIN)/vbc demo

test: $(VENV)/.dev ## the everyday tests
	$(BIN)/python -m pytest

test-slow: $(VENV)/.dev ## the tests that are large or want a server: kills by the dozen, every destination
	$(BIN)/python -m pytest -m "slow or destinations"

test-all: test test-slow ## all tests; wants PostgreSQL, as .ci/services starts it

test-airflow: $(AIRFLOW)/.ready ## the DAGs in a real Airflow with PostgreSQL and Redis, in an environment of its own
	$(AIRFLOW)/bin/python -m pytest -c tests/airflow/pytest.ini tests/airflow

bench: $(VENV)/.dev ## measure against other ways to load the same, and write benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks

lint: $(VENV)/.dev ## form, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean: ## remove what was set up and loaded here
	rm -rf $(VENV) $(AIRFLOW) vbc.duckdb vbc.duckdb.wal

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[emulator]'
	touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all]' --group dev
	touch $@ $(VENV)/.demo

$(AIRFLOW)/.ready: pipelines/airflow/requirements.txt pyproject.toml
	$(PYTHON) -m venv $(AIRFLOW)
	$(AIRFLOW)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement $<
	$(AIRFLOW)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@
