"""The arguments of the reference's public functions."""

from pathlib import Path

import pytest
import torch
from hypothesis import strategies as st

import torch_ref
from tests.boundaries import ANYTHING, ARRAYS, Target, try_each_argument
from torch_ref import (
    GRUCell,
    LeakyCell,
    LSTMCell,
    SequenceModel,
    SkipCell,
    StackedModel,
    TruncatedCell,
    VanillaCell,
    convert,
    diagnostics,
    group,
    initializers,
    keep_orthogonal,
    optimizers,
    orthogonal,
    project_recurrent,
    sample,
    training,
)

HOME = Path(torch_ref.__file__).parent
B, T, D, N, C = 2, 4, 3, 5, 2
TENSORS = ARRAYS.filter(lambda array: array.dtype.kind in "fiu?c").map(torch.tensor)
ANYTHING_OF_TORCH = st.one_of(ANYTHING, TENSORS)

generator = torch.Generator().manual_seed(0)
MATRIX = torch.randn(N, N, generator=generator)
INPUTS = torch.randn(B, T, D, generator=generator)
TOKENS = torch.zeros(B, T, dtype=torch.int32)
CELL = VanillaCell(D, N)
MODEL = SequenceModel(CELL, C)
TALKER = SequenceModel(CELL, D)
STACK = StackedModel([CELL, GRUCell(N, N + 1)], C)
H_0 = torch.zeros(B, N)
ROTATED = SequenceModel(VanillaCell(D, N), C)
project_recurrent(ROTATED).step()


def squared(outputs, targets):
    return ((outputs - targets) ** 2).mean()


def leaky(**options):
    return SequenceModel(LeakyCell(CELL, 0.5), C)(**options)


def skipping(inputs, past, carry):
    return SequenceModel(SkipCell(VanillaCell(D + N, N), 2), C)(inputs, (past, carry))


def lstm(inputs, c, h):
    return SequenceModel(LSTMCell(D, N), C)(inputs, (c, h))


def stacked(inputs, first, second):
    return STACK(inputs, (first, second))


def on_talker(loss):
    return lambda tokens, classes, **more: loss(TALKER, (tokens, classes, *more.values()))


def streamed(tokens, classes, is_fresh, carry):
    return training.stream_loss(D)(TALKER, (tokens, classes, is_fresh), carry)


def sgd():
    return torch.optim.SGD(MODEL.parameters(), lr=0.1)


CARRIED = dict.fromkeys(("inputs", "initial_carry"), ("carry",))
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
    "gradient_profile": Target(
        lambda model, inputs, targets: diagnostics.gradient_profile(
            model, (inputs, targets), squared
        ),
        {"model": MODEL, "inputs": INPUTS, "targets": torch.zeros(B, T, C)},
        ("targets",),
    ),
    "jacobian_singular_values": Target(
        diagnostics.jacobian_singular_values,
        {"cell": CELL, "carry": H_0[0], "inputs": INPUTS[0]},
    ),
    "lyapunov_spectrum": Target(
        diagnostics.lyapunov_spectrum,
        {"cell": CELL, "carry": H_0[0], "inputs": INPUTS[0], "warm_up": 1},
    ),
    "initializers.uniform": Target(initializers.uniform, {"num_units": 4}),
    "initializers.normal": Target(initializers.normal, {"stddev": 0.1}),
    "initializers.orthogonal": Target(initializers.orthogonal, {"scale": 1.0}),
    "initializers.identity": Target(initializers.identity, {"scale": 1.0}),
    "VanillaCell": Target(VanillaCell, {"num_inputs": 2, "features": 4, "activation": "relu"}),
    "GRUCell": Target(GRUCell, {"num_inputs": 2, "features": 4}),
    "LSTMCell": Target(LSTMCell, {"num_inputs": 2, "features": 4}),
    "LeakyCell": Target(LeakyCell, {"cell": CELL, "rate": 0.5}),
    "SkipCell": Target(SkipCell, {"cell": VanillaCell(D + N, N), "steps": 2}),
    "TruncatedCell": Target(TruncatedCell, {"cell": CELL, "steps": 2}),
    "SequenceModel": Target(SequenceModel, {"cell": CELL, "num_outputs": 2, "last_only": True}),
    "StackedModel": Target(
        StackedModel,
        {"cells": [CELL], "num_outputs": 2, "dropout_rate": 0.1, "last_only": True},
        also={"cells": ("needs one cell",)},
    ),
    "SequenceModel()": Target(
        MODEL,
        {"inputs": INPUTS, "initial_carry": H_0},
        also=CARRIED,
    ),
    "LeakyCell()": Target(
        leaky,
        {"inputs": INPUTS, "initial_carry": H_0},
        also=CARRIED,
    ),
    "LSTMCell()": Target(
        lstm,
        {"inputs": INPUTS, "c": H_0, "h": H_0},
        also=CARRIED | {"c": ("carry",), "h": ("carry",)},
    ),
    "SkipCell()": Target(
        skipping,
        {"inputs": INPUTS, "past": torch.zeros(B, 1, N), "carry": H_0},
        also=CARRIED | {"past": ("carry",)},
    ),
    "StackedModel()": Target(
        stacked,
        {"inputs": INPUTS, "first": H_0, "second": torch.zeros(B, N + 1)},
        also=CARRIED | {"first": ("carry",), "second": ("carry",)},
    ),
    "project_recurrent": Target(
        lambda **options: project_recurrent(**options).step(),
        {"model": MODEL, "retraction": "qr", "every": 2, "where": "weight_hh", "layout": "in_out"},
        also={"where": ("needs square",)},
    ),
    "project_recurrent, functions": Target(
        lambda chosen, found: project_recurrent(
            torch.nn.RNNCell(D, N),
            where=lambda name, _: name == "weight_hh" and chosen,
            retraction=lambda W: found,
        ).step(),
        {"chosen": True, "found": MATRIX[None]},
        also={"chosen": ("where",), "found": ("retraction",)},
    ),
    "keep_orthogonal": Target(
        keep_orthogonal,
        {
            "optimizer": sgd(),
            "model": ROTATED,
            "method": "on_group",
            "where": "weight_hh",
            "layout": "out_in",
        },
        also={"where": ("needs square", "keep_orthogonal starts")},
    ),
    "group.SkewMuon": Target(
        lambda **options: group.SkewMuon([MATRIX], **options), {"lr": 0.1, "momentum": 0.9}
    ),
    "group.MatrixAdam": Target(
        lambda **options: group.MatrixAdam([MATRIX], **options),
        {"lr": 0.1, "betas": (0.9, 0.99), "eps": 1e-8},
    ),
    "initializers.rotations": Target(
        initializers.rotations, {"least": -1.0, "most": 1.0}, also={"least": ("most",)}
    ),
    "orthogonal.spectral_band": Target(orthogonal.spectral_band, {"margin": 0.1}),
    "recurrent_diagnostics": Target(diagnostics.recurrent_diagnostics, {"model": MODEL}),
    "convert.to_weights": Target(convert.to_weights, {"model": MODEL}),
    "convert.to_gradients": Target(convert.to_gradients, {"model": MODEL}),
    "convert.load_weights, whole": Target(
        convert.load_weights,
        {"model": MODEL, "weights": convert.to_weights(MODEL)},
        also={"weights": ("arrays",)},
    ),
    "optimizers.optimizer": Target(
        lambda **options: optimizers.optimizer(model=MODEL, **options),
        {"name": "adam", "lr": 0.1, "recurrent_lr": 0.1},
        also={"name": ("optimizer",)},
    ),
    "optimizers.schedule": Target(optimizers.schedule, {"warmup_steps": 2, "decay_steps": 5}),
    "optimizers.cut_learning_rate": Target(
        lambda factor: optimizers.cut_learning_rate(sgd(), factor), {"factor": 0.1}
    ),
    "optimizers.clip_by_value": Target(
        lambda limit: optimizers.clip_by_value([MATRIX.clone()], limit), {"limit": 0.1}
    ),
    "optimizers.clip_by_global_norm": Target(
        lambda **norms: optimizers.clip_by_global_norm([MATRIX.clone()], **norms),
        {"norm": 2.0, "max_norm": 1.0},
    ),
    "optimizers.clip_adaptively": Target(
        lambda ratio: optimizers.clip_adaptively(MODEL, ratio), {"ratio": 0.1}
    ),
    "sample": Target(
        sample,
        {
            "model": TALKER,
            "generator": torch.Generator(),
            "prompt": torch.tensor([1, 0]),
            "length": 3,
            "temperature": 0.5,
        },
    ),
    "convert.load_weights": Target(
        lambda **weights: convert.load_weights(SequenceModel(VanillaCell(D, N), C), weights),
        convert.to_weights(MODEL),
    ),
    "classification_loss": Target(
        on_talker(training.classification_loss(D)),
        {"tokens": TOKENS, "classes": TOKENS + 1},
        also={"tokens": ("classes",)},
    ),
    "stream_loss": Target(
        streamed,
        {
            "tokens": TOKENS,
            "classes": TOKENS + 1,
            "is_fresh": torch.ones(B, dtype=torch.bool),
            "carry": H_0,
        },
        also={"tokens": ("classes", "is_fresh", "carry")},
    ),
    "regression_loss": Target(
        lambda inputs, targets: training.regression_loss()(MODEL, (inputs, targets)),
        {"inputs": INPUTS, "targets": torch.zeros(B, T, C)},
        also={"inputs": ("targets",)},
    ),
    "make_train_chunk": Target(
        training.make_train_chunk,
        {"loss": training.regression_loss(), "track_every": 2},
    ),
    "chunk": Target(
        training.make_train_chunk(training.regression_loss()),
        {
            "state": training.TrainState(MODEL, sgd()),
            "batches": (INPUTS[None], torch.zeros(1, B, T, C)),
        },
        also={"batches": ("batch", "inputs")},
    ),
    "TrainState": Target(
        training.TrainState,
        {
            "model": MODEL,
            "optimizer": sgd(),
            "projection": None,
            "factor": None,
            "clip_norm": 1.0,
            "clip_value": 0.1,
            "clip_adaptive": 0.1,
        },
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_an_argument_is_taken_or_named(target):
    try_each_argument(HOME, TARGETS[target], ANYTHING_OF_TORCH)
