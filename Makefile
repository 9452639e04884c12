# Everything runs in .venv, which the first target makes (some minutes, once) and settings.ini or setup.py renew.
# PYTHON=python3.12 make test   chooses the interpreter;   VENV=path make test   chooses the environment.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help install demo test coverage quick check lint export notebooks docs lab clean
help:
	@echo "make demo        simulate a movie, track it, score it, draw it: all in the folder demo"
	@echo "make lab         open the course in JupyterLab"
	@echo "make test        every check, notebook, test and page; ends with one line of counts"
	@echo "make coverage    make test, and how much of the package it ran through (slower)"
	@echo "make quick       rules, lint, types, and the notebooks and tests touched since the last commit"
	@echo "make check       only the rules of tools/check.py (seconds)"
	@echo "make lint        ruff and mypy; tidies what ruff can tidy"
	@echo "make export      notebooks -> celltrack/, README.md; cleans the notebooks"
	@echo "make notebooks   run all notebooks again and keep their outputs"
	@echo "make docs        the website in _docs (with Quarto where it is installed)"
	@echo "make clean       remove what the other targets made, except .venv"

install: $(INSTALLED)
$(INSTALLED): settings.ini setup.py
	@echo "Installing celltrack and what it needs into $(VENV). This takes some minutes, once."
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "celltrack needs Python 3.11 or newer: PYTHON=python3.12 make ..."'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@

demo: $(INSTALLED)
	$(BIN)/celltrack demo --out demo

test: $(INSTALLED)
	$(BIN)/python tools/run_tests.py

coverage: $(INSTALLED)
	$(BIN)/python tools/run_tests.py --coverage

quick: $(INSTALLED)
	$(BIN)/python tools/run_tests.py --quick

lint: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mypy celltrack

check: $(INSTALLED)
	$(BIN)/python tools/check.py

export: $(INSTALLED)
	$(BIN)/nbdev_export
	$(BIN)/nbdev_clean
	$(BIN)/python tools/readme.py

notebooks: $(INSTALLED)
	$(BIN)/nbdev_export
	$(BIN)/python tools/picture.py
	$(BIN)/python tools/run_notebooks.py
	$(BIN)/python tools/readme.py

docs: $(INSTALLED)
	$(BIN)/python tools/docs.py

lab: $(INSTALLED)
	cd nbs && ../$(BIN)/jupyter lab

clean:
	rm -rf demo _proc _docs build dist .pytest_cache .mypy_cache .ruff_cache .coverage*
