PYTHON ?= python3
VENV ?= .venv
VERSIONS ?= locked
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
LAB_FLAGS := $(if $(filter 0,$(shell id -u)),--allow-root --no-browser)
# A test waits for two fifths of its time: three processes keep two cores busy.
PYTEST_OPTIONS := --numprocesses=3 --max-worker-restart=0 --durations=25
PYTEST := $(BIN)/python -m pytest $(PYTEST_OPTIONS)
COVERAGE := $(BIN)/python -m coverage
UNIT := tests/unit tests/model
DOCS_VENV := $(VENV)-docs
TESTS ?= tests

# Each engine is a few new interpreters, which would compile the package again: 0.35 s of CPU a start, not 0.25.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: bench-hot bench-peers help demo lab check test test-all test-newest test-lowest test-gpu coverage docs lock style install browser clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## Run the demo notebook to its end; the executed copy and its HTML go to output/
	@$(BIN)/python notebooks/run_demo.py

lab: $(INSTALLED) ## Open the demo notebook in JupyterLab
	$(BIN)/python -m jupyter lab notebooks/quickstart.ipynb $(LAB_FLAGS)

check: style ## Check style and types, and run the tests of parts and models (under 2 minutes)
	$(PYTEST) $(UNIT)

test: style browser ## The same with the engine, kernels, a browser and a cluster (some 6 minutes)
	$(PYTEST) -m "not matrix"

test-all: style browser ## Every test, long properties and matrices; then with the newest and the lowest versions
	$(BIN)/python tests/support/notebooks/kernel_environments.py
	$(PYTEST) --hypothesis-profile=long --timeout=1200
	$(MAKE) test-newest
	$(MAKE) test-lowest
	$(MAKE) docs

test-gpu: $(INSTALLED) ## What needs a real GPU, on a machine that has one (a minute or two)
	$(BIN)/python tools/check_gpus.py

test-newest: ## What `make test` runs, with the newest versions of all that we need
	@rm -f .venv-newest/.installed
	$(MAKE) VENV=.venv-newest VERSIONS=newest test

test-lowest: browser ## The same with the lowest versions that we allow, on Python 3.10
	python=$$(tools/find_python.sh 3.10) && $(MAKE) VENV=.venv-lowest VERSIONS=lowest PYTHON="$$python" install
	.venv-lowest/bin/python -m pytest --numprocesses=3 --max-worker-restart=0 -m "not matrix"

docs: $(DOCS_VENV)/.installed ## Build the documentation as a site, in output/docs; a warning is an error
	$(DOCS_VENV)/bin/python -m sphinx -b html -E -a -W --keep-going -q -d output/doctrees docs output/docs

coverage: $(INSTALLED) browser ## Count the lines that tests run, in every process; TESTS=FILES for some of them
	@rm -rf output/coverage
	@$(COVERAGE) run -m pytest $(PYTEST_OPTIONS) -m "not matrix" $(TESTS); tests=$$?; \
	$(COVERAGE) combine --quiet; rm -f output/coverage/data.*; \
	$(COVERAGE) html --quiet && $(COVERAGE) report && exit $$tests

lock: ## Write the newest versions that pyproject.toml allows to locks/
	@tools/lock.sh $(PYTHON)

bench-hot: $(INSTALLED) ## Measure the CPU time of a task, by process
	$(BIN)/python -m benchmarks.hot_path $(FLAGS)

bench-peers: ## Compare with loky, the standard pool, Ray and dask.distributed (FLAGS=--quick: does it run?)
	@benchmarks/peers/setup.sh $(PYTHON) .venv-peers
	.venv-peers/bin/python -m benchmarks.peers $(FLAGS)

style: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict
	$(BIN)/lint-imports --no-logo
	@tools/check_frontend.sh

install: $(INSTALLED)

browser:
	@tools/browser.sh >/dev/null

$(INSTALLED): pyproject.toml tools/install.sh tools/venv.sh $(wildcard locks/*.txt)
	@tools/install.sh $(PYTHON) $(VENV) $(VERSIONS)
	@touch $@

$(DOCS_VENV)/.installed: pyproject.toml tools/install.sh tools/venv.sh locks/build.txt locks/docs.txt
	@tools/install.sh $(PYTHON) $(DOCS_VENV) docs
	@touch $@

clean: ## Remove everything that these commands made, the virtual environments included
	rm -rf .venv .venv-* .cpython-tests output build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
