# Needs only Python 3.10 or newer and make; everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
AIRFLOW := .venv-airflow
ORCHESTRATORS := .venv-orchestrators
WAREHOUSES := .venv-warehouses
LATEST := .venv-latest
SUPERSET := .venv-superset
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
UV := $(BIN)/uv --quiet --no-progress
.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-kills test-all test-airflow test-orchestrators test-superset test-warehouses test-latest environments lint reference bench dist clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.demo ## load an invented call centre into vbc.duckdb; again: load what has arrived since
	$(BIN)/vbc demo

test: $(VENV)/.dev ## run the everyday tests
	$(BIN)/python -m pytest

test-slow: $(VENV)/.dev ## run the tests that are large or need a server: kills, processes, every destination
	$(BIN)/python -m pytest --numprocesses=2 -m "slow or destinations"

test-kills: $(VENV)/.dev ## kill backfills, plans, erasures, fixity, sidecars and loads twenty times each, at random moments
	KILLS=20 $(BIN)/python -m pytest --numprocesses=2 -m "slow or not slow" -k "kill" tests/extract tests/load tests/backfills tests/retention tests/erasure tests/fixity tests/audio tests/evidence

test-all: test test-slow test-orchestrators test-warehouses test-superset ## run all tests but Airflow's; needs PostgreSQL, as .ci/services starts it

test-airflow: $(AIRFLOW)/.ready ## run the DAGs in a real Airflow with PostgreSQL and Redis, in its own environment
	$(AIRFLOW)/bin/python -m pytest -c tests/airflow/pytest.ini tests/airflow

environments: $(AIRFLOW)/.ready $(ORCHESTRATORS)/.ready $(WAREHOUSES)/.ready $(SUPERSET)/.ready ## install what the tests outside .venv need

test-orchestrators: $(ORCHESTRATORS)/.ready ## run the pages about Dagster and Prefect, in an environment of their own
	$(ORCHESTRATORS)/bin/python -m pytest -c tests/orchestrators/pytest.ini tests/orchestrators

test-superset: $(VENV)/.dev $(SUPERSET)/.ready ## import docs/superset into a real Superset, in an environment of its own; needs PostgreSQL
	$(BIN)/python -m pytest -c tests/superset/pytest.ini tests/superset

test-warehouses: $(WAREHOUSES)/.ready ## compile the models for Snowflake, BigQuery and Redshift, and query the metrics
	$(WAREHOUSES)/bin/python -m pytest -c tests/warehouses/pytest.ini tests/warehouses

# Shows what will break when the upper bounds in pyproject.toml are raised. Not part of CI: it may fail at any time.
test-latest: $(LATEST)/.ready ## run the conformance test with the newest dlt, DuckDB and sqlglot, beyond our bounds
	$(UV) pip install --python $(LATEST) --upgrade 'dlt[duckdb,parquet]' duckdb sqlglot
	$(BIN)/uv pip list --python $(LATEST) | grep -E '^(dlt|duckdb|sqlglot) '
	$(LATEST)/bin/python -m pytest tests/extract/test_conformance.py

lint: $(VENV)/.dev ## check format, lint, types, the arrows between packages, and Containerfile
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	if [ -x $(BIN)/hadolint ]; then $(BIN)/hadolint Containerfile; fi

reference: $(VENV)/.dev ## write docs/reference from the code
	$(BIN)/python docs/make_reference.py

bench: $(VENV)/.dev ## measure against other ways to load the same recordings, and write benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks

dist: $(VENV)/.dev ## build wheel and sdist into dist/
	$(BIN)/python -m build

clean: ## remove what was installed, built and loaded here
	rm -rf $(VENV) $(AIRFLOW) $(ORCHESTRATORS) $(LATEST) $(WAREHOUSES) $(SUPERSET) dist vbc.duckdb vbc.duckdb.wal demo_audio

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP_INSTALL) --upgrade "pip>=25.1"

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python $(PIP_INSTALL) --editable '.[emulator,dbt,dashboard]'
	touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python $(PIP_INSTALL) --editable '.[all]' --group dev
	touch $@ $(VENV)/.demo

# These environments hold hundreds of packages. uv installs them in a tenth of pip's time.
$(AIRFLOW)/.ready: pipelines/airflow/requirements.txt tests/airflow/requirements.txt pyproject.toml | $(VENV)/.dev
	$(UV) venv --clear --python $(PYTHON) $(AIRFLOW)
	$(UV) pip install --python $(AIRFLOW) --no-deps --requirement $<
	$(UV) pip install --python $(AIRFLOW) --requirement tests/airflow/requirements.txt
	$(UV) pip install --python $(AIRFLOW) --no-deps --editable .
	touch $@

$(ORCHESTRATORS)/.ready: tests/orchestrators/requirements.txt pyproject.toml | $(VENV)/.dev
	$(UV) venv --clear --python $(PYTHON) $(ORCHESTRATORS)
	$(UV) pip install --python $(ORCHESTRATORS) --editable '.[emulator]' --requirement $<
	touch $@

$(SUPERSET)/.ready: tests/superset/requirements.txt | $(VENV)/.dev
	$(UV) venv --clear --python $(PYTHON) $(SUPERSET)
	$(UV) pip install --python $(SUPERSET) --requirement $<
	touch $@

$(WAREHOUSES)/.ready: tests/warehouses/requirements.txt | $(VENV)/.dev
	$(UV) venv --clear --python $(PYTHON) $(WAREHOUSES)
	$(UV) pip install --python $(WAREHOUSES) --requirement $<
	touch $@

$(LATEST)/.ready: pyproject.toml | $(VENV)/.dev
	$(UV) venv --clear --python $(PYTHON) $(LATEST)
	$(UV) pip install --python $(LATEST) --editable '.[emulator]' pytest pytest-xdist hypothesis
	touch $@
