PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
LAB_FLAGS := $(if $(filter 0,$(shell id -u)),--allow-root --no-browser)

.DEFAULT_GOAL := help
.PHONY: help demo lab test test-all check browser clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## Run the demo notebook to its end; the executed copy and its HTML go to output/
	@$(BIN)/python notebooks/run_demo.py

lab: $(INSTALLED) ## Open the demo notebook in JupyterLab
	$(BIN)/python -m jupyter lab notebooks/quickstart.ipynb $(LAB_FLAGS)

test: check browser ## Check style and types, then run the tests
	$(BIN)/python -m pytest -m "not matrix"

test-all: check browser ## The same with every test, and each property tried for longer
	$(BIN)/python tests/support/kernel_environments.py
	$(BIN)/python -m pytest --hypothesis-profile=long --timeout=1200

check: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict

browser:
	@tools/browser.sh >/dev/null

$(INSTALLED): pyproject.toml tools/venv.sh
	@tools/venv.sh $(PYTHON) $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[demo,test]"
	@touch $@

clean: ## Remove everything that these commands made, the virtual environment included
	rm -rf $(VENV) .venv-kernels .cpython-tests output build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
