"""The diagnostics of jaxrnn and torch_ref are the same numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import jaxrnn
import torch_ref
from jaxrnn import diagnostics as ours
from jaxrnn.activations import ACTIVATIONS
from tests import numpy_reference as reference
from tests.numpy_reference import B, C, D, N, T
from tests.parity_support import assert_agree
from torch_ref import diagnostics as theirs

# Rounding of T steps of sums of N + D products, there and back, in both: T (N + D) eps = 1e-14; for
# the exponents times the condition of J_t. Over 50 seeds with tanh at most 5e-16 of the profile,
# 2e-15 of the singular values and 2e-13 of the exponents.
BOUND = 1e-12


@pytest.fixture(params=sorted(ACTIVATIONS))
def pair(request, rng, x64):
    """Two models of the same weights, and the weights of jaxrnn's."""
    weights = reference.random_weights(rng, request.param)
    cell = jaxrnn.VanillaCell(N, request.param, param_dtype=jnp.float64)
    model = jaxrnn.SequenceModel(cell, C, param_dtype=jnp.float64)
    twin = torch_ref.SequenceModel(
        torch_ref.VanillaCell(D, N, request.param, dtype=torch.float64), C
    )
    torch_ref.convert.load_weights(twin, weights)
    return model, twin, {"params": jaxrnn.convert.from_weights(weights)}


@pytest.mark.parametrize("last_only", [False, True])
def test_gradient_profile(pair, last_only, rng):
    model, twin, variables = pair
    model, twin.last_only = model.clone(last_only=last_only), last_only
    inputs = rng.standard_normal((B, T, D))
    targets = rng.standard_normal((B, C) if last_only else (B, T, C))

    @jax.jit
    def profile(variables, batch):
        seen = ours.observe(model, variables, batch, lambda y, t: jnp.mean((y - t) ** 2))
        return ours.gradient_profile(seen.layers["cell"])

    batch = torch.tensor(inputs), torch.tensor(targets)
    expected = theirs.gradient_profile(twin, batch, torch.nn.functional.mse_loss)
    assert_agree("profile", profile(variables, (inputs, targets)), expected, BOUND, True)


def test_jacobians_along_a_sequence(pair, rng):
    model, twin, variables = pair
    own = {"params": variables["params"]["cell"]}
    h_0, inputs = rng.standard_normal(N), rng.standard_normal((T, D))
    jax_side = model.cell, own, jnp.asarray(h_0), jnp.asarray(inputs)
    torch_side = twin.cell, torch.tensor(h_0), torch.tensor(inputs)
    # As factors: the smallest are rounding of the largest; of ReLUs some are zero.
    sigma = np.exp(ours.jacobian_singular_values(*jax_side))
    expected = theirs.jacobian_singular_values(*torch_side).exp().detach()
    assert_agree("singular values", sigma, expected, BOUND)
    if model.cell.activation in ("relu", "modrelu"):
        return  # the logarithm of a dead direction is that of rounding
    for warm_up in (0, 2):
        spectrum = ours.lyapunov_spectrum(*jax_side, warm_up=warm_up)
        expected = theirs.lyapunov_spectrum(*torch_side, warm_up=warm_up).detach()
        assert_agree("exponents", spectrum, expected, BOUND)


def test_spectral_radius(rng, x64):
    W = rng.standard_normal((3, N, N))
    expected = theirs.spectral_radius(torch.tensor(W))
    assert_agree("radius", ours.spectral_radius(jnp.asarray(W)), expected, BOUND, True)
