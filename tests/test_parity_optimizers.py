"""Optimizers, schedules and adaptive clipping: both frameworks from the same weights."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import linen as nn

import jaxrnn
import torch_ref
from experiments.harness.backends.backend import load_backend
from experiments.harness.method.recipe import Recipe
from jaxrnn import SequenceModel, VanillaCell, convert
from jaxrnn.tasks import Batch, CopyTask
from tests.parity_support import assert_agree, assert_weights_agree

B, T, D, N, C = 3, 6, 5, 7, 4
pytestmark = pytest.mark.usefixtures("one_torch_thread")
CELLS = {
    "vanilla": (VanillaCell, torch_ref.VanillaCell),
    "gru": (nn.GRUCell, torch_ref.GRUCell),
    "lstm": (nn.OptimizedLSTMCell, torch_ref.LSTMCell),
}
SETTINGS = {
    "momentum": {"name": "momentum", "lr": 0.02, "recurrent_lr": 0.01},
    "rmsprop": {"name": "rmsprop", "lr": 0.003, "recurrent_lr": 0.001},
    "schedule": {"name": "adam", "lr": 0.01, "warmup_steps": 30, "decay_steps": 80},
    "adaptive": {"name": "adam", "lr": 0.003, "clip_adaptive": 0.01},
    "all": {
        "name": "momentum",
        "lr": 0.5,
        "clip_value": 0.05,
        "clip_adaptive": 0.05,
        "clip_norm": 0.05,
        "warmup_steps": 30,
    },
}
# What is done to each entry alone needs one cell only. Compiling takes the time.
CASES = [
    *[("vanilla", what) for what in SETTINGS if what != "all"],
    *[(cell, "all") for cell in ("gru", "lstm")],
]
STEPS = 100
BOUND = 1e-13  # measured: 3e-16 after one step, 8e-16 after 100


def problem(cell, steps):
    """Random weights, all biases too, and batches for ``steps`` steps."""
    rng = np.random.default_rng(0)
    model = SequenceModel(CELLS[cell][0](N, param_dtype=jnp.float64), C, param_dtype=jnp.float64)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 1, D)))["params"]
    params = jax.tree.map(lambda leaf: 0.4 * rng.standard_normal(leaf.shape), shapes)
    tokens = rng.integers(0, D, (steps, B, T))
    return model, convert.to_weights(params), Batch(tokens, tokens[..., ::-1] % C)


def in_jax(model, weights, batches, *, name, lr, warmup_steps=0, decay_steps=0, **options):
    """Weights, loss and gradient norm after each step."""
    factor = jaxrnn.optimizers.schedule(warmup_steps, decay_steps)
    optimizer = jaxrnn.optimizers.optimizer(name, lr, factor=factor, **options)
    state = jaxrnn.TrainState.create(convert.from_weights(weights), optimizer)
    loss = jaxrnn.training.classification_loss(model, D)
    step = jax.jit(jaxrnn.training.make_train_step(loss, optimizer))
    for batch in zip(*batches, strict=True):
        state, measured = step(state, batch)
        yield convert.to_weights(state.params), measured.loss, measured.grad_norm


def in_torch(
    cell, weights, batches, *, name, lr, recurrent_lr=None, warmup_steps=0, decay_steps=0, **clips
):
    """As ``in_jax``."""
    model = torch_ref.SequenceModel(CELLS[cell][1](D, N, dtype=torch.float64), C)
    torch_ref.convert.load_weights(model, weights)
    factor = torch_ref.optimizers.schedule(warmup_steps, decay_steps)
    optimizer = torch_ref.optimizers.optimizer(name, model, lr, recurrent_lr)
    state = torch_ref.TrainState(model, optimizer, factor=factor, **clips)
    step = torch_ref.training.make_train_step(torch_ref.training.classification_loss(D))
    for batch in zip(*map(torch.tensor, batches), strict=True):
        measured = step(state, batch)
        yield torch_ref.convert.to_weights(model), measured.loss, measured.grad_norm
    rates = [group["lr"] for group in optimizer.param_groups]
    assert rates == ([lr] if recurrent_lr is None else [recurrent_lr, lr])


@functools.cache
def right_in_jax(cell, what):
    """``in_jax`` of all steps, once for all tests that plant nothing there."""
    return [*in_jax(*problem(cell, STEPS), **SETTINGS[what])]


def check(cell, what, steps, jax_is_right=True):
    settings = SETTINGS[what]
    model, weights, batches = problem(cell, STEPS)
    batches = Batch(*(array[:steps] for array in batches))
    sides = (
        right_in_jax(cell, what)[:steps]
        if jax_is_right
        else in_jax(model, weights, batches, **settings),
        in_torch(cell, weights, batches, **settings),
    )
    for k, ((ours, *measured), (theirs, *expected)) in enumerate(zip(*sides, strict=True)):
        at = f"of {cell}, {what}, step {k}"
        for name, a, b in zip(("loss", "grad_norm"), measured, expected, strict=True):
            assert_agree(f"{name} {at}", a, b, BOUND)
        assert_weights_agree(f"weights {at}", ours, theirs, BOUND)


@pytest.mark.parametrize(("cell", "what"), CASES)
def test_many_steps(x64, cell, what):
    check(cell, what, STEPS)


@pytest.mark.parametrize("what", ["adaptive", "all"])
def test_every_clipping_has_an_effect(x64, what):
    """So that the agreement above is about it."""
    _, weights, batches = problem("gru", 5)
    settings = SETTINGS[what]
    *_, (clipped, *_) = in_torch("gru", weights, batches, **settings)
    for name in settings.keys() & {"clip_value", "clip_adaptive", "clip_norm"}:
        *_, (free, *_) = in_torch("gru", weights, batches, **settings | {name: 0.0})
        assert np.abs(free["W_hn"] - clipped["W_hn"]).max() > 1e-6, name


def biases_of_all_gates_as_one(monkeypatch):
    """A stacked bias is taken for one unit."""
    places_of = torch_ref.convert.places_of

    def stacked(model):
        found = places_of(model)
        whole = {id(param): (param, slice(None)) for param, _ in found.values()}
        return {str(key): place for key, place in whole.items()}

    monkeypatch.setattr(torch_ref.optimizers, "places_of", stacked)


def units_are_columns(monkeypatch):
    """The norms of what a unit gives to the others."""
    right = torch_ref.optimizers._unit_norms

    def columns(array):
        return right(array.mT).mT if array.ndim == 2 else right(array)

    monkeypatch.setattr(torch_ref.optimizers, "_unit_norms", columns)


def rmsprop_of_optax(monkeypatch):
    """ε inside the root."""
    right = optax.scale_by_rms
    monkeypatch.setattr(
        optax, "scale_by_rms", lambda decay, eps, eps_in_sqrt: right(decay, eps=eps)
    )


def other_decay(monkeypatch):
    """RMSprop's decay of 0.9, as Optax has it."""
    right = optax.scale_by_rms
    monkeypatch.setattr(optax, "scale_by_rms", lambda decay, **options: right(0.9, **options))


def nesterov(monkeypatch):
    """Nesterov's momentum."""
    right = optax.trace
    monkeypatch.setattr(optax, "trace", lambda decay: right(decay, nesterov=True))


def dampened(monkeypatch):
    """m ← 0.9 m + 0.1 g."""
    monkeypatch.setattr(optax, "trace", lambda decay: optax.ema(decay, debias=False))


def first_step_of_zero(monkeypatch):
    """A warm-up that counts from 0 to W."""
    right = torch_ref.optimizers.schedule

    def late(*args):
        factor = right(*args)
        return lambda step: factor(step - 1)

    monkeypatch.setattr(torch_ref.optimizers, "schedule", late)


def no_schedule(monkeypatch):
    """The factor is not applied."""
    monkeypatch.setattr(torch_ref.optimizers, "schedule", lambda *args: None)


def norm_before_units(monkeypatch):
    """The norm of all gradients is the one before units were clipped."""
    monkeypatch.setattr(
        torch_ref.training,
        "_clip",
        lambda state, gradients, norm: (
            torch_ref.training.clip_by_value(gradients, state.clip_value),
            torch_ref.training.clip_adaptively(state.model, state.clip_adaptive),
            torch_ref.training.clip_by_global_norm(gradients, norm, state.clip_norm),
        ),
    )


BUGS = [
    (biases_of_all_gates_as_one, "gru", "all"),
    (biases_of_all_gates_as_one, "lstm", "all"),
    (units_are_columns, "vanilla", "adaptive"),
    (rmsprop_of_optax, "vanilla", "rmsprop"),
    (other_decay, "vanilla", "rmsprop"),
    (nesterov, "vanilla", "momentum"),
    (dampened, "vanilla", "momentum"),
    (first_step_of_zero, "vanilla", "schedule"),
    (no_schedule, "vanilla", "schedule"),
    (norm_before_units, "gru", "all"),
]
IN_JAX = (rmsprop_of_optax, other_decay, nesterov, dampened)


@pytest.mark.parametrize(("bug", "cell", "what"), BUGS)
def test_planted_bugs_are_caught(x64, monkeypatch, bug, cell, what):
    bug(monkeypatch)
    with pytest.raises(AssertionError, match="differ by"):
        check(cell, what, 4, jax_is_right=bug not in IN_JAX)


@pytest.mark.parametrize("shape", [(1, N), (N, 1), (1, 1)])
def test_units_where_a_size_is_one(rng, x64, shape):
    """Optax takes a matrix of one row or one column for one unit."""
    C, D = shape[0], shape[1]
    torch.manual_seed(0)
    model = torch_ref.SequenceModel(torch_ref.VanillaCell(D, N), C).double()
    weights = torch_ref.convert.to_weights(model)
    weights |= {"b_y": np.zeros(C)}  # a unit of norm 0, which may move by λ · 1e-3
    torch_ref.convert.load_weights(model, weights)
    gradients = {name: rng.standard_normal(array.shape) for name, array in weights.items()}
    for name, (param, rows) in torch_ref.convert.places_of(model).items():
        param.grad = torch.zeros_like(param) if param.grad is None else param.grad
        param.grad[rows] = torch.tensor(gradients[name])
    torch_ref.optimizers.clip_adaptively(model, 0.1)
    clip = optax.adaptive_grad_clip(0.1)
    params = convert.from_weights(weights)
    expected, _ = clip.update(convert.from_weights(gradients), clip.init(params), params)
    found = torch_ref.convert.to_gradients(model)
    assert_weights_agree(f"{shape}", convert.to_weights(expected), found, 1e-14)
    np.testing.assert_allclose(np.linalg.norm(found["b_y"]), 1e-4, rtol=1e-12)


@pytest.mark.parametrize("optimizer", ["momentum", "rmsprop"])
def test_backends_carry_out_a_recipe_the_same_way(optimizer):
    """By the experiments' backends, in float32: all that a recipe says of optimization."""
    recipe = Recipe(
        CopyTask(3),
        hidden=N,
        optimizer=optimizer,
        lr=0.01,
        recurrent_lr=0.003,
        clip_norm=0.2,
        clip_value=0.05,
        clip_adaptive=0.1,
        warmup_steps=4,
        decay_steps=15,
    )
    rng = np.random.default_rng(3)
    backends = [load_backend(name) for name in ("jax", "torch")]
    weights = [backends[1].initial_weights(recipe, 0)]
    batches = recipe.task.sample(rng, 10, 4)
    ours, theirs = (
        backend.make_trainer(recipe, weights).train([batches]).loss[0] for backend in backends
    )
    # float32: a few eps of 1.2e-7 a step; what the schedule does is a thousand times that.
    np.testing.assert_allclose(ours, theirs, rtol=3e-6)
    for changed in ("warmup_steps", "decay_steps"):
        other = dataclasses.replace(recipe, **{changed: 0})
        without = backends[1].make_trainer(other, weights).train([batches]).loss[0]
        assert abs(without[-1] - theirs[-1]) > 1e-3
