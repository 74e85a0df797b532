"""phi against its equations, and its derivatives against automatic ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.activations import ACTIVATIONS, leaky_relu, modrelu


def test_leaky_relu_has_pytorchs_slope_at_zero():
    z = jnp.array([-2.0, 0.0, 3.0])
    np.testing.assert_allclose(leaky_relu(z), [-0.02, 0, 3], rtol=1e-7)
    slopes = jax.vmap(jax.grad(leaky_relu))(z)
    np.testing.assert_allclose(slopes, [0.01, 0.01, 1], rtol=1e-7)


def test_modrelu_moves_the_modulus_and_leaves_the_sign():
    z = jnp.array([[-2.0, -0.5, 0.0, 0.5, 2.0], [1.0, 1.0, 1.0, 1.0, 1.0]])
    bias = jnp.array([-1.0, -1.0, 1.0, 0.25, 1.0])
    np.testing.assert_array_equal(modrelu(z, bias), [[-1, 0, 0, 0.75, 3], [0, 0, 2, 1.25, 2]])
    np.testing.assert_array_equal(modrelu(z, jnp.zeros(5)), z)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivatives_are_those_of_phi(name, rng, x64):
    activation, z = ACTIVATIONS[name], jnp.asarray(rng.uniform(-2, 2, 50))
    extra = [jnp.asarray(rng.choice([-0.5, 0.5], 50))] if activation.has_bias else []
    assert min(jnp.abs(jnp.abs(z) - 0.5).min(), jnp.abs(z).min()) > 1e-6  # away from the kinks
    h = activation.phi(z, *extra)
    gradient = jax.grad(lambda *args: activation.phi(*args).sum(), range(1 + len(extra)))
    d_z, *d_bias = gradient(z, *extra)
    # One or two roundings of numbers of size one.
    np.testing.assert_allclose(activation.derivative(h), d_z, rtol=0, atol=1e-15)
    for expected in d_bias:
        measured = activation.derivative(h) * activation.bias_derivative(h)
        np.testing.assert_allclose(measured, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", [name for name, one in ACTIVATIONS.items() if one.saturates])
def test_an_activation_saturates_where_it_says(name, x64):
    activation = ACTIVATIONS[name]
    for least in (0.1, 0.5):
        z = activation.saturates_at(least) * jnp.asarray([-1.001, -0.999, 0.999, 1.001])
        is_flat = activation.derivative(activation.phi(z)) < least
        np.testing.assert_array_equal(is_flat, [True, False, False, True])
