"""Optimizers against Optax's own and PyTorch's, and rates that are cut as they run."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

import torch_ref
from jaxrnn import assert_orthogonal, group, keep_orthogonal, retract_params
from jaxrnn.convert import from_weights
from jaxrnn.optimizers import (
    OPTIMIZERS,
    adam,
    cut_learning_rate,
    momentum,
    optimizer,
    rmsprop,
    schedule,
    sgd,
)
from tests import numpy_reference as reference
from tests.trees import assert_trees_close, global_norm

# A few steps in float64, whose sums XLA orders differently from one program to the next.
FLOAT64 = {"rtol": 1e-12, "atol": 1e-14}
PAIRS = [
    (adam, optax.adam),
    (sgd, optax.sgd),
    (momentum, lambda lr: optax.sgd(lr, 0.9)),
    (rmsprop, lambda lr: optax.rmsprop(lr, 0.99, eps_in_sqrt=False)),
]


@pytest.fixture
def params_and_grads(rng, x64):
    """Parameters, and gradients of two steps: above the clipping norm of 1 and below it."""
    params, large, small = (from_weights(reference.random_weights(rng)) for _ in range(3))
    small = jax.tree.map(lambda leaf: 0.05 * leaf, small)
    assert global_norm(small) < 1 < global_norm(large)
    return params, [large, small]


def last_updates(optimizer, params, grads):
    update, state = jax.jit(optimizer.update), optimizer.init(params)
    for gradient in grads:
        updates, state = update(gradient, state, params)
    return updates


def test_a_method_moves_the_matrix_alone_and_inside_of_clipping_and_schedule(params_and_grads):
    params, grads = params_and_grads
    params = retract_params(params)
    method = group.group_muon(0.03)
    factor = schedule(warmup_steps=2, decay_steps=9)
    ours = adam(1e-3, clip_norm=0.5, factor=factor, method=method)
    rest = optax.chain(optax.adam(1e-3), optax.scale_by_schedule(factor))
    by_hand = optax.chain(optax.clip_by_global_norm(0.5), keep_orthogonal(rest, method))
    updates = last_updates(ours, params, grads)
    assert_trees_close(updates, last_updates(by_hand, params, grads), **FLOAT64)
    assert_orthogonal(optax.apply_updates(params, last_updates(ours, params, grads[:1])), 1e-13)
    with pytest.raises(ValueError, match="a method has its own rate, got recurrent_lr"):
        adam(1e-3, recurrent_lr=0.1, method=method)


@pytest.mark.parametrize(("ours", "optax_own"), PAIRS)
@pytest.mark.parametrize("arguments", [(1e-3,), (1e-3, 0.0)])
def test_without_clipping_it_is_optax_own(params_and_grads, ours, optax_own, arguments):
    updates = last_updates(ours(*arguments), *params_and_grads)
    assert_trees_close(updates, last_updates(optax_own(1e-3), *params_and_grads), **FLOAT64)


def test_adam_clips_before_the_moments_and_by_the_norm_of_all_gradients(params_and_grads):
    params, (large, small) = params_and_grads
    clipped = jax.tree.map(lambda leaf: leaf / global_norm(large), large)
    expected = last_updates(optax.adam(1e-3), params, [clipped, small])
    assert_trees_close(last_updates(adam(1e-3, 1.0), params, [large, small]), expected, **FLOAT64)

    expected["cell"]["h"]["kernel"] = expected["cell"]["h"]["kernel"] / 10
    updates = last_updates(adam(1e-3, 1.0, recurrent_lr=1e-4), params, [large, small])
    assert_trees_close(updates, expected, **FLOAT64)


@pytest.mark.parametrize("clip_norm", [0.0, 0.5])
def test_clipping_by_value_comes_before_clipping_by_norm(params_and_grads, clip_norm):
    params, (large, _) = params_and_grads
    clipped = jax.tree.map(lambda leaf: jnp.clip(leaf, -0.3, 0.3), large)
    norm = global_norm(clipped)
    assert norm > 0.5
    scale = clip_norm / norm if clip_norm else 1.0
    expected = jax.tree.map(lambda leaf: -1e-2 * scale * leaf, clipped)
    updates = last_updates(sgd(1e-2, clip_norm, clip_value=0.3), params, [large])
    assert_trees_close(updates, expected, **FLOAT64)


@pytest.mark.parametrize("clip_norm", [0.0, 0.05])
def test_adaptive_clipping_is_between_clipping_by_value_and_by_norm(params_and_grads, clip_norm):
    """Each row of the equations' matrices to λ times the norm of its weights, biases as a whole."""
    params, (large, _) = params_and_grads

    def clip(weight, gradient):
        axes = 0 if gradient.ndim == 2 else None  # a Flax kernel is (in, out)
        gradient = np.clip(gradient, -0.3, 0.3)
        norm, limit = (np.linalg.norm(x, axis=axes, keepdims=True) for x in (gradient, weight))
        assert (norm > 0.1 * limit).all()
        return gradient * (0.1 * limit / norm)

    clipped = jax.tree.map(clip, params, large)
    assert global_norm(clipped) > 0.05
    scale = clip_norm / global_norm(clipped) if clip_norm else 1.0
    expected = jax.tree.map(lambda leaf: -1e-2 * scale * leaf, clipped)
    ours = sgd(1e-2, clip_norm, clip_value=0.3, clip_adaptive=0.1)
    assert_trees_close(last_updates(ours, params, [large]), expected, **FLOAT64)


def test_adaptive_clipping_lets_units_of_zero_move(params_and_grads):
    params, (large, _) = params_and_grads
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates = last_updates(sgd(1.0, clip_adaptive=0.1), zeros, [large])
    for leaf in jax.tree.leaves(updates):
        norms = np.linalg.norm(leaf, axis=0 if leaf.ndim == 2 else None)
        np.testing.assert_allclose(norms, 0.1 * 1e-3, **FLOAT64)


@pytest.mark.parametrize("warmup_steps", [0, 1, 4])
@pytest.mark.parametrize("decay_steps", [0, 5, 9])
def test_warm_up_and_decay(x64, warmup_steps, decay_steps):
    W, D = warmup_steps, decay_steps
    warm = [(k + 1) / W for k in range(W)]
    cosine = [(1 + np.cos(np.pi * (k - W) / (D - W))) / 2 for k in range(W, D)]
    expected = warm + (cosine + 20 * [0.0] if D else 20 * [1.0])
    for factor in (
        jax.jit(schedule(W, D)),
        schedule(W, D),
        torch_ref.optimizers.schedule(W, D),
    ):
        found = [float(factor(k)) for k in range(20)]
        np.testing.assert_allclose(found, expected[:20], rtol=0, atol=1e-15)


def test_a_schedule_multiplies_rates_that_can_still_be_cut(params_and_grads):
    params, (large, _) = params_and_grads
    ours = sgd(1e-2, recurrent_lr=1e-3, factor=schedule(2, 4))
    state = ours.init(params)
    for step, rate in enumerate((0.5, 1.0, 1.0 / 2, 0.5 / 2, 0.0)):
        if step == 2:
            state = cut_learning_rate(state, 0.5)
        updates, state = ours.update(large, state, params)
        expected = jax.tree.map(lambda leaf: -1e-2 * rate * leaf, large)  # noqa: B023
        expected["cell"]["h"]["kernel"] = expected["cell"]["h"]["kernel"] / 10
        assert_trees_close(updates, expected, **FLOAT64)


@pytest.mark.parametrize("library", [schedule, torch_ref.optimizers.schedule])
@pytest.mark.usefixtures("unchecked")
def test_schedules_that_are_none_are_refused(library):
    for steps in (-1, 2.5, float("nan"), float("inf"), "4"):
        message = f"warmup_steps must be a whole number, 0 or more, got {steps!r}"
        with pytest.raises(ValueError, match=message):
            library(steps)
    for steps in (-2, 3, 1, 4.5, float("nan"), float("inf"), "4"):
        message = f"must be 0, or a whole number above the 3 of warmup_steps, got {steps!r}"
        with pytest.raises(ValueError, match=message):
            library(3, steps)
    with pytest.raises(ValueError, match=r"decay_steps .* got nan"):
        library(0, float("nan"))


def test_unknown_optimizers_are_refused():
    model = torch_ref.SequenceModel(torch_ref.VanillaCell(2, 3), 4)
    for make in (
        lambda: optimizer("lion", 0.1),
        lambda: torch_ref.optimizers.optimizer("lion", model, 0.1),
    ):
        with pytest.raises(ValueError, match="one of sgd, momentum, rmsprop, adam, got 'lion'"):
            make()


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_rates_and_limits_that_are_none_are_refused(name, value):
    model = torch_ref.SequenceModel(torch_ref.VanillaCell(2, 3), 4)
    theirs = torch_ref.optimizers.optimizer(name, model, 0.1)
    clips = ("clip_norm", "clip_value", "clip_adaptive")
    for option in ("lr", "recurrent_lr", *clips):
        options = {"lr": 0.1} | {option: value}
        message = f"^{option} must be 0 or more and finite, got {value}"
        with pytest.raises(ValueError, match=message):
            optimizer(name, **options)
        if option in clips:
            with pytest.raises(ValueError, match=message):
                torch_ref.TrainState(model, theirs, **{option: value})
        else:
            with pytest.raises(ValueError, match=message):
                torch_ref.optimizers.optimizer(name, model, **options)


def test_adam_gives_recurrent_kernels_a_separate_rate(params_and_grads):
    expected = last_updates(optax.adam(1e-3), *params_and_grads)
    expected["cell"]["h"]["kernel"] = expected["cell"]["h"]["kernel"] / 10
    updates = last_updates(adam(1e-3, recurrent_lr=1e-4), *params_and_grads)
    assert_trees_close(updates, expected, **FLOAT64)


@pytest.mark.parametrize("ours", [adam, sgd, momentum, rmsprop])
def test_every_rate_is_cut_and_nothing_else_changes(params_and_grads, ours):
    params, (large, small) = params_and_grads
    made = ours(1e-2, 1.0, recurrent_lr=1e-3)
    _, state = made.update(large, made.init(params), params)
    expected, _ = made.update(small, state, params)
    updates, after = made.update(small, cut_learning_rate(state, 0.25), params)
    assert_trees_close(updates, jax.tree.map(lambda u: u / 4, expected), **FLOAT64)
    again, _ = made.update(small, cut_learning_rate(after, 0.5), params)
    assert jax.tree.leaves(again)[0].dtype == jnp.float64
    assert cut_learning_rate(state, 1.0) == state or jax.tree.all(
        jax.tree.map(lambda a, b: (a == b).all(), cut_learning_rate(state, 1.0), state)
    )


def test_seeds_have_separate_rates(params_and_grads):
    params, (large, _) = params_and_grads
    optimizer = adam(1e-2)
    stack = lambda tree: jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), tree)  # noqa: E731
    state = cut_learning_rate(jax.vmap(optimizer.init)(stack(params)), jnp.asarray([1.0, 0.5, 0.1]))
    updates, _ = jax.vmap(optimizer.update)(stack(large), state, stack(params))
    expected = last_updates(optimizer, params, [large])
    for seed, factor in enumerate((1.0, 0.5, 0.1)):
        mine = jax.tree.map(lambda leaf: leaf[seed], updates)  # noqa: B023
        assert_trees_close(mine, jax.tree.map(lambda u: factor * u, expected), **FLOAT64)  # noqa: B023


def test_float32_stays_float32_in_double_precision(params_and_grads):
    params, grads = jax.tree.map(jnp.float32, params_and_grads)
    updates = last_updates(adam(1e-3), params, grads)
    assert {leaf.dtype for leaf in jax.tree.leaves(updates)} == {jnp.dtype("float32")}


def test_the_rate_of_recurrent_kernels_of_other_names():
    params = {"mine": {"W_hh": jnp.eye(3)}, "h": {"kernel": jnp.eye(3)}}
    ours = sgd(1.0, recurrent_lr=0.25, where="W_hh")
    updates, _ = ours.update(params, ours.init(params), params)
    assert updates["mine"]["W_hh"][0, 0] == -0.25
    assert updates["h"]["kernel"][0, 0] == -1
    for refused in (sgd(1.0, recurrent_lr=0.5), sgd(1.0, recurrent_lr=0.5, where="W_yh")):
        with pytest.raises(ValueError, match=r"recurrent_lr: where= selects none .* mine/W_hh"):
            refused.init({"mine": {"W_hh": jnp.eye(3)}})


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("recurrent_lr", [None, 1e-3])
def test_torch_takes_the_same_steps(rng, x64, name, recurrent_lr):
    """Three steps, the rates cut before the last, from the same weights by the same gradients."""
    weights = reference.random_weights(rng)
    gradients = [reference.random_weights(rng) for _ in range(3)]
    ours = optimizer(name, 1e-2, 0.0, recurrent_lr)
    params = from_weights(weights)
    state = ours.init(params)
    cell = torch_ref.VanillaCell(reference.D, reference.N)
    model = torch_ref.SequenceModel(cell, reference.C).double()
    torch_ref.convert.load_weights(model, weights)
    theirs = torch_ref.optimizers.optimizer(name, model, 1e-2, recurrent_lr)
    kept = {key for state in theirs.state.values() for key in state}
    for k, gradient in enumerate(gradients):
        if k == 2:
            state = cut_learning_rate(state, 0.5)
            torch_ref.optimizers.cut_learning_rate(theirs, 0.5)
        updates, state = ours.update(from_weights(gradient), state, params)
        params = optax.apply_updates(params, updates)
        before = torch_ref.convert.to_weights(model)
        # The gradients are put where PyTorch looks for them, by the conversion of weights.
        torch_ref.convert.load_weights(model, gradient)
        for param in torch_ref.trainable(model):
            param.grad = param.detach().clone()
        torch_ref.convert.load_weights(model, before)
        theirs.step()
    assert kept == {key for state in theirs.state.values() for key in state}  # from the start
    found = torch_ref.convert.to_weights(model)
    for key, array in reference_weights(params).items():
        np.testing.assert_allclose(found[key], array, err_msg=key, **FLOAT64)
    assert not np.allclose(found["W_hh"], weights["W_hh"], atol=1e-4)
    assert torch.is_grad_enabled()


def reference_weights(params):
    from jaxrnn.convert import to_weights

    return to_weights(params)


@pytest.mark.parametrize("clip_norm", [0.0, 0.5])
def test_torch_clips_by_value_the_same_way(rng, x64, clip_norm):
    """One step of SGD by the true gradient of a loss, which is above both limits."""
    weights = reference.random_weights(rng)
    inputs = torch.tensor(3 * rng.standard_normal((reference.B, reference.T, reference.D)))
    targets = torch.tensor(9 * rng.standard_normal((reference.B, reference.C)))
    cell = torch_ref.VanillaCell(reference.D, reference.N)
    model = torch_ref.SequenceModel(cell, reference.C, last_only=True).double()
    torch_ref.convert.load_weights(model, weights)
    loss = torch_ref.training.regression_loss()
    loss(model, (inputs, targets))[0].backward()
    raw = from_weights(torch_ref.convert.to_gradients(model))
    assert max(jnp.abs(leaf).max() for leaf in jax.tree.leaves(raw)) > 0.3

    optimizer = torch_ref.optimizers.sgd(model, 1e-2)
    state = torch_ref.TrainState(model, optimizer, clip_norm, clip_value=0.3)
    torch_ref.training.make_train_step(loss)(state, (inputs, targets))
    after = from_weights(torch_ref.convert.to_weights(model))
    params = from_weights(weights)
    updates = last_updates(sgd(1e-2, clip_norm, clip_value=0.3), params, [raw])
    assert_trees_close(after, jax.tree.map(jnp.add, params, updates), **FLOAT64)
