"""The network from scratch: losses, clipping, Adam, sampling. Its gradients: test_bptt.py."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrnn import numpy_rnn
from tests import numpy_reference as reference
from tests.numpy_reference import B, C, D, N, T


@pytest.mark.parametrize("activation", reference.ACTIVATIONS)
def test_forward_is_the_equations(rng, activation):
    weights = reference.random_weights(rng, activation)
    inputs, h_0 = rng.standard_normal((B, T, D)), rng.standard_normal((B, N))
    outputs, hidden = numpy_rnn.forward(weights, inputs, h_0, activation)
    expected = reference.hidden_states(weights, inputs, activation, h_0)
    # Rounding of sums of N + D products of size one.
    np.testing.assert_allclose(hidden[:, 1:], expected, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(hidden[:, 0], h_0)
    np.testing.assert_allclose(outputs, reference.outputs(weights, expected), rtol=0, atol=1e-14)


def test_losses_have_the_gradients_of_autodiff(rng, x64):
    outputs, classes = 5 * rng.standard_normal((B, T, C)), rng.integers(0, C, (B, T))
    targets = rng.standard_normal(B)

    def cross_entropy(y):
        return optax.softmax_cross_entropy_with_integer_labels(y, classes).mean()

    def squared_error(y):
        return jnp.mean((y[:, -1, 0] - targets) ** 2)

    for by_hand, function, answers in (
        (numpy_rnn.cross_entropy, cross_entropy, classes),
        (numpy_rnn.squared_error, squared_error, targets),
    ):
        value, gradient = by_hand(outputs, answers)
        expected, expected_gradient = jax.value_and_grad(function)(jnp.asarray(outputs))
        # Two formulas for the same few operations, a few roundings each.
        np.testing.assert_allclose(value, expected, rtol=1e-13)
        np.testing.assert_allclose(gradient, expected_gradient, rtol=0, atol=1e-15)


@pytest.mark.parametrize("max_norm", [0.0, 0.1, 100.0])
def test_clipping_and_adam_follow_optax(rng, x64, max_norm):
    weights = reference.random_weights(rng)
    optimizer = optax.adam(0.01)
    if max_norm:
        optimizer = optax.chain(optax.clip_by_global_norm(max_norm), optimizer)
    params, state = weights, optimizer.init(weights)
    adam = numpy_rnn.Adam(weights, 0.01)
    for _ in range(3):
        gradients = reference.random_weights(rng)
        updates, state = optimizer.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        clipped, norm = numpy_rnn.clip_by_global_norm(gradients, max_norm)
        np.testing.assert_allclose(norm, optax.tree.norm(gradients), rtol=1e-14)
        weights = adam.update(weights, clipped)
    for name in weights:
        # Three steps of 0.01, each rounded a few times.
        np.testing.assert_allclose(weights[name], params[name], rtol=0, atol=1e-14)


def test_gradients_of_whole_numbers_are_not_cut_to_some(rng):
    outputs, targets = rng.integers(-5, 6, (B, T, C)), rng.standard_normal(B)
    _, gradient = numpy_rnn.squared_error(outputs, targets)
    _, expected = numpy_rnn.squared_error(outputs.astype(float), targets)
    np.testing.assert_array_equal(gradient, expected)
    weights = {name: np.round(3 * w) for name, w in reference.random_weights(rng).items()}
    inputs, dy = rng.standard_normal((B, T, D)), rng.standard_normal((B, T, C))
    _, hidden = numpy_rnn.forward(weights, inputs)
    expected = numpy_rnn.backward(weights, inputs, hidden, dy)
    whole = {name: w.astype(int) for name, w in weights.items()}
    gradients = numpy_rnn.backward(whole, inputs, hidden, dy)
    for name, array in expected.items():
        np.testing.assert_array_equal(gradients[name], array)


def test_projection_is_the_qr_factor_with_a_positive_diagonal(rng):
    W = rng.standard_normal((N, N))
    np.testing.assert_allclose(numpy_rnn.project(W), reference.qr(W), rtol=0, atol=1e-14)


def test_samples_follow_the_softmax_of_the_outputs(rng):
    # Without weights on the past, every token has the probabilities of the readout's bias.
    weights = {name: np.zeros_like(a) for name, a in reference.random_weights(rng).items()}
    weights |= {"W_xh": np.zeros((N, C)), "b_y": np.log(np.arange(1.0, C + 1))}
    for temperature in (1.0, 0.5):
        tokens = numpy_rnn.sample(weights, rng, 4000, temperature=temperature)
        expected = np.arange(1.0, C + 1) ** (1 / temperature)
        shares = np.bincount(tokens, minlength=C) / len(tokens)
        # Four standard deviations of a share of 4000 draws, at most √(1/4 / 4000) each.
        np.testing.assert_allclose(shares, expected / expected.sum(), rtol=0, atol=0.032)


def test_a_sample_is_a_chain_of_forward_passes(rng):
    weights = reference.random_weights(rng) | {"W_xh": rng.standard_normal((N, C))}
    tokens = numpy_rnn.sample(weights, np.random.default_rng(3), 6, [1, 0], 1e-6)
    outputs, _ = numpy_rnn.forward(weights, np.eye(C)[[[1, 0, *tokens[:-1]]]])
    np.testing.assert_array_equal(tokens, outputs[0, 1:].argmax(axis=-1))
