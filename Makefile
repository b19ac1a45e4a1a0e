# Two commands matter: `make lab` to explore, `make test` to check.
# Each sets up its own environment and does nothing twice: a stamp is younger than the lock
# and pyproject.toml once their packages are installed, and the install is editable.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Every package is one of those that the lock names with their hashes; kimikit itself, and
# what builds it, is fetched from nowhere. UV=uv makes an environment in a tenth of the time;
# pip is the default, as uv does not read where pip.conf fetches from.
UV ?=
LOCKED := $(if $(UV),$(UV) pip install --python $(BIN)/python,$(PIP) install) --quiet --require-hashes -r
SELF := $(PIP) install --quiet --no-deps --no-build-isolation -e .

# Images of containers often set this, and then each of hundreds of processes that the tests
# start compiles kimikit again, and each worker all tests.
unexport PYTHONDONTWRITEBYTECODE

# JupyterLab refuses to run as root, and rightly so, unless root is a container's.
IN_CONTAINER ?= $(wildcard /.dockerenv /run/.containerenv)$(container)$(KUBERNETES_SERVICE_HOST)
ROOT_FLAG := $(and $(strip $(IN_CONTAINER)),$(filter 0,$(shell id -u)),--allow-root)

# Two workers more than cores, as a quarter of the time they wait for a page, a kernel or
# the model; what takes longest begins first. Files stay whole: the tests of one share a
# kernel or a page. (Groups of tests are no way to say so: pytest-xdist 3.8 silently parts
# them under pytest 9.2.)
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 2)
XDIST := -n $(WORKERS) --maxprocesses 8 --dist loadfile --no-loadscope-reorder
COVER := --cov --cov-report=term
# From 3.12 on a tracer that comes and goes makes Python rewrite all code each time (10
# minutes instead of 6); its monitoring costs nothing, and sees branches from 3.14 on.
WATCHED := import sys; v = sys.version_info; \
  print("COVERAGE_CORE=" + ("sysmon" if v >= (3, 12) else "ctrace"), \
        "COVERAGE_BRANCHES=" + str(not (3, 12) <= v < (3, 14)).lower())
FUZZ_S ?= 60

.PHONY: lab test test-python notebooks record index prices bench fuzz release lint lock lowest latest clean help

help:
	@echo 'make lab        set up and open JupyterLab on notebooks/00-start.ipynb'
	@echo 'make test       set up and run all tests but the long notebooks'
	@echo 'make notebooks  execute every notebook, and again from its recording'
	@echo 'make record     run every notebook on HOST for at most USD, and record it'
	@echo 'make index      draw and write notebooks/index.ipynb anew'
	@echo 'make prices     write prices.json and hosts.json from genai-prices and overlay.json'
	@echo 'make lint       ruff, mypy and the import contract'
	@echo 'make fuzz       feed the parsers random streams for $(FUZZ_S) s each, draw 1,000 examples'
	@echo 'make lock       write locks/ for what pyproject.toml asks for now'
	@echo 'make lowest     run the tests on the lowest versions that pyproject.toml allows'
	@echo 'make latest     run the tests on the newest versions of everything'
	@echo 'make release    build sdist and wheel, run all tests on what they install'
	@echo 'make bench      measure ours against its peers (long)'
	@echo
	@echo 'Another Python, in an environment of its own:'
	@echo '                make test PYTHON=python3.13 VENV=.venv-3.13'

$(VENV)/made.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'kimikit needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ...'; exit 1; }
	$(PYTHON) -m venv $(VENV) || \
	  { echo 'no venv module here; on Debian or Ubuntu: apt-get install python3-venv'; exit 1; }
	@touch $@

$(VENV)/lab.stamp: $(VENV)/made.stamp locks/lab.txt pyproject.toml
	$(LOCKED) locks/lab.txt
	$(SELF)
	@touch $@

$(VENV)/dev.stamp: $(VENV)/made.stamp locks/dev.txt pyproject.toml
	$(LOCKED) locks/dev.txt
	$(SELF)
	@touch $@ $(VENV)/lab.stamp

lab: $(VENV)/lab.stamp
	@$(BIN)/kimikit fetch
	$(BIN)/jupyter lab $(ROOT_FLAG) $(LAB_FLAGS) notebooks/00-start.ipynb

test: $(VENV)/dev.stamp
	@$(BIN)/kimikit fetch
	env $$($(BIN)/python -c '$(WATCHED)') $(BIN)/python -m pytest $(XDIST) -m 'not notebook and not release' $(COVER) $(PYTEST_FLAGS)

# What another Python or other versions of libraries could change: no browser, no notebooks.
QUICK := $(XDIST) -m 'not browser and not notebook and not archives and not release'
test-python: $(VENV)/dev.stamp
	@$(BIN)/kimikit fetch
	$(BIN)/python -m pytest $(QUICK) $(PYTEST_FLAGS)

# Each in an environment of its own, made anew from the same Python.
UV_INSTALL := uv pip install --quiet --group build
lowest: $(VENV)/dev.stamp
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)-lowest
	$(BIN)/$(UV_INSTALL) --python $(VENV)-lowest/bin/python --resolution lowest-direct -e '.[dev]'
	@$(VENV)-lowest/bin/kimikit fetch
	$(VENV)-lowest/bin/python -m pytest $(QUICK) $(PYTEST_FLAGS)

latest: $(VENV)/dev.stamp
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)-latest
	$(BIN)/$(UV_INSTALL) --python $(VENV)-latest/bin/python --upgrade -e '.[dev]'
	@$(VENV)-latest/bin/kimikit fetch
	$(VENV)-latest/bin/python -m pytest $(QUICK) $(PYTEST_FLAGS)

notebooks: $(VENV)/dev.stamp
	@$(BIN)/kimikit fetch
	$(BIN)/python -m pytest tests/executed -n $(WORKERS) --maxprocesses 8 --dist load --maxschedchunk 1 -m notebook -v $(PYTEST_FLAGS)

# Needs a key of the host: HOST=together USD=5, and ONLY="03-temperature 06-tools" for some.
record: $(VENV)/dev.stamp
	cd tests && $(abspath $(BIN))/python -m support.record "$(HOST)" "$(USD)" $(ONLY)

index: $(VENV)/dev.stamp
	cd tests && $(abspath $(BIN))/python -m support.index

# From genai-prices as it is installed, and data/overlay.json for what that lacks.
prices: $(VENV)/dev.stamp
	cd tests && $(abspath $(BIN))/python -m support.make_prices

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fuzz: $(VENV)/dev.stamp
	for target in tests/wire/fuzz_*.py; do \
	  $(BIN)/python $$target -max_total_time=$(FUZZ_S) || exit 1; \
	done
	$(BIN)/python -m pytest $(XDIST) -m hypothesis --hypothesis-profile=thorough $(PYTEST_FLAGS)

# The pins that a lock has stay as they are; LOCK_FLAGS=--upgrade takes the newest of all.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' \
  --group build
EXTRAS := local lab pandas tokens prices sandbox documents scale cluster

lock: $(VENV)/made.stamp
	@test -x $(BIN)/uv || $(PIP) install --quiet uv
	$(COMPILE) $(LOCK_FLAGS) --extra dev pyproject.toml -o locks/dev.txt
	$(COMPILE) $(LOCK_FLAGS) $(addprefix --extra ,$(EXTRAS)) -c locks/dev.txt pyproject.toml -o locks/lab.txt

release: $(VENV)/dev.stamp
	@$(BIN)/kimikit fetch
	$(BIN)/python -m pytest tests/test_archives.py -m 'archives or release' -s $(PYTEST_FLAGS)

bench: $(VENV)/dev.stamp
	$(BIN)/python tests/bench/run.py $(BENCH_FLAGS)

clean:
	rm -rf .venv .venv-* artifacts .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -rf .import_linter_cache .coverage .coverage.*
