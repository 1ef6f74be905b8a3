# Everything here works on a fresh machine with Python 3.10 to 3.14 and make.
PYTHON ?= python3
# what this project is developed with; TORCH='torch>=2.5,<2.15' takes the newest that is supported
TORCH ?= torch==2.13.*
VENV := .venv
BIN := $(VENV)/bin

.PHONY: train test test-oldest test-slow lint types check bench scores scoreboard third-party clean

train: $(VENV)/.ready  ## train CartPole-v1 with REINFORCE and a learned baseline
	$(BIN)/policygrad train CartPole-v1 --out runs/cartpole --overwrite

test: $(VENV)/.ready  ## the tests, with a sample of the learning ones
	$(BIN)/python -m pytest -n auto -m "not slow"

test-slow: $(VENV)/.ready  ## the learning tests on all their seeds
	$(BIN)/python -m pytest -n auto tests/learning

# without what runs every example and document, whose subject is not the versions
test-oldest: .venv-oldest/.ready  ## the unit tests with the oldest versions that pyproject.toml allows
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

check: lint types test  ## all that CI runs

bench: $(VENV)/.peers  ## speeds on this machine, beside the libraries that people use: some twenty minutes
	$(BIN)/python benchmarks/bench.py

scores: $(VENV)/.ready  ## what the presets reach, ten seeds each: some ten minutes on two cores
	$(BIN)/python benchmarks/scores.py
	$(BIN)/policygrad proof --picture docs/images/proof.png

# ONLY= rows by name or pattern, separated by commas; SEEDS= so many of each; CORES= so many at a time
scoreboard: $(VENV)/.ready  ## every preset beside published numbers; goes on where it was ended: many hours in all
	$(BIN)/python benchmarks/scoreboard.py $(if $(ONLY),--only "$(ONLY)") $(if $(SEEDS),--seeds $(SEEDS)) \
		$(if $(CORES),--cores $(CORES))

third-party: .venv-third-party/.ready  ## environments of some thirty packages, each trained on for a moment
	.venv-third-party/bin/python benchmarks/third_party.py

.venv-third-party/.ready: pyproject.toml benchmarks/third_party.txt
	test -x .venv-third-party/bin/python || $(PYTHON) -m venv .venv-third-party
	.venv-third-party/bin/python -m pip install --quiet --upgrade pip
	.venv-third-party/bin/python -m pip install --quiet --editable . -r benchmarks/third_party.txt
	.venv-third-party/bin/python -m pip install --quiet --no-deps minihack  # it asks for an old gym that does not build
	touch $@

# the virtual environment is made anew when the dependencies change
$(VENV)/.ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14) and "Python 3.10 to 3.14 is needed; set PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev]" "$(TORCH)"
	touch $@

# what the benchmarks compare with: some gigabytes
$(VENV)/.peers: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --editable ".[dev,peers]" "$(TORCH)"
	touch $@

clean:
	rm -rf $(VENV) .ruff_cache build dist
