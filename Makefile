# Two commands matter: `make lab` to explore, `make test` to check.
# Each sets up its own .venv and does nothing twice: a stamp is younger than
# pyproject.toml once its packages are installed, and the install is editable.

PYTHON ?= python3
BIN := .venv/bin
ROOT_FLAG := $(shell [ "$$(id -u)" = 0 ] && echo --allow-root)

.PHONY: lab test notebooks index prices bench release lint clean help

help:
	@echo 'make lab        set up and open JupyterLab on notebooks/00-start.ipynb'
	@echo 'make test       set up and run all tests but the long notebooks'
	@echo 'make notebooks  execute every notebook, results into artifacts/'
	@echo 'make index      draw and write notebooks/index.ipynb anew'
	@echo 'make prices     make the tables of prices and models anew from genai-prices'
	@echo 'make lint       ruff, mypy and the import contract'
	@echo 'make release    build sdist and wheel, run all tests on what they install'
	@echo 'make bench      measure ours against its peers (long)'

.venv/made.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'kimikit needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ...'; exit 1; }
	$(PYTHON) -m venv .venv || \
	  { echo 'no venv module here; on Debian or Ubuntu: apt-get install python3-venv'; exit 1; }
	@touch $@

.venv/lab.stamp: .venv/made.stamp pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[local,lab,pandas,tokens,prices,sandbox,documents]'
	@touch $@

.venv/dev.stamp: .venv/made.stamp pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ .venv/lab.stamp

lab: .venv/lab.stamp
	@$(BIN)/kimikit fetch
	$(BIN)/jupyter lab $(ROOT_FLAG) $(LAB_FLAGS) notebooks/00-start.ipynb

test: .venv/dev.stamp
	@$(BIN)/kimikit fetch
	$(BIN)/python -m pytest -m 'not notebook and not release' --cov --cov-report=term $(PYTEST_FLAGS)

notebooks: .venv/dev.stamp
	@$(BIN)/kimikit fetch
	$(BIN)/python -m pytest tests/notebooks -m notebook -v $(PYTEST_FLAGS)

index: .venv/dev.stamp
	cd tests && ../$(BIN)/python -m support.index

prices: .venv/dev.stamp
	cd tests && ../$(BIN)/python -m support.make_prices

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

release: .venv/dev.stamp
	@$(BIN)/kimikit fetch
	$(BIN)/python -m pytest tests/test_archives.py -m 'archives or release' -s $(PYTEST_FLAGS)

bench: .venv/dev.stamp
	$(BIN)/python tests/bench/run.py $(BENCH_FLAGS)

clean:
	rm -rf .venv artifacts .pytest_cache .mypy_cache .ruff_cache .hypothesis
