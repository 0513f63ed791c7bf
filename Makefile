# Every developer command in one list. `make` alone prints it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check install --quiet
WAIT ?= 1
MUTANTS ?= 40

.DEFAULT_GOAL := help
.PHONY: chart-readme help setup system-packages demo test fast nightly coverage mutation release-rehearsal test-images test-cluster lint format docs linkcheck bench clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.ready ## install everything into .venv

$(VENV)/.ready: pyproject.toml device_sdk/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed, $(PYTHON) is older: make setup PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo "installing about 3 GB into $(VENV), which takes some minutes: first torch ..."
	@$(PIP) -c constraints.txt torch
	@echo "... then everything else"
	@$(PIP) -c constraints.txt -e './device_sdk[gateway]' -e '.[dev]'
	@echo "done: . $(BIN)/activate, then acclimate doctor"
	@touch $@

# The servers that tests talk to for real. Without root they are asked for by name instead.
system-packages: ## install the Debian packages the tests use, where any is missing
	@missing=$$(dpkg-query -W -f='$${Status} $${Package}\n' $$(cat tests/system-packages.txt) 2>/dev/null | \
	  awk '/^install ok installed/ {print $$4}' | sort | comm -13 - tests/system-packages.txt); \
	if [ -n "$$missing" ]; then \
	  [ "$$(id -u)" = 0 ] || { echo "the tests need Debian packages: sudo apt-get install" $$missing; exit 1; }; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi

demo: setup ## the whole story on real data in one command (WAIT=0 ends instead of keeping pages open)
	WAIT=$(WAIT) $(BIN)/acclimate demo

chart-readme: setup ## write the chart's README anew from its values
	$(BIN)/python -m docs.reference_pages --chart-readme

linkcheck: setup ## ask every other host that the pages link to
	$(BIN)/python -m sphinx -q -b linkcheck docs docs/_build/linkcheck

docs: setup ## build the pages into docs/_build/html; a warning is an error
	$(BIN)/python -m sphinx -q -W --keep-going docs docs/_build/html
	@echo "open docs/_build/html/index.html"

test: setup system-packages lint ## everything CI runs: lint, types, import direction, all tests
	$(BIN)/pytest -q -n 2 --dist loadfile

fast: setup ## the tests that need no server, in an order drawn anew each time
	$(BIN)/pytest -q -p randomly -m 'not slow and not nightly'

coverage: setup system-packages ## all tests, and what they cover, by file
	$(BIN)/pytest -q -n 2 --dist loadfile --cov=acclimate --cov=acclimate_device --cov=acclimate_pipelines \
	  --cov-report=term:skip-covered --cov-report=html:out/coverage

mutation: setup ## mutants of the rooms that must not be wrong, and those that no test killed (MUTANTS=40 a room)
	$(BIN)/python tools/mutants.py --sample $(MUTANTS)

release-rehearsal: setup ## build both distributions, the chart and the notes, install them bare and run them
	$(BIN)/python tools/release.py

nightly: setup system-packages ## the long tests: fault injection, fuzzing, images; an hour on two cores
	$(BIN)/pytest -q -m nightly

test-images: setup ## build and run the three container images (podman; BASE=image, else debootstrap makes one)
	ACCLIMATE_TEST_IMAGES=1 $(BIN)/pytest -q -s tests/images

test-cluster: setup ## install, test, use, upgrade and roll back the chart on the cluster of KUBECONFIG
	$(BIN)/pytest -q -s tests/cluster

lint: setup ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## rewrite the code in the house format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## side by side with the peers, figures with spread: NAMES="sinusoid polls"; none lists them
	$(BIN)/python -m bench $(NAMES)

clean: ## remove what the commands above made
	rm -rf $(VENV) acclimate-home out
