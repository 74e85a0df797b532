"""Every argument of the public functions, of wrong type, shape, dtype and range.

A call either works, or a ValueError or TypeError of this library names the argument: never an error
from inside JAX, NumPy or Flax.
"""

import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import jaxrnn
from jaxrnn import (
    CharacterTask,
    LeakyCell,
    SequenceModel,
    SkipCell,
    StackedModel,
    Text,
    TruncatedCell,
    VanillaCell,
    bptt,
    convert,
    diagnosis,
    diagnostics,
    initializers,
    numpy_rnn,
    optimizers,
    orthogonal,
    project_recurrent,
    retract_params,
    sampling,
    tasks,
    training,
)

HOME = Path(jaxrnn.__file__).parent
CALLS = 500
B, T, D, N, C = 2, 4, 3, 5, 2


class Target(NamedTuple):
    """A function, and arguments that it takes.

    Attributes:
      fixed: those that are not varied.
      also: names of an argument's parts, either of which says where a fault is.
    """

    call: Callable[..., Any]
    arguments: dict[str, Any]
    fixed: tuple[str, ...] = ()
    also: dict[str, tuple[str, ...]] = {}  # noqa: RUF012 — read only


@pytest.fixture(autouse=True, scope="module")
def unchecked():
    """Without the run-time check of annotations, as users have it."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


DTYPES = st.sampled_from(["f4", "f8", "f2", "i4", "u1", "?", "c8", "U2", "O", "M8[s]"])
ARRAYS = DTYPES.flatmap(
    lambda dtype: hnp.arrays(
        dtype,
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=N),
        elements=st.none() if dtype == "O" else None,
    )
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([2**31, -(2**40), 10**400]),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.builds(object),
)
BAD = st.one_of(
    SCALARS,
    ARRAYS,
    st.lists(SCALARS, max_size=3),
    st.dictionaries(st.text(max_size=2), SCALARS, max_size=2),
)

rng = np.random.default_rng(0)
MATRIX = rng.standard_normal((N, N)).astype(np.float32)
INPUTS = rng.standard_normal((B, T, D)).astype(np.float32)
CELL = VanillaCell(N)
MODEL = SequenceModel(CELL, C)
VARIABLES = MODEL.init(jax.random.key(0), jnp.asarray(INPUTS))
CELL_VARIABLES = {"params": VARIABLES["params"]["cell"]}
TEXT = Text("to be or not to be, that is the question " * 9)
TALKER = SequenceModel(CELL, D)
TALKS = TALKER.init(jax.random.key(0), jnp.asarray(INPUTS))
PARAMS = {"h": {"kernel": MATRIX}}
LOSS = training.regression_loss(MODEL)


def loss_of_batch(inputs, targets):
    return LOSS(VARIABLES["params"], (inputs, targets))


def tokens_of_batch(tokens, classes):
    loss = training.classification_loss(TALKER, D)
    return loss(TALKS["params"], (tokens, classes))


def squared(outputs, targets):
    return jnp.mean((outputs - targets) ** 2)


def apply(inputs, initial_carry, seq_lengths):
    return MODEL.apply(VARIABLES, inputs, initial_carry, seq_lengths=seq_lengths)


TARGETS = {
    **{
        f"orthogonal.{name}": Target(retract, {"W": MATRIX})
        for name, retract in orthogonal.RETRACTIONS.items()
    },
    **{
        f"diagnostics.{measure.__name__}": Target(measure, {"W": MATRIX})
        for measure in (
            diagnostics.spectral_norm,
            diagnostics.spectral_radius,
            diagnostics.orthogonality_error,
        )
    },
    "diagnostics.recurrent_diagnostics": Target(
        diagnostics.recurrent_diagnostics, {"params": PARAMS, "where": None}, ("params",)
    ),
    "initializers.uniform": Target(initializers.uniform, {"num_units": 4}),
    "initializers.normal": Target(initializers.normal, {"stddev": 0.1}),
    "initializers.orthogonal": Target(initializers.orthogonal, {"scale": 1.0}),
    "initializers.identity": Target(initializers.identity, {"scale": 1.0}),
    "tasks.CopyTask": Target(tasks.CopyTask, {"seq_len": 3}),
    "tasks.CopyMemoryTask": Target(tasks.CopyMemoryTask, {"delay": 3}),
    "tasks.AddingTask": Target(tasks.AddingTask, {"seq_len": 3}),
    "tasks.growing_length": Target(
        tasks.growing_length, {"first": 2, "last": 9, "epoch": 1, "epochs": 3}
    ),
    "optimizers.optimizer": Target(
        optimizers.optimizer,
        {
            "name": "adam",
            "lr": 0.1,
            "clip_norm": 1.0,
            "recurrent_lr": 0.1,
            "clip_value": 0.1,
            "clip_adaptive": 0.1,
        },
    ),
    "optimizers.schedule": Target(optimizers.schedule, {"warmup_steps": 2, "decay_steps": 5}),
    "project_recurrent": Target(
        lambda **options: project_recurrent(**options).init(PARAMS),
        {"retraction": "qr", "every": 2, "where": "kernel", "layout": "in_out"},
    ),
    "retract_params": Target(
        retract_params,
        {"params": PARAMS, "retraction": "qr", "where": "kernel", "layout": "in_out"},
        ("params",),
    ),
    "VanillaCell": Target(VanillaCell, {"features": 4}),
    "LeakyCell": Target(LeakyCell, {"cell": CELL, "rate": 0.5}),
    "SkipCell": Target(SkipCell, {"cell": CELL, "steps": 2}),
    "TruncatedCell": Target(TruncatedCell, {"cell": CELL, "steps": 2}),
    "SequenceModel": Target(SequenceModel, {"cell": CELL, "num_outputs": 2}),
    "StackedModel": Target(StackedModel, {"cells": [CELL], "num_outputs": 2, "dropout_rate": 0.1}),
    "SequenceModel.apply": Target(
        apply,
        {
            "inputs": INPUTS,
            "initial_carry": np.zeros((B, N), np.float32),
            "seq_lengths": np.array([1, T]),
        },
        also={"inputs": ("initial_carry", "seq_lengths")},
    ),
    "bptt.recurrence": Target(
        bptt.recurrence,
        {
            "kernel": MATRIX,
            "inputs": np.zeros((T, B, N), np.float32),
            "carry": np.zeros((B, N), np.float32),
            "activation": "modrelu",
            "bias": np.zeros(N, np.float32),
        },
    ),
    "regression_loss": Target(
        loss_of_batch,
        {"inputs": INPUTS, "targets": np.zeros((B, T, C), np.float32)},
        also={"inputs": ("targets",)},
    ),
    "classification_loss": Target(
        tokens_of_batch,
        {"tokens": np.zeros((B, T), int), "classes": np.ones((B, T), int)},
        also={"tokens": ("classes", "inputs")},
    ),
    "make_train_chunk": Target(
        lambda **options: training.make_train_chunk(LOSS, optax.sgd(0.1), **options),
        {"track_every": 2},
    ),
    "batch_mesh": Target(training.batch_mesh, {"devices": 1, "batch_size": 4}),
    "sample": Target(
        lambda **options: sampling.sample(TALKER, TALKS, jax.random.key(0), **options),
        {"prompt": np.array([1, 0]), "length": 3, "temperature": 0.5},
    ),
    "convert.from_weights": Target(
        lambda **weights: convert.from_weights(weights),
        convert.to_weights(VARIABLES["params"]),
    ),
    "usable_horizon": Target(
        diagnostics.usable_horizon, {"profile": np.ones(4, np.float32), "factor": 9.0}
    ),
    "decay_rate": Target(diagnostics.decay_rate, {"profile": np.ones(4, np.float32)}),
    "lyapunov_spectrum": Target(
        lambda **options: diagnostics.lyapunov_spectrum(
            CELL, CELL_VARIABLES, np.zeros(N, np.float32), **options
        ),
        {"inputs": INPUTS[0], "warm_up": 1},
        also={"inputs": ("warm_up", "carry")},
    ),
    "Text": Target(Text, {"characters": "to be or not to be"}),
    "Text.split": Target(TEXT.split, {"name": "train"}),
    "CharacterTask": Target(CharacterTask, {"text": TEXT, "seq_len": 3, "streams": 2}),
    "read_history": Target(
        diagnosis.read_history,
        {"run": {"history": {"val_loss": [1.0, 0.5]}, "status": "completed"}, "baseline": 1.0},
        also={"run": ("history",)},
    ),
    "numpy_rnn.initial_weights": Target(
        lambda **sizes: numpy_rnn.initial_weights(np.random.default_rng(0), **sizes),
        {"num_inputs": 3, "num_units": 4, "num_outputs": 2},
    ),
    "numpy_rnn.clip_by_global_norm": Target(
        numpy_rnn.clip_by_global_norm, {"gradients": {"W": MATRIX}, "max_norm": 1.0}, ("gradients",)
    ),
    "diagnose": Target(
        lambda **options: jaxrnn.diagnose(MODEL, loss_fn=squared, **options),
        {
            "variables": VARIABLES,
            "batch": (INPUTS, np.zeros((B, T, C), np.float32)),
            "baseline": 1.0,
        },
        also={"batch": ("inputs", "targets", "outputs", "sequences")},
    ),
}


def assert_named(call, *names):
    """It works, or says in this library's own words what is wrong with the argument."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call()
        return
    except (ValueError, TypeError) as caught:
        error = caught
    raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    assert HOME in raised_in.parents, f"{type(error).__name__} from {raised_in}: {error}"
    assert any(name in str(error) for name in names), f"does not name {names}: {error}"


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_an_argument_is_taken_or_named(target):
    call, arguments, fixed, also = TARGETS[target]
    call(**arguments)  # works

    @settings(max_examples=CALLS, deadline=None, derandomize=True)
    @given(st.sampled_from(sorted(arguments.keys() - set(fixed))), BAD)
    def try_one(name, value):
        assert_named(lambda: call(**{**arguments, name: value}), name, *also.get(name, ()))

    try_one()


def test_a_call_that_fails_elsewhere_is_caught():
    """The property itself can fail: JAX's own error, and one that names another argument."""
    with pytest.raises(AssertionError, match="from"):
        assert_named(lambda: jnp.asarray("three"), "x")
    with pytest.raises(AssertionError, match=r"does not name .*rate"):
        assert_named(lambda: SkipCell(CELL, 0), "rate")
    with pytest.raises(ZeroDivisionError):
        assert_named(lambda: 1 / 0, "x")
