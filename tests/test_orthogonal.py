"""Retractions against their definitions, in NumPy and float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jaxrnn import nearest, orthogonal, project_recurrent
from jaxrnn.orthogonal import (
    MAX_SQUARED_CONDITION,
    RETRACTIONS,
    cholesky,
    gram_schmidt,
    householder,
    modified_gram_schmidt,
    newton_schulz,
    polar,
    qr,
    qr_unsigned,
    spectral_band,
)
from tests import numpy_reference as reference

# Householder QR is backward stable: its errors are a small multiple of eps, whatever W. Over ten
# Gaussian matrices of each N from 1 to 64 the largest were 3.4 eps (orthogonality error), 3.0 eps
# (idempotence, per √N) and 1.6 eps (relative residual below the diagonal).
STABLE = 8

JITTED = {function: jax.jit(function) for function in RETRACTIONS.values()}
sizes, seeds = st.integers(1, 64), st.integers(0, 2**32 - 1)
dtypes = st.sampled_from([np.float32, np.float64])


def random_matrices(seed, N, dtype, batch=4):
    return np.random.default_rng(seed).standard_normal((batch, N, N)).astype(dtype)


def retract(retraction, W):
    """The retraction of a NumPy array in its own precision, compiled once a shape."""
    with jax.enable_x64(True):
        Q = JITTED[retraction](jnp.asarray(W))
    assert (Q.shape, Q.dtype) == (W.shape, W.dtype)
    return np.asarray(Q)


def orthogonal_matrices(rng, N, dtype=np.float64, batch=()):
    return reference.qr(rng.standard_normal((*batch, N, N))).astype(dtype)


@given(seeds, sizes, dtypes)
@example(0, 1, np.float32)
@example(0, 64, np.float64)
def test_qr_is_orthogonal_with_a_positive_diagonal(seed, N, dtype):
    W = random_matrices(seed, N, dtype)
    bound = STABLE * np.finfo(dtype).eps
    Q = retract(qr, W)
    assert reference.orthogonality_error(Q).max() <= bound

    R = np.swapaxes(Q, -1, -2).astype(np.float64) @ W
    scale = np.linalg.norm(W, axis=(-2, -1))
    assert (np.linalg.norm(np.tril(R, -1), axis=(-2, -1)) <= bound * scale).all()
    diagonal = np.diagonal(R, axis1=-2, axis2=-1)
    assert (diagonal >= -bound * scale[:, None]).all()


@given(seeds, sizes, dtypes)
def test_qr_is_idempotent(seed, N, dtype):
    Q = retract(qr, random_matrices(seed, N, dtype))
    moved = np.linalg.norm((retract(qr, Q) - Q).astype(np.float64), axis=(-2, -1))
    assert moved.max() <= STABLE * np.finfo(dtype).eps * np.sqrt(N)


@given(seeds, sizes, dtypes)
def test_qr_follows_column_sign_flips(seed, N, dtype):
    W = random_matrices(seed, N, dtype)
    flips = np.random.default_rng(seed).choice([-1, 1], (4, 1, N)).astype(dtype)
    # Exact: a negated column has the same reflector, and rounding is symmetric in the sign.
    np.testing.assert_array_equal(retract(qr, W * flips), retract(qr, W) * flips)


def singular_matrices():
    dense = np.random.default_rng(0).standard_normal((6, 6))
    zero_column, repeated = dense.copy(), dense.copy()
    zero_column[:, 2] = 0
    repeated[:, 4] = repeated[:, 1]
    return {
        "zero": np.zeros((6, 6)),
        "rank one": np.outer(dense[0], dense[1]),
        "a zero column": zero_column,
        "first column zero": zero_column[:, [2, 0, 1, 3, 4, 5]],
        "last column zero": zero_column[:, [0, 1, 3, 4, 5, 2]],
        "a repeated column": repeated,
        "zero diagonal": dense - np.diag(np.diag(dense)),
        "strictly upper triangular": np.triu(dense, 1),
        "permutation": np.eye(6)[[1, 2, 3, 4, 5, 0]],
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", singular_matrices())
def test_qr_of_singular_and_zero_diagonal_matrices_is_orthogonal(name, dtype):
    W = singular_matrices()[name].astype(dtype)
    Q = retract(qr, W)
    assert reference.orthogonality_error(Q) <= STABLE * np.finfo(dtype).eps
    assert np.linalg.norm(Q, axis=0).min() > 0.99


@given(seeds, sizes, dtypes, st.floats(-3, 3), st.integers(0, 20))
def test_qr_is_householder_at_any_scale_and_distance_from_orthogonal(seed, N, dtype, power, move):
    rng = np.random.default_rng(seed)
    W = orthogonal_matrices(rng, N) + 0.02 * move / np.sqrt(N) * rng.standard_normal((N, N))
    W = (10**power * W).astype(dtype)
    condition = np.linalg.cond(W.astype(np.float64))
    # Both are off by STABLE eps or less, Householder by as much times the condition.
    difference = np.linalg.norm((retract(qr, W) - retract(householder, W)).astype(np.float64))
    assert difference <= STABLE * (1 + condition) * np.finfo(dtype).eps * np.sqrt(N)


@pytest.mark.parametrize("N", [1, 2, 9, 64])
def test_qr_trusts_cholesky_for_well_conditioned_matrices_only(rng, monkeypatch, N):
    monkeypatch.setattr(orthogonal, "_signed", lambda W: jnp.full_like(W, jnp.nan))
    cheap = jax.jit(lambda W: ~jnp.isnan(orthogonal._by_cholesky_if_safe(W)).any())
    U, V = orthogonal_matrices(rng, N, batch=(2,))
    trusted = 0
    for squared_condition in np.geomspace(1, 1e4, 30):
        extremes = np.ones((2, N))
        extremes[0, 0] *= squared_condition**0.5  # one apart from the others, as hard as it gets
        extremes[1] = np.geomspace(1, squared_condition**0.5, N)
        for sigma in extremes:
            W = ((U * sigma) @ V).astype(np.float32)
            if cheap(W):
                trusted += 1
                assert np.linalg.cond(W.astype(np.float64)) ** 2 <= MAX_SQUARED_CONDITION * 1.001
    assert trusted >= 5
    # What Adam at its usual rate makes of an orthogonal matrix: every entry moved by as much.
    assert cheap((U + 1e-3 * rng.choice([-1, 1], (N, N))).astype(np.float32))


def test_one_bad_matrix_of_a_batch_is_left_to_householder(rng):
    W = orthogonal_matrices(rng, 6, batch=(3,))
    W[1, :, 2] = 0
    found, expected = retract(qr, W), retract(householder, W)
    np.testing.assert_array_equal(found[1], expected[1])
    # The others may go by Cholesky, which rounds otherwise.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", ["qr", "householder", "qr_unsigned", "cholesky"])
def test_derivatives_under_vmap_are_those_of_each_matrix(rng, x64, name):
    """And of a finite difference, whose error is that of the third derivative times 1e-10."""
    retract = RETRACTIONS[name]
    W, E = (jnp.asarray(rng.standard_normal((3, 5, 5))) for _ in range(2))
    _, dQ = jax.jit(jax.vmap(lambda W, E: jax.jvp(retract, (W,), (E,))))(W, E)
    h = 1e-5
    slope = (retract(W + h * E) - retract(W - h * E)) / (2 * h)
    condition = float(jnp.linalg.cond(W).max())
    np.testing.assert_allclose(dQ, slope, rtol=0, atol=1e-10 * condition**3)
    cotangent = jnp.asarray(rng.standard_normal((3, 5, 5)))
    grads = jax.vmap(jax.grad(lambda W, G: (retract(W) * G).sum()))(W, cotangent)
    # The same number by both modes; sums of 75 products.
    np.testing.assert_allclose((grads * E).sum(), (cotangent * dQ).sum(), rtol=1e-11)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_so(bad):
    W = np.eye(4, dtype=np.float32)
    W[1, 2] = bad
    assert np.isnan(retract(qr, W)).any()


def test_polar_is_the_nearest_orthogonal_matrix(rng):
    W = rng.standard_normal((9, 9))
    Q = retract(polar, W)
    distance = np.linalg.norm(W - Q)
    assert reference.orthogonality_error(Q) <= 1e-14  # at most 2e-15 over 100 seeds
    # Of a nearest matrix: the distance is that of the singular values from one, and QᵀW is
    # symmetric with no negative eigenvalue. Both to at most 1.3e-14 over 100 seeds.
    sigma = np.linalg.svd(W, compute_uv=False)
    np.testing.assert_allclose(distance, np.sqrt(((sigma - 1) ** 2).sum()), rtol=1e-13)
    np.testing.assert_allclose(Q.T @ W, W.T @ Q, atol=1e-13)
    assert np.linalg.eigvalsh(Q.T @ W).min() > 0

    anywhere = orthogonal_matrices(rng, 9, batch=(200,))
    nearby = reference.qr(Q + 0.05 * rng.standard_normal((200, 9, 9)))
    for candidates in (anywhere, nearby, reference.qr(W)[None]):
        assert np.linalg.norm(W - candidates, axis=(-2, -1)).min() > distance


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_orthogonal_matrix_stays_where_it_is(rng, dtype):
    Q = orthogonal_matrices(rng, 33, dtype)
    for retraction in (qr, polar, newton_schulz, gram_schmidt, modified_gram_schmidt, cholesky):
        moved = np.linalg.norm(retract(retraction, Q) - Q)
        # At most 3.8 eps per √N over 40 seeds.
        assert moved <= STABLE * np.finfo(dtype).eps * np.sqrt(33), retraction


def test_qr_unsigned_moves_an_orthogonal_matrix(rng):
    Q = orthogonal_matrices(rng, 33, np.float32)
    unsigned = retract(qr_unsigned, Q)
    # It differs from qr in signs of columns alone, and a flipped column moves by 2.
    flipped = np.linalg.norm(unsigned - Q, axis=0) > 1.99
    assert flipped.any()
    signed = unsigned * np.where(flipped, -1, 1)
    np.testing.assert_array_equal(signed, retract(householder, Q))


@pytest.mark.parametrize(
    "retraction", [qr, householder, gram_schmidt, modified_gram_schmidt, cholesky]
)
def test_all_ways_to_the_qr_factor_agree_when_well_conditioned(rng, retraction):
    # Near an orthogonal matrix, with signs of both kinds; its condition number is below 1.5.
    W = orthogonal_matrices(rng, 17) + 0.03 * rng.standard_normal((17, 17))
    # At most 6e-16 over 100 seeds.
    np.testing.assert_allclose(retract(retraction, W), reference.qr(W), rtol=0, atol=2e-15)


def test_what_each_loses_to_an_ill_conditioned_matrix(rng):
    U, V = orthogonal_matrices(rng, 20, batch=(2,))
    W = (U * np.logspace(0, -6, 20)) @ V
    classical, modified, by_cholesky, by_qr, nearest = (
        reference.orthogonality_error(retract(retraction, W))
        for retraction in (gram_schmidt, modified_gram_schmidt, cholesky, qr, polar)
    )
    # At condition κ = 1e6: κ² eps = 2e-4, κ eps = 2e-10 and eps = 2e-16, up to a factor of 1000.
    assert 2e-7 < classical < 2e-1
    assert 2e-7 < by_cholesky < 2e-1
    assert 2e-13 < modified < 2e-7
    assert max(by_qr, nearest) < 2e-13


@pytest.mark.parametrize("retraction", [gram_schmidt, modified_gram_schmidt, cholesky])
def test_dependent_columns_are_nan_and_not_a_wrong_matrix(retraction):
    W = np.eye(5, dtype=np.float32)
    W[:, 3] = W[:, 1]
    assert np.isnan(retract(retraction, W)[:, 3]).all()


@pytest.mark.parametrize("retraction", RETRACTIONS.values())
def test_leading_dimensions_are_a_batch(rng, retraction):
    W = orthogonal_matrices(rng, 4, batch=(2, 3)) + 0.1 * rng.standard_normal((2, 3, 4, 4))
    with jax.enable_x64(True):
        vmapped = np.asarray(jax.vmap(jax.vmap(retraction))(jnp.asarray(W)))
    for batched in (retract(retraction, W), vmapped):
        for i, j in np.ndindex(2, 3):
            one = retract(retraction, W[i, j])
            # At most 1.1e-16 over 20 seeds.
            np.testing.assert_allclose(batched[i, j], one, rtol=0, atol=1e-15)


def test_the_table_names_every_retraction():
    functions = [
        *(qr, householder, polar, newton_schulz, qr_unsigned),
        *(gram_schmidt, modified_gram_schmidt, cholesky),
    ]
    assert {function.__name__: function for function in functions} == RETRACTIONS


@pytest.mark.parametrize("scale", [1.0, 2.0, 1e-3])
def test_the_gradient_of_polar_where_singular_values_coincide(rng, x64, scale):
    """At W = sQ the derivative by E is (E − Q Eᵀ Q) / 2s, so <G, ·> has (G − Q Gᵀ Q) / 2s."""
    N = 7
    G = jnp.asarray(rng.standard_normal((3, N, N)))
    Q = jnp.asarray(orthogonal_matrices(rng, N, batch=(3,)))
    gradient = jax.grad(lambda W: jnp.sum(G * orthogonal.polar(W)))(scale * Q)
    right = (G - Q @ G.mT @ Q) / (2 * scale)
    # Sums of N² products of size one, divided by s.
    np.testing.assert_allclose(gradient, right, rtol=0, atol=1e-13 / scale)


def test_the_gradient_of_polar_is_that_of_the_svd_elsewhere(rng, x64):
    W, G = (jnp.asarray(rng.standard_normal((6, 6))) for _ in range(2))

    def by_svd(W):
        U, _, Vt = jnp.linalg.svd(W, full_matrices=False)
        return jnp.sum(G * (U @ Vt))

    gradient = jax.grad(lambda W: jnp.sum(G * orthogonal.polar(W)))(W)
    # Divided by differences of singular values, of which the closest are 0.1 apart.
    np.testing.assert_allclose(gradient, jax.grad(by_svd)(W), rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("retraction", RETRACTIONS)
def test_half_precision_is_computed_in_float32(rng, retraction, dtype):
    W = jnp.asarray(rng.standard_normal((5, 5)), dtype)
    Q = RETRACTIONS[retraction](W)
    assert Q.dtype == dtype
    expected = RETRACTIONS[retraction](W.astype(jnp.float32)).astype(dtype)
    np.testing.assert_array_equal(Q.astype(jnp.float32), expected.astype(jnp.float32))


@pytest.mark.parametrize(
    "W", [np.ones((3, 4)), np.ones(3), np.ones((0, 0)), np.ones((3, 3), int), np.eye(3) * 1j]
)
@pytest.mark.parametrize("retraction", RETRACTIONS)
def test_what_is_no_square_matrix_is_named(retraction, W, unchecked):
    with pytest.raises(ValueError, match=r"^W must be square floating-point matrices"):
        RETRACTIONS[retraction](W)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("distance", [1e-3, 0.05, 0.49, 0.51, 30.0])
def test_newton_schulz_is_polar_at_any_distance(rng, dtype, distance):
    """By products up to ‖WᵀW − I‖_F = 1/2, by the SVD beyond: each as near as polar's own."""
    E = rng.standard_normal((3, 9, 9))
    W = orthogonal_matrices(rng, 9, batch=(3,))
    for i in range(3):  # scaled so that each is as far as is said
        low, high = 0.0, 10.0
        for _ in range(60):
            scale = (low + high) / 2
            moved = W[i] @ (np.eye(9) + scale * E[i])
            off = np.linalg.norm(moved.T @ moved - np.eye(9))
            low, high = (low, scale) if off > distance else (scale, high)
        W[i] = moved
    W = W.astype(dtype)
    Q = retract(newton_schulz, W)
    assert reference.orthogonality_error(Q).max() <= STABLE * np.finfo(dtype).eps
    condition = np.linalg.cond(W.astype(np.float64)).max()
    np.testing.assert_allclose(
        Q, retract(polar, W), rtol=0, atol=2 * STABLE * condition * np.finfo(dtype).eps
    )


def test_newton_schulz_takes_products_alone_where_it_is_near(rng, monkeypatch):
    monkeypatch.setattr(nearest, "_polar_by_svd", lambda W: jnp.full_like(W, jnp.nan))
    W = orthogonal_matrices(rng, 6, np.float32)
    by_products = jax.jit(nearest._by_products_if_near)
    assert np.isfinite(by_products(1.05 * W)).all()  # ‖WᵀW − I‖_F is 0.10 √6, about 0.25
    assert np.isnan(by_products(1.2 * W)).all()


def test_the_derivative_of_newton_schulz_is_that_of_polar(rng, x64):
    W = jnp.asarray(orthogonal_matrices(rng, 5) + 0.05 * rng.standard_normal((5, 5)))
    G = jnp.asarray(rng.standard_normal((5, 5)))
    first, second = (jax.grad(lambda W, f=f: jnp.sum(G * f(W)))(W) for f in (newton_schulz, polar))
    np.testing.assert_array_equal(first, second)


def test_a_spectral_band_clips_singular_values_alone(rng):
    U, V = orthogonal_matrices(rng, 7, batch=(2,))
    sigma = np.array([3.0, 1.2, 1.1, 1.0, 0.95, 0.5, 0.1])
    with jax.enable_x64(True):
        found = np.asarray(spectral_band(0.1)(jnp.asarray((U * sigma) @ V)))
        orthogonal_one = np.asarray(spectral_band(0.0)(jnp.asarray((U * sigma[:6].sum()) @ V)))
    np.testing.assert_allclose(found, (U * np.clip(sigma, 0.9, 1.1)) @ V, rtol=0, atol=1e-14)
    np.testing.assert_allclose(orthogonal_one, U @ V, rtol=0, atol=1e-14)
    with pytest.raises(ValueError, match="margin must be from 0 to 1, got"):
        spectral_band(1.5)


def test_a_margin_that_a_schedule_narrows(rng):
    narrowing = optax.inject_hyperparams(
        lambda margin: project_recurrent(spectral_band(margin), where="W")
    )(optax.linear_schedule(0.5, 0.0, 4))
    params = {"W": 2.0 * jnp.asarray(orthogonal_matrices(rng, 5, np.float32))}
    state, norms = narrowing.init(params), []
    for _ in range(6):
        updates, state = jax.jit(narrowing.update)({"W": 0.3 * params["W"]}, state, params)
        params = optax.apply_updates(params, updates)
        norms.append(np.linalg.norm(params["W"], 2))
    np.testing.assert_allclose(norms, [1.5, 1.375, 1.25, 1.125, 1, 1], rtol=1e-5)


@pytest.mark.parametrize("name", ["qr", "householder", "polar", "newton_schulz", "cholesky"])
def test_second_derivatives_are_slopes_of_the_first(rng, x64, name):
    retract, G = RETRACTIONS[name], jnp.asarray(rng.standard_normal((4, 4)))
    W = jnp.asarray(orthogonal_matrices(rng, 4) + 0.1 * rng.standard_normal((4, 4)))
    E = jnp.asarray(rng.standard_normal((4, 4)))
    gradient = jax.grad(lambda W: jnp.sum(G * retract(W)))
    h = 1e-5
    slope = (gradient(W + h * E) - gradient(W - h * E)) / (2 * h)
    # The third derivative times h², and rounding divided by h.
    np.testing.assert_allclose(jax.jvp(gradient, (W,), (E,))[1], slope, rtol=0, atol=1e-7)
    hessian = jax.hessian(lambda W: jnp.sum(G * retract(W)))(W)
    np.testing.assert_allclose(jnp.tensordot(hessian, E, 2), slope, rtol=0, atol=1e-7)
