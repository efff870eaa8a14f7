# Each target makes what it needs; all of it stays inside the checkout, in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
# Tests run side by side; two are enough to wait for the slow ones, and more only wait for the cores.
WORKERS ?= 3

.PHONY: demo test check lint bench docs deb clean

$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $(READY)

demo: $(READY)
	$(BIN)/inboxd demo

test: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test

bench: $(READY)
	$(BIN)/python -m bench

# A Debian package in dist/, for the Python that this Debian has.
deb: $(READY)
	packaging/deb $(BIN)/pip

clean:
	rm -rf $(VENV) .bench build dist *.egg-info demo-spool

# What the models say of themselves, as files; a test holds them to it.
docs: $(READY)
	for what in job answer config; do $(BIN)/inboxd schema $$what > docs/$$what.schema.json; done
	$(BIN)/python -c 'from inboxd.daemon.config import sample; print(sample(), end="")' > docs/inboxd.toml
