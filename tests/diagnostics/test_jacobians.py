"""Products of Jacobians: closed forms of linear networks, and dense Jacobians of short ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.flatten_util import ravel_pytree

from jaxrnn import TruncatedCell, VanillaCell
from jaxrnn.diagnostics import jacobian_singular_values, lyapunov_spectrum
from tests import numpy_reference as reference
from tests.numpy_reference import B, D, N, T

WIDE = {"param_dtype": jnp.float64}
EPS = np.finfo(np.float64).eps


def linear(W):
    """A VanillaCell h ← W h, and its variables."""
    size = len(W)
    params = {
        "i": {"kernel": jnp.ones((D, size)), "bias": jnp.ones(size)},
        "h": {"kernel": jnp.asarray(W).T},
    }
    return VanillaCell(size, "identity", **WIDE), {"params": params}


def random_cell(rng, cell, length=T):
    """Random variables, a random carry and inputs for one sequence."""
    inputs = jnp.asarray(rng.standard_normal((length, D)))
    carry = cell.initialize_carry(jax.random.key(0), (D,))

    def random(leaf):
        return jnp.asarray(rng.standard_normal(leaf.shape) / np.sqrt(N))

    shapes = jax.eval_shape(cell.init, jax.random.key(0), carry, inputs[0])
    return jax.tree.map(random, shapes), jax.tree.map(random, carry), inputs


def dense_jacobian(cell, variables, carry, inputs):
    """∂h_T/∂h_0 by forward mode over a loop in Python."""
    h_0, unravel = ravel_pytree(carry)

    def last(h):
        carry = unravel(h)
        for x in inputs:
            carry, _ = cell.apply(variables, carry, x)
        return ravel_pytree(carry)[0]

    return np.asarray(jax.jit(jax.jacfwd(last))(h_0))


@pytest.mark.parametrize("measure", [jacobian_singular_values, lyapunov_spectrum])
def test_a_carry_that_counts_has_as_many_directions_as_states(measure, rng, x64):
    """A TruncatedCell counts its steps: a number, and no state."""
    cell = VanillaCell(N, **WIDE)
    variables, carry, inputs = random_cell(rng, cell)
    expected = measure(cell, variables, carry, inputs)
    for steps, same in ((T + 1, True), (2, False)):
        counting = TruncatedCell(cell, steps)
        start = counting.initialize_carry(jax.random.key(0), (D,))
        start = jax.tree.map(lambda leaf: carry if leaf.ndim else leaf, start)
        found = measure(counting, variables, start, inputs)
        assert found.shape == (N,)
        if same:
            np.testing.assert_array_equal(found, expected)
        else:
            np.testing.assert_array_equal(found, -np.inf)  # nothing gets past a cut


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.7])
def test_a_scaled_rotation_stretches_all_directions_equally(scale, rng, x64):
    length = 1000  # 0.5^1000 and 1.7^1000 are near the ends of float64, their squares beyond them
    cell, variables = linear(scale * reference.qr(rng.standard_normal((N, N))))
    h_0, inputs = jnp.zeros(N), jnp.zeros((length, D))
    logs = jacobian_singular_values(cell, variables, h_0, inputs)
    # Each step rounds Q's length by a few eps: at most √N·eps per step in ln σ.
    np.testing.assert_allclose(logs, length * np.log(scale), rtol=0, atol=length * N * EPS)
    spectrum = lyapunov_spectrum(cell, variables, h_0, inputs)
    # And the sum of 1000 logarithms by up to eps of itself each time.
    bound = (N + length * abs(np.log(scale)) / 2) * EPS
    np.testing.assert_allclose(spectrum, np.log(scale), rtol=0, atol=bound)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_a_thousand_steps_neither_overflow_nor_underflow(scale, rng):
    W = np.float32(scale * reference.qr(rng.standard_normal((N, N))))
    cell = VanillaCell(N, "identity")
    params = {
        "i": {"kernel": jnp.ones((D, N)), "bias": jnp.zeros(N)},
        "h": {"kernel": jnp.asarray(W.T)},
    }
    arguments = {"params": params}, jnp.zeros(N), jnp.zeros((1000, D), jnp.float32)
    logs = jacobian_singular_values(cell, *arguments)
    spectrum = lyapunov_spectrum(cell, *arguments)
    assert logs.dtype == spectrum.dtype == jnp.float32
    eps = np.finfo(np.float32).eps
    # Besides a rounding of N·eps per step as above, sums of 1000 terms: eps of the sum at each.
    bound = 1000 * eps * (N + 1000 * abs(np.log(scale)) / 2)
    np.testing.assert_allclose(logs, 1000 * np.log(scale), rtol=0, atol=bound)
    np.testing.assert_allclose(spectrum, np.log(scale), rtol=0, atol=bound / 1000)


def test_the_exponents_of_a_diagonal_matrix_come_in_its_order(rng, x64):
    diagonal = rng.uniform(0.3, 1.6, N) * np.array([1, -1, 1, 1, -1, 1, 1])
    cell, variables = linear(np.diag(diagonal))
    arguments = variables, jnp.zeros(N), jnp.zeros((T, D))
    np.testing.assert_allclose(
        lyapunov_spectrum(cell, *arguments), np.log(np.abs(diagonal)), rtol=0, atol=8 * EPS
    )
    np.testing.assert_allclose(
        jacobian_singular_values(cell, *arguments),
        T * np.sort(np.log(np.abs(diagonal)))[::-1],
        rtol=0,
        # (0.3/1.6)^T = 2e-4 is the smallest relative to the largest, which sets the rounding.
        atol=1e4 * EPS,
    )


def test_the_exponents_of_one_matrix_tend_to_its_eigenvalues(rng, x64):
    eigenvalues = np.array([1.5, 1.1, 0.8, 0.6, 0.4, 0.3, 0.2])
    basis = rng.standard_normal((N, N))
    W = basis @ np.diag(eigenvalues) @ np.linalg.inv(basis)
    cell, variables = linear(W)
    spectrum = lyapunov_spectrum(cell, variables, jnp.zeros(N), jnp.zeros((300, D)), warm_up=200)
    # After 200 steps the directions are within (1.1/1.5)^200 = 1e-27 of their limits, or for those
    # next to each other 0.75^200 = 1e-25. Rounding of W by N eps moves an eigenvalue by at most the
    # condition of the basis times as much (Bauer and Fike 1960), here relative to the least one.
    bound = N * EPS * np.linalg.norm(W, 2) * np.linalg.cond(basis) / eigenvalues[-1]
    np.testing.assert_allclose(spectrum, np.log(eigenvalues), rtol=0, atol=bound)


def test_known_singular_values(rng, x64):
    sigma = np.array([3.0, 2.0, 1.5, 1.0, 0.7, 0.1, 1e-3])
    U, V = (reference.qr(rng.standard_normal((N, N))) for _ in range(2))
    cell, variables = linear(U @ np.diag(sigma) @ V.T)
    logs = jacobian_singular_values(cell, variables, jnp.zeros(N), jnp.zeros((1, D)))
    # Rounding is eps of the largest: relative to the smallest, 3000 N eps.
    np.testing.assert_allclose(logs, np.log(sigma), rtol=0, atol=3000 * N * EPS)


@pytest.mark.parametrize(
    "cell", [VanillaCell(N, **WIDE), nn.GRUCell(N, **WIDE), nn.OptimizedLSTMCell(N, **WIDE)]
)
def test_any_cell_has_the_singular_values_of_its_dense_jacobian(cell, rng, x64):
    variables, carry, inputs = random_cell(rng, cell)
    jacobian = dense_jacobian(cell, variables, carry, inputs)
    sigma = np.linalg.svd(jacobian, compute_uv=False)
    logs = np.asarray(jacobian_singular_values(cell, variables, carry, inputs))
    assert logs.shape == (len(jacobian),)
    assert (np.diff(logs) <= 0).all()
    np.testing.assert_allclose(np.exp(logs), sigma, rtol=0, atol=T * 2 * N * EPS * sigma[0])


def test_the_exponents_sum_to_the_logarithm_of_the_determinant(rng, x64):
    cell = nn.GRUCell(N, **WIDE)
    variables, h, inputs = random_cell(rng, cell, 40)
    spectrum = lyapunov_spectrum(cell, variables, h, inputs)
    step = jax.jit(lambda h, x: cell.apply(variables, h, x)[0])
    jacobian = jax.jit(jax.jacfwd(step))
    total = 0.0
    for x in inputs:  # by steps: a determinant of the product would be rounding
        total += np.linalg.slogdet(jacobian(h, x))[1]
        h = step(h, x)
    # N logarithms, each off by some eps times the condition of J_t, as below.
    np.testing.assert_allclose(spectrum.sum(), total / 40, rtol=0, atol=1e-12)


def test_the_exponents_of_tanh_by_its_formula(rng, x64):
    """ln |det J_t| = ln |det W_hh| + Σ_i ln (1 − h_t,i²)."""
    weights = reference.random_weights(rng)
    inputs = rng.standard_normal((60, D))
    params = {
        "i": {"kernel": jnp.asarray(weights["W_xh"].T), "bias": jnp.asarray(weights["b_h"])},
        "h": {"kernel": jnp.asarray(weights["W_hh"].T)},
    }
    spectrum = lyapunov_spectrum(
        VanillaCell(N, **WIDE), {"params": params}, jnp.zeros(N), jnp.asarray(inputs)
    )
    hidden = reference.hidden_states(weights, inputs[None])[0]
    slopes = np.log1p(-(hidden**2)).sum(1).mean()
    expected = np.linalg.slogdet(weights["W_hh"])[1] + slopes
    # N logarithms, each off by some eps times the condition of J_t: at most 1.3e-13 over 50 seeds.
    np.testing.assert_allclose(spectrum.sum(), expected, rtol=0, atol=1e-12)


def test_warm_up_steps_are_run_and_not_counted(rng, x64):
    cell = VanillaCell(N, **WIDE)
    variables, carry, inputs = random_cell(rng, cell, 11)
    whole = lyapunov_spectrum(cell, variables, carry, inputs)
    first = lyapunov_spectrum(cell, variables, carry, inputs[:4])
    rest = lyapunov_spectrum(cell, variables, carry, inputs, warm_up=4)
    np.testing.assert_allclose(4 * first + 7 * rest, 11 * whole, rtol=0, atol=1e-13)


def test_a_batch_is_each_sequence_by_itself(rng, x64):
    cell = nn.OptimizedLSTMCell(N, **WIDE)
    variables, _, _ = random_cell(rng, cell)
    inputs = jnp.asarray(rng.standard_normal((B, T, D)))
    carry = tuple(jnp.asarray(rng.standard_normal((B, N))) for _ in range(2))
    for measure in (jacobian_singular_values, lyapunov_spectrum):
        measure = jax.jit(measure, static_argnums=0)
        every = np.exp(measure(cell, variables, carry, inputs))
        assert every.shape == (B, 2 * N)
        for b in range(B):
            own = np.exp(measure(cell, variables, tuple(leaf[b] for leaf in carry), inputs[b]))
            np.testing.assert_allclose(every[b], own, rtol=0, atol=T * 2 * N * EPS * own.max())


def test_what_is_not_carried_on_at_all_is_minus_infinity(x64):
    cell, variables = linear(np.zeros((N, N)))
    for measure in (jacobian_singular_values, lyapunov_spectrum):
        assert (measure(cell, variables, jnp.zeros(N), jnp.zeros((T, D))) == -np.inf).all()


@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        (((N,), (D,)), {}, r"\(T, D\) or \(B, T, D\), got \(4,\)"),
        (((N,), (B, T, D)), {}, r"leading B = 3 like the inputs, got \[\(7,\)\]"),
        (((N,), (T, D)), {"warm_up": T}, "from 0 to 4 of 5 steps, got 5"),
        (((N,), (T, D)), {"warm_up": -1}, "from 0 to 4 of 5 steps, got -1"),
    ],
)
def test_bad_input_is_named(shapes, options, message, x64):
    cell, variables = linear(np.eye(N))
    with pytest.raises(ValueError, match=message):
        lyapunov_spectrum(cell, variables, *map(jnp.zeros, shapes), **options)
