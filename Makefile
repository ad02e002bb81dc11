# Everything happens in a virtual environment beside this file; `make clean` removes it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help mnist reproduce recipes test long quality wheel clean
.DELETE_ON_ERROR:

help: ## list the targets
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' Makefile

mnist: $(VENV)/installed ## install fastmlp and train a network on MNIST
	$(BIN)/fastmlp train mnist

reproduce: $(VENV)/installed-plots ## check every claim of the original report, on real data, in minutes
	$(fetch_fashion_mnist)
	$(BIN)/fastmlp reproduce

recipes: $(VENV)/installed ## train every recipe with five seeds and write docs/recipes.md, which takes an hour on two cores
	$(fetch_fashion_mnist)
	$(BIN)/python bench/recipes.py --again
	$(BIN)/python bench/make_tables.py docs/recipes.md

# Tests keep data and compiled code in a cache of their own, the same one for all of them (tests/conftest.py).
test long: export FASTMLP_CACHE_DIR ?= $(CURDIR)/.cache
test: $(VENV)/installed-test ## install fastmlp with its test tools, lint, check types, run the tests that one runs before a commit
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(fetch_fashion_mnist)
	$(pytest) -m "not long"

long: $(VENV)/installed-test ## run the tests that need wheels, notebooks, an empty cache of code or many minutes
	$(fetch_fashion_mnist)
	$(pytest) -m long

# Hours, not minutes. What fails is in the page, too. Where `make test` takes all pairs of widths, rules and types, this takes all of them.
PRODUCTS := $(addprefix tests/,kernels embedding network training)
quality: export FASTMLP_CACHE_DIR ?= $(CURDIR)/.cache
quality: export FASTMLP_QUALITY := full
quality: export FASTMLP_QUALITY_LOG := $(CURDIR)/.cache/quality.jsonl
quality: $(VENV)/installed-test ## try to break it, as often as the quality list says, and write docs/quality.md
	mkdir -p .cache docs && rm -f .cache/quality.jsonl && touch .cache/quality.jsonl
	-@$(BIN)/python -m pip install --quiet --disable-pip-version-check tbb # one threading layer more, where there is one
	$(BIN)/python -m pytest tests/quality tests/combinations $(PRODUCTS); status=$$?; \
	    $(BIN)/python bench/quality.py .cache/quality.jsonl docs/quality.md && exit $$status

# Some minutes of each core: it compiles what people need, for each level of x86-64.
wheel: $(VENV)/installed-test ## build a wheel that brings machine code, so that nobody waits for the compiler: for this Python, x86-64 Linux
	FASTMLP_PREBUILD=1 $(BIN)/python -m build --wheel --no-isolation --outdir dist

clean: ## remove the environment, caches and builds
	rm -rf $(VENV) .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

pytest = $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

# Where no mirror answers, Debian's package index may have to be brought up to date first.
define fetch_fashion_mnist
-@$(BIN)/fastmlp data fetch fashion-mnist || { \
    { [ "$$(id -u)" != 0 ] || apt-get update --quiet=2; } && $(BIN)/fastmlp data fetch fashion-mnist --source apt; }
endef

check_version = import sys; v = sys.version_info; v >= (3, 11) or \
    sys.exit("fastmlp needs Python 3.11 or newer, $(PYTHON) is %d.%d; name another: make PYTHON=python3.12 ..." % v[:2])

# The installation is editable: it is made again only when its dependencies may have changed.
$(VENV)/installed: pyproject.toml
	$(call install,.)
	@touch $@

$(VENV)/installed-plots: pyproject.toml
	$(call install,'.[plots]')
	@touch $(VENV)/installed $@

$(VENV)/installed-test: pyproject.toml
	$(call install,'.[test]')
	@touch $(VENV)/installed $@

define install
	@$(PYTHON) -c '$(check_version)'
	@echo "installing $(1) into $(VENV), once"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --editable $(1)
endef
