"""The geometry of the group, against SciPy and at its limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from jaxrnn.group import maps

N, S = 7, 3


def random_skew(rng, angle, *shape):
    """Of which the largest rotation is by an angle."""
    A = rng.standard_normal((*shape, N, N))
    A = A - np.swapaxes(A, -1, -2)
    return jnp.asarray(angle * A / np.linalg.norm(A, 2, axis=(-2, -1), keepdims=True))


def random_orthogonal(rng):
    return jnp.asarray(np.linalg.qr(rng.standard_normal((N, N)))[0])


def distance(X):
    return float(jnp.max(jnp.linalg.norm(X.mT @ X - jnp.eye(X.shape[-1]), axis=(-2, -1))))


@pytest.mark.parametrize("way", maps.MAPS)
@pytest.mark.parametrize("angle", [0.0, 1e-3, 0.016, 0.017, 1.0, 3.0, 40.0])
def test_any_angle_is_a_rotation(way, angle, rng, x64):
    W = jnp.broadcast_to(jnp.eye(N), (S, N, N))
    R = maps.rotate(W, random_skew(rng, angle, S), way)
    assert distance(R) < 1e-14 * max(1, angle)  # products of N terms; expm squares more
    np.testing.assert_allclose(jnp.linalg.det(R), 1, atol=1e-13)


@pytest.mark.parametrize("angle", [1e-3, 0.19, 1.0])
def test_rotations_are_those_of_scipy(angle, rng, x64):
    assert maps.max_angle(jnp.float64) == pytest.approx(0.0162, abs=1e-4)  # tried on both sides
    A = random_skew(rng, angle)
    expected = scipy.linalg.expm(np.asarray(A))
    np.testing.assert_allclose(maps.exponential(A), expected, rtol=0, atol=1e-13)
    pieces = max(1, angle / maps.max_angle(A.dtype))
    for way in (maps.second_order, maps.cayley):
        # The term of third order, by its piece of the angle; 2 for where halving rounds up.
        bound = 2 * angle**3 / 6 / (pieces**2 if way is maps.second_order else 1)
        np.testing.assert_allclose(way(A), expected, rtol=0, atol=bound)
    identity = np.eye(N)
    A = np.asarray(A)
    expected = np.linalg.inv(identity - A / 2) @ (identity + A / 2)
    np.testing.assert_allclose(maps.cayley(jnp.asarray(A)), expected, rtol=0, atol=1e-13)


def test_exp_and_its_inverse(rng, x64):
    A = random_skew(rng, 2.0)
    there_and_back = maps.exponential(A) @ maps.exponential(-A)
    np.testing.assert_allclose(there_and_back, jnp.eye(N), rtol=0, atol=1e-13)
    back = scipy.linalg.logm(np.asarray(maps.exponential(A)))
    np.testing.assert_allclose(back, A, rtol=0, atol=1e-12)


def test_tangent_vectors_are_tangent_and_nearest(rng, x64):
    W, G = random_orthogonal(rng), jnp.asarray(rng.standard_normal((N, N)))
    V = maps.tangent(W, G)
    np.testing.assert_allclose(W.T @ V + V.T @ W, 0, atol=1e-13)
    np.testing.assert_allclose(maps.tangent(W, V), V, rtol=0, atol=1e-13)
    other = W @ maps.skew(jnp.asarray(rng.standard_normal((N, N))))
    np.testing.assert_allclose(jnp.sum((G - V) * other), 0, atol=1e-12)  # what is left is normal


@pytest.mark.parametrize("scale", [1e-3, 0.5, 1.0, 1.5, 1e3])
def test_the_polar_factor_of_what_is_far(scale, rng, x64):
    X = jnp.asarray(scale * rng.standard_normal((S, N, N)))
    U, _, Vt = np.linalg.svd(X)
    condition = np.max(np.linalg.cond(X))
    np.testing.assert_allclose(maps.polar(X), U @ Vt, rtol=0, atol=1e-13 * condition)


def test_one_newton_schulz_step_leaves_what_is_said(rng, x64):
    E = jnp.asarray(1e-3 * rng.standard_normal((N, N)))
    X = random_orthogonal(rng) @ (jnp.eye(N) + E)
    E = X.T @ X - jnp.eye(N)
    Y = maps.newton_schulz(X)
    left = -0.75 * E @ E + 0.25 * E @ E @ E
    np.testing.assert_allclose(Y.T @ Y - jnp.eye(N), left, rtol=0, atol=1e-13)


@pytest.mark.parametrize("size", [N, N + 1])
def test_every_plane_turns_by_about_one_angle(size, rng, x64):
    A = rng.standard_normal((size, size))
    P = maps.polar_of_skew(jnp.asarray(A - A.T))
    np.testing.assert_array_equal(P, -P.T)
    sigma = np.linalg.svd(P, compute_uv=False)
    turning = sigma[: size - size % 2]
    assert turning.min() > 0.6
    assert turning.max() < 1.3
    assert np.all(sigma[size - size % 2 :] < 1e-6)
    np.testing.assert_array_equal(maps.polar_of_skew(jnp.zeros((size, size))), 0)


@pytest.mark.parametrize("function", [*maps.MAPS.values(), maps.polar, maps.polar_of_skew])
def test_what_is_not_finite_shows(function):
    A = jnp.zeros((2, N, N)).at[1, 0, 1].set(jnp.nan)
    A = A + jnp.eye(N) if function is maps.polar else A
    found = jax.jit(function)(A)
    assert bool(jnp.isnan(found[1]).any())
