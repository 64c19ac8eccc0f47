# Set-up, runs and checks. `make help` lists the targets; each does its own set-up.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help setup atlas ui release test check format lock docs map clean

help: ## List the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: $(READY) ## Make .venv with the locked packages

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'Python 3.11 or later is needed: make PYTHON=python3.11'; exit 1; }
	@echo 'Setting up .venv'
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv
	@$(BIN)/uv pip sync -q --python $(BIN)/python requirements.lock || \
		$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -e .
	@touch $(READY)

atlas: $(READY) ## Run every stage on the demo hub, or on what ATLAS_* variables name
	@$(BIN)/atlas run

ui: $(READY) ## Open the Dagster UI on http://127.0.0.1:3000
	@$(BIN)/atlas ui

release: $(READY) ## Make the release again from the tables that are there (a dry run)
	@$(BIN)/atlas run --select release

test: $(READY) check ## Run all checks and tests
	@$(BIN)/python -m pytest -q -n 2 --dist worksteal --cov=atlas_pipeline --cov-report=term:skip-covered --cov-report=xml

check: $(READY) ## Lint, format check, types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(READY) ## Format and mend what can be mended
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: $(READY) ## Write the generated documents anew
	@$(BIN)/python -m atlas_pipeline.documents

lock: $(READY) ## Resolve the newest allowed packages into requirements.lock
	@$(BIN)/uv pip compile -q --upgrade pyproject.toml --extra dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header -o requirements.lock

map: ## Build the page of the map again after a change under map/ (needs Node)
	@cd map && npm ci --no-audit --no-fund --silent && npm run --silent check && npm run --silent build

clean: ## Remove .venv and caches; the atlas in .atlas stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .coverage coverage.xml dist
