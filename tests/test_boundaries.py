"""The arguments of cells, models, losses, optimizers, training, sampling and the doctor."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

import jaxrnn
from jaxrnn import (
    LeakyCell,
    SequenceModel,
    SkipCell,
    StackedModel,
    TruncatedCell,
    VanillaCell,
    assert_orthogonal,
    bptt,
    convert,
    diagnosis,
    diagnostics,
    group,
    keep_orthogonal,
    optimizers,
    project_recurrent,
    retract_params,
    sampling,
    training,
)
from tests.boundaries import Target, assert_named, try_each_argument

HOME = Path(jaxrnn.__file__).parent
B, T, D, N, C = 2, 4, 3, 5, 2


rng = np.random.default_rng(0)
MATRIX = rng.standard_normal((N, N)).astype(np.float32)
INPUTS = rng.standard_normal((B, T, D)).astype(np.float32)
CELL = VanillaCell(N)
MODEL = SequenceModel(CELL, C)
VARIABLES = MODEL.init(jax.random.key(0), jnp.asarray(INPUTS))
TALKER = SequenceModel(CELL, D)
TALKS = TALKER.init(jax.random.key(0), jnp.asarray(INPUTS))
PARAMS = {"h": {"kernel": MATRIX}}
ROTATION = np.linalg.qr(MATRIX)[0]
BATCH = INPUTS, np.zeros((B, T, C), np.float32)
LOSS = training.regression_loss(MODEL)
STACK = StackedModel([CELL, nn.GRUCell(N + 1)], C)
STACKED = STACK.init(jax.random.key(0), jnp.asarray(INPUTS))
TOKENS = np.zeros((B, T), int)
LEAVES = flatten_dict(VARIABLES["params"], sep="/")
RATES = optimizers.sgd(0.1).init(PARAMS)


def traced(function):
    """Without running what it has traced, and hence without compiling it for every shape."""
    return lambda **arguments: jax.eval_shape(lambda: function(**arguments))


@traced
def loss_of_batch(inputs, targets):
    return LOSS(VARIABLES["params"], (inputs, targets))


@traced
def tokens_of_batch(tokens, classes):
    loss = training.classification_loss(TALKER, D)
    return loss(TALKS["params"], (tokens, classes))


@traced
def stream_of_batch(tokens, classes, is_fresh, carry):
    return training.stream_loss(TALKER, D)(TALKS["params"], (tokens, classes, is_fresh), carry)


def squared(outputs, targets):
    return jnp.mean((outputs - targets) ** 2)


@traced
def apply(inputs, initial_carry, **options):
    return MODEL.apply(VARIABLES, inputs, initial_carry, **options)


@traced
def apply_stack(first_carry, second_carry, **options):
    return STACK.apply(STACKED, initial_carry=(first_carry, second_carry), **options)


@traced
def chunk(state, batches):
    return training.make_train_chunk(LOSS, optax.sgd(0.1), devices=1)(state, batches)


@traced
def built(**options):
    return SequenceModel(CELL, C, **options).apply(VARIABLES, INPUTS)


def cell_of(**options):
    cell = VanillaCell(4, **options)
    return cell.init(jax.random.key(0), jnp.zeros(4), jnp.zeros(D))


def on_matrix(make, **fixed):
    """One step of a method of the group, without compiling it."""

    @traced
    def called(**options):
        optimizer = make(**fixed, **options)
        return optimizer.update(ROTATION, optimizer.init(ROTATION), ROTATION)

    return called


TARGETS = {
    "keep_orthogonal": Target(
        keep_orthogonal,
        {
            "optimizer": optax.sgd(0.1),
            "method": group.group_muon(),
            "where": "kernel",
            "layout": "in_out",
        },
    ),
    "keep_orthogonal.update": Target(
        traced(keep_orthogonal(optax.sgd(0.1), where="W").update),
        {"updates": {"W": ROTATION}, "state": (optax.EmptyState(),) * 2, "params": {"W": ROTATION}},
        ("state",),
        also={"updates": ("keep_orthogonal",), "params": ("keep_orthogonal",)},
    ),
    "assert_orthogonal": Target(
        assert_orthogonal,
        {"params": {"h": {"kernel": ROTATION}}, "tolerance": 0.1, "where": "kernel"},
        also={"params": ("assert_orthogonal",), "tolerance": ("is not orthogonal",)},
    ),
    "group.on_group": Target(
        on_matrix(group.on_group), {"optimizer": optax.sgd(0.1), "way": "second_order"}
    ),
    "group.stiefel_adam": Target(
        on_matrix(group.stiefel_adam), {"learning_rate": 0.1, "b1": 0.9, "b2": 0.9, "eps": 1e-5}
    ),
    "group.group_muon": Target(
        on_matrix(group.group_muon), {"learning_rate": 0.1, "momentum": 0.9}
    ),
    "group.pogo": Target(on_matrix(group.pogo), {"optimizer": optax.sgd(0.1)}),
    "group.landing": Target(
        on_matrix(group.landing), {"learning_rate": 0.1, "momentum": 0.9, "attraction": 1.0}
    ),
    "group.exprnn": Target(on_matrix(group.exprnn), {"optimizer": optax.sgd(0.1), "every": 3}),
    "group.matrix_adam": Target(
        on_matrix(group.matrix_adam), {"learning_rate": 0.1, "b1": 0.9, "b2": 0.9, "eps": 1e-5}
    ),
    "group, a chain": Target(
        lambda where, layout, way, momentum: [
            part.init({"h": {"kernel": ROTATION}})
            for part in (
                group.to_tangent(where, layout),
                group.to_skew(where, layout),
                group.orthogonalize_skew(momentum, where, layout),
                group.from_skew(way, where, layout),
            )
        ],
        {"where": "kernel", "layout": "in_out", "way": "cayley", "momentum": 0.9},
    ),
    "optimizers.scale_by_learning_rate": Target(
        lambda lr: optimizers.scale_by_learning_rate(lr).init(None), {"lr": 0.1}
    ),
    "optimizers.cut_learning_rate": Target(
        optimizers.cut_learning_rate, {"opt_state": RATES, "factor": 0.1}, ("opt_state",)
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
    "project_recurrent, functions": Target(
        lambda chosen, found, **options: project_recurrent(
            where=lambda *_: chosen, retraction=lambda W: found
        ).update(**options, updates=PARAMS),
        {
            "chosen": True,
            "found": MATRIX,
            "state": project_recurrent().init(PARAMS),
            "params": PARAMS,
        },
        also={
            "chosen": ("where",),
            "found": ("retraction",),
            "params": ("project_recurrent",),
        },
    ),
    "retract_params": Target(
        retract_params,
        {"params": PARAMS, "retraction": "qr", "where": "kernel", "layout": "in_out"},
        ("params",),
    ),
    "VanillaCell": Target(VanillaCell, {"features": 4}),
    "VanillaCell.init": Target(
        cell_of, {"activation": "relu", "dtype": None, "param_dtype": np.float32}
    ),
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
            "return_carry": True,
            "reverse": True,
        },
        also={"inputs": ("initial_carry", "seq_lengths")},
    ),
    "SequenceModel, options": Target(
        built,
        {
            "last_only": True,
            "recurrence": "fused",
            "recompute": True,
            "kernel_init": nn.initializers.normal(),
            "bias_init": nn.initializers.zeros,
            "dtype": np.float32,
            "param_dtype": np.float32,
        },
    ),
    "StackedModel.apply": Target(
        apply_stack,
        {
            "inputs": INPUTS,
            "first_carry": np.zeros((B, N), np.float32),
            "second_carry": np.zeros((B, N + 1), np.float32),
            "seq_lengths": np.array([1, T]),
            "return_carry": True,
            "train": False,
        },
        also={
            "inputs": ("initial_carry", "seq_lengths"),
            "first_carry": ("initial_carry",),
            "second_carry": ("initial_carry",),
        },
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
        {"tokens": TOKENS, "classes": TOKENS + 1},
        also={"tokens": ("classes", "inputs")},
    ),
    "stream_loss": Target(
        stream_of_batch,
        {
            "tokens": TOKENS,
            "classes": TOKENS + 1,
            "is_fresh": np.ones(B, bool),
            "carry": np.zeros((B, N), np.float32),
        },
        also={"tokens": ("classes", "inputs", "is_fresh", "carry")},
    ),
    "make_train_chunk": Target(
        training.make_train_chunk, {"loss": LOSS, "optimizer": optax.sgd(0.1), "track_every": 2}
    ),
    "chunk": Target(
        chunk,
        {
            "state": training.TrainState.create(VARIABLES["params"], optax.sgd(0.1)),
            "batches": (INPUTS[None], np.zeros((1, B, T, C), np.float32)),
        },
        also={"batches": ("batch", "inputs")},
    ),
    "make_train_step": Target(
        training.make_train_step, {"loss": LOSS, "optimizer": optax.sgd(0.1)}
    ),
    "TrainState.create": Target(
        training.TrainState.create,
        {
            "params": PARAMS,
            "optimizer": optax.sgd(0.1),
            "carry": np.zeros((B, N), np.float32),
            "key": jax.random.key(0),
        },
    ),
    "classification_loss, arguments": Target(
        training.classification_loss, {"model": TALKER, "num_tokens": D}
    ),
    "stream_loss, arguments": Target(training.stream_loss, {"model": TALKER, "num_tokens": D}),
    "batch of a loss": Target(
        lambda batch: LOSS(VARIABLES["params"], batch),
        {"batch": BATCH},
        also={"batch": ("inputs", "targets")},
    ),
    "batch_mesh": Target(training.batch_mesh, {"devices": 1, "batch_size": 4}),
    "sample": Target(
        sampling.sample,
        {
            "model": TALKER,
            "variables": TALKS,
            "key": jax.random.key(0),
            "prompt": np.array([1, 0]),
            "length": 3,
            "temperature": 0.5,
        },
    ),
    "convert.from_weights": Target(
        lambda **weights: convert.from_weights(weights),
        convert.to_weights(VARIABLES["params"]),
    ),
    "convert, whole": Target(
        lambda weights, params: (convert.from_weights(weights), convert.to_weights(params)),
        {"weights": convert.to_weights(VARIABLES["params"]), "params": VARIABLES["params"]},
        also={"weights": ("arrays",), "params": ("parameter",)},
    ),
    "convert.to_weights": Target(
        lambda **leaves: convert.to_weights(unflatten_dict(leaves, sep="/")), LEAVES
    ),
    "observe": Target(
        lambda inputs, targets, **options: diagnostics.observe(batch=(inputs, targets), **options),
        {
            "model": MODEL,
            "inputs": INPUTS,
            "targets": np.zeros((B, T, C), np.float32),
            "variables": VARIABLES,
            "loss_fn": squared,
        },
        ("targets",),
        also={"inputs": ("outputs",)},
    ),
    "observe_memory": Target(
        diagnostics.observe_memory,
        {"model": MODEL, "variables": VARIABLES, "inputs": INPUTS, "key": jax.random.key(0)},
    ),
    "read_history": Target(
        diagnosis.read_history,
        {"run": {"history": {"val_loss": [1.0, 0.5]}, "status": "completed"}, "baseline": 1.0},
        also={"run": ("history",)},
    ),
    "diagnose": Target(
        jaxrnn.diagnose,
        {
            "model": MODEL,
            "variables": VARIABLES,
            "batch": BATCH,
            "loss_fn": squared,
            "key": jax.random.key(0),
            "thresholds": diagnosis.Thresholds(),
            "history": {"history": {"val_loss": [1.0, 0.5]}, "status": "completed"},
            "baseline": 1.0,
        },
        ("baseline",),  # read_history has the same check, and less to do where it passes
        also={"batch": ("inputs", "targets", "outputs", "sequences")},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_an_argument_is_taken_or_named(target, unchecked):
    try_each_argument(HOME, TARGETS[target])


def test_a_call_that_fails_elsewhere_is_caught():
    """The property itself can fail: JAX's own error, and one that names another argument."""
    with pytest.raises(AssertionError, match="from"):
        assert_named(HOME, lambda: jnp.asarray("three"), "x")
    with pytest.raises(AssertionError, match=r"does not name .*rate"):
        assert_named(HOME, lambda: SkipCell(CELL, 0), "rate")
    with pytest.raises(ZeroDivisionError):
        assert_named(HOME, lambda: 1 / 0, "x")
