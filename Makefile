# Every target sets up what it needs in .venv, and does so again only when requirements change.
# Nothing but Python 3.11 or newer is expected of the machine: `make PYTHON=/path/to/python demo`.

VENV := .venv
PY := $(VENV)/bin/python
BASE := $(VENV)/.base
RUN := $(VENV)/.run
DEV := $(VENV)/.dev
TRAIN := $(VENV)/.train
BROWSER := $(VENV)/.browser
DEMO := $(VENV)/.demo

# The first interpreter that runs and is new enough; empty when there is none.
NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))'
PYTHON ?= $(shell for p in python3.11 python3 python; do \
	$$p $(NEW_ENOUGH) 2>/dev/null && echo $$p && break; done)
DOCKER ?= $(shell command -v docker || command -v podman || echo docker)
DEVICE ?= cuda
PIP := $(PY) -m pip install --quiet --disable-pip-version-check

# One pip at a time: all targets share .venv.
.NOTPARALLEL:
.PHONY: help demo demo-page test browser-test check format image
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | \
		awk -F ':.*## ' '{printf "make %-12s %s\n", $$1, $$2}'

demo: $(RUN) ## score the bundled examples and show the result
	@mkdir -p out
	$(PY) main.py examples/input.csv out/demo.csv
	@$(PY) scripts/show_table.py out/demo.csv --truth examples/input.csv

demo-page: $(DEMO) ## serve a page to drop pictures on, at http://127.0.0.1:7860
	$(PY) scripts/demo.py

test: $(DEV) $(TRAIN) ## run all tests
	$(PY) -m pytest

browser-test: $(BROWSER) $(DEMO) ## test the pages in Chromium (Debian: apt install chromium)
	$(PY) -m pytest browser_tests

check: $(DEV) ## lint, check formatting and types
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy

format: $(DEV) ## format the code and apply safe lint fixes
	$(PY) -m ruff check --fix
	$(PY) -m ruff format

image: ## build the container image (make image DEVICE=cpu: without CUDA)
	$(DOCKER) build --build-arg DEVICE=$(DEVICE) --tag synthdet:$(DEVICE) .

$(BASE):
	@test -n "$(PYTHON)" && "$(PYTHON)" $(NEW_ENOUGH) 2>/dev/null || { echo >&2 \
		"make: found no Python 3.11 or newer (tried: $(or $(PYTHON),python3.11 python3 python));" \
		"install one, or name it with make PYTHON=/path/to/python"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(RUN): requirements.txt | $(BASE)
	$(PIP) -r requirements.txt
	@touch $@

$(DEV): requirements-dev.txt requirements-openvino.txt $(RUN)
	$(PIP) -r requirements-dev.txt
	@touch $@

$(TRAIN): requirements-train.txt $(RUN)
	$(PIP) -r requirements-train.txt
	@touch $@

# --no-deps: the file names all that is needed, and says why.
$(DEMO): requirements-demo.txt $(RUN)
	$(PIP) --no-deps -r requirements-demo.txt
	@touch $@

$(BROWSER): requirements-browser.txt $(DEV)
	$(PIP) -r requirements-browser.txt
	@touch $@
