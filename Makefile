# galcli: the everyday commands. Everything is installed into virtual environments inside this folder.

PYTHON ?= python3
ENV := .venv
DEMO := .venv-demo
PIP := -m pip --disable-pip-version-check install --quiet -c constraints.txt

.PHONY: env demo test test-slow faults lint bench sample clean

# --- environments ---------------------------------------------------------------------------------------------------

SOURCES := $(shell find galcli training schemas weights -name '*.py' -o -name '*.json' -o -name '*.onnx' -o -name '*.toml')

env: $(ENV)/.ready  ## the environment for tests and training

$(ENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(ENV)
	$(ENV)/bin/python $(PIP) torch
	$(ENV)/bin/python $(PIP) -e '.[train,test]'
	touch $@

$(DEMO)/.ready: pyproject.toml constraints.txt $(SOURCES)
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python $(PIP) --force-reinstall --no-deps .
	$(DEMO)/bin/python $(PIP) .
	touch $@

# --- what one does with them ----------------------------------------------------------------------------------------

demo: $(DEMO)/.ready  ## unpack the sample survey, predict it, show the result
	rm -rf demo
	$(DEMO)/bin/galcli sample demo
	$(DEMO)/bin/galcli predict demo/catalog.fits -o demo/predictions.fits

test: $(ENV)/.ready  ## the tests, in two processes (under 12 minutes on two cores)
	$(ENV)/bin/python -m pytest -m 'not slow' -n 2 --dist loadfile

test-slow: $(ENV)/.ready  ## the tests that need minutes each
	$(ENV)/bin/python -m pytest -m slow

faults: $(ENV)/.ready  ## the fault tests with full counts (10 to 15 minutes); writes tests/faults/REPORT.md
	GALCLI_FAULTS=full $(ENV)/bin/python -m pytest --fault-report tests/faults/REPORT.md

lint: $(ENV)/.ready  ## ruff and mypy
	$(ENV)/bin/ruff check .
	$(ENV)/bin/ruff format --check .
	rm -rf build/types && mkdir -p build/types/galcli
	ln -s $(CURDIR)/galcli/* $(CURDIR)/training $(CURDIR)/schemas $(CURDIR)/weights build/types/galcli/  # as installed
	cd build/types && $(CURDIR)/$(ENV)/bin/mypy --config-file $(CURDIR)/pyproject.toml -p galcli

bench: $(ENV)/.ready  ## ratios against the limits of the machine and the library
	$(ENV)/bin/python -m tests.benchmarks

sample: $(ENV)/.ready  ## make the embedded sample survey anew
	$(ENV)/bin/python -m galcli.training.mock.sample galcli/sample

clean:
	rm -rf $(ENV) $(DEMO) demo build dist *.egg-info
