# All targets work on a fresh machine with make and Python 3.10 to 3.14.
PYTHON ?= python3
# the version that this project is developed with; TORCH='torch>=2.5,<2.15' installs the newest supported one
TORCH ?= torch==2.13.*
VENV := .venv
BIN := $(VENV)/bin

.PHONY: train test test-cluster quick coverage test-oldest test-slow lint types check docs docs-check bench scores scoreboard
.PHONY: third-party clean

train: $(VENV)/.ready  ## train CartPole-v1 with REINFORCE and a learned baseline
	$(BIN)/policygrad train CartPole-v1 --out runs/cartpole --overwrite

test: $(VENV)/.ready  ## run the tests, including some of the learning tests
	$(BIN)/python -m pytest -n auto -m "not slow" --ignore tests/cluster

test-cluster: $(VENV)/.ready  ## run the tests on Ray clusters of this machine
	$(BIN)/python -m pytest -n 2 tests/cluster

quick: $(VENV)/.ready  ## the tests of what has changed since the last commit, in less than a minute
	$(BIN)/python tests/quick.py

# Machine code is not measured: a line that only compiled code runs counts as missed.
coverage: $(VENV)/.ready  ## which lines of Python no test reaches
	$(BIN)/python -m pytest -n auto -m "not slow" --ignore tests/cluster --cov --cov-report=term --cov-report=html

test-slow: $(VENV)/.ready  ## run the learning tests on all their seeds
	$(BIN)/python -m pytest -n auto tests/learning

# the tests that run all examples and documents are left out, because they do not test versions
test-oldest: .venv-oldest/.ready  ## run the unit tests with the oldest versions that pyproject.toml allows
	POLICYGRAD_MUTATIONS=100 POLICYGRAD_TRIALS=1 .venv-oldest/bin/python -m pytest -n auto \
		-m "not slow" -k "not documents and not examples_run and not fresh_cache" tests/unit

.venv-oldest/.ready: pyproject.toml tests/oldest.txt
	test -x .venv-oldest/bin/python || $(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --upgrade pip
	.venv-oldest/bin/python -m pip install --quiet -r tests/oldest.txt
	.venv-oldest/bin/python -m pip install --quiet --no-deps --editable .
	touch $@

lint: $(VENV)/.ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.ready
	$(BIN)/pyright

check: lint types test test-cluster docs-check  ## run everything that CI runs

docs: $(VENV)/.docs  ## build the documentation site from scratch; a reference that leads nowhere is an error
	rm -rf build/html build/doctrees build/notebooks
	$(BIN)/python -m sphinx -b html -W --keep-going -j 2 -d build/doctrees docs build/html
	@echo "Open file://$(CURDIR)/build/html/index.html in a browser."

docs-check: docs  ## build the documentation site and look at its pages in Chromium, if there is one
	SITE=$(CURDIR)/build/html $(BIN)/python -m pytest -n 2 -rs tests/site

$(VENV)/.docs: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --editable ".[dev,docs]" "$(TORCH)"
	touch $@

bench: $(VENV)/.peers  ## compare the speed with other libraries on this machine: about 20 minutes
	$(BIN)/python benchmarks/bench.py

scores: $(VENV)/.ready  ## measure the returns of the REINFORCE presets on ten seeds each: about 10 minutes on two cores
	$(BIN)/python benchmarks/scores.py
	$(BIN)/policygrad prove --picture docs/images/proof.png

# ONLY: names or patterns of rows, separated by commas; SEEDS: number of seeds per row; CORES: number of runs at a time
scoreboard: $(VENV)/.ready  ## compare every preset with published results; resumes where it stopped: many hours
	$(BIN)/python benchmarks/scoreboard.py $(if $(ONLY),--only "$(ONLY)") $(if $(SEEDS),--seeds $(SEEDS)) \
		$(if $(CORES),--cores $(CORES))

third-party: .venv-third-party/.ready  ## train briefly on environments of about thirty packages
	.venv-third-party/bin/python benchmarks/third_party.py

.venv-third-party/.ready: pyproject.toml benchmarks/third_party.txt
	test -x .venv-third-party/bin/python || $(PYTHON) -m venv .venv-third-party
	.venv-third-party/bin/python -m pip install --quiet --upgrade pip
	.venv-third-party/bin/python -m pip install --quiet --editable . -r benchmarks/third_party.txt
	.venv-third-party/bin/python -m pip install --quiet --no-deps minihack  # it requires an old gym that does not build
	touch $@

# the virtual environment is updated when the dependencies change
$(VENV)/.ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14) and "Python 3.10 to 3.14 is needed; set PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev]" "$(TORCH)"
	touch $@

# the libraries that the benchmarks compare with: several gigabytes
$(VENV)/.peers: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --editable ".[dev,peers]" "$(TORCH)"
	touch $@

clean:
	rm -rf $(VENV) .ruff_cache build dist
