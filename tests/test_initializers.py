"""Initial weights: values, distributions and shapes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn import initializers
from tests import numpy_reference as reference

SQUARE = (7, 7)
EVERY = {
    "uniform": initializers.uniform(7),
    "normal": initializers.normal(0.1),
    "xavier": initializers.xavier(),
    "orthogonal": initializers.orthogonal(),
    "identity": initializers.identity(),
    "henaff": initializers.henaff(),
    "cayley": initializers.cayley(),
    "rotations": initializers.rotations(-0.5, 2.0),
    "special_orthogonal": initializers.special_orthogonal(),
}
RANDOM = EVERY.keys() - {"identity"}


def drawn(init, shape, seed=0):
    return np.asarray(init(jax.random.key(seed), shape), np.float64)


@pytest.mark.parametrize("name", EVERY)
def test_dtype_is_the_one_asked_for(name, x64):
    for dtype in (jnp.float32, jnp.float64):
        W = EVERY[name](jax.random.key(0), SQUARE, dtype)
        assert (W.shape, W.dtype) == (SQUARE, dtype)


@pytest.mark.parametrize("name", sorted(RANDOM))
def test_the_key_alone_decides(name):
    first = drawn(EVERY[name], SQUARE)
    np.testing.assert_array_equal(first, drawn(EVERY[name], SQUARE))
    assert np.abs(first - drawn(EVERY[name], SQUARE, seed=1)).max() > 0.01


def assert_uniform(sample, low, high):
    """Kolmogorov–Smirnov: sup |F_n − F| > 1.95/√n has probability 1e-3, and the seed is fixed."""
    assert low <= sample.min() < sample.max() <= high
    quantiles = (np.sort(sample) - low) / (high - low)
    distance = np.abs(quantiles - np.linspace(0, 1, len(sample))).max()
    assert distance < 1.95 / np.sqrt(len(sample))


def test_uniform_fills_plus_minus_one_over_root_n():
    W = drawn(initializers.uniform(16), (60, 50))  # the bound is of N units, whatever the shape
    assert_uniform(W.ravel(), -0.25, 0.25)


def test_normal_has_the_deviation_asked_for():
    W = drawn(initializers.normal(1e-3), (60, 50))
    # The relative deviation of a standard deviation from n values is 1/√(2n) = 0.013; four times.
    np.testing.assert_allclose(W.std(), 1e-3, rtol=0.052)
    assert np.abs(W).max() > 2.5e-3  # a uniform one would end at 1.7e-3


def test_xavier_is_normal_with_variance_two_over_in_plus_out():
    W = drawn(initializers.xavier(), (90, 30))
    # The relative deviation of a variance from n values is √(2/n) = 0.027; four times that.
    # JAX draws a normal cut off at two deviations and widened to this variance.
    np.testing.assert_allclose(W.var(), 2 / 120, rtol=0.11)
    assert abs(W.mean()) < 4 * np.sqrt(2 / 120 / W.size)
    assert np.abs(W).max() > 2 * W.std()  # a uniform one would end at √3


def test_orthogonal_is_uniform_over_the_group():
    keys = jax.random.split(jax.random.key(0), 500)
    W = np.asarray(jax.vmap(lambda key: initializers.orthogonal()(key, SQUARE))(keys))
    assert reference.orthogonality_error(W).max() < 1e-6  # 8 eps of float32, as for any QR
    # Uniform: each entry has mean 0 and variance 1/N (QR without signs has a mean far from 0 on the
    # diagonal), and half the matrices are reflections. Each bound is 4.5 standard deviations.
    assert np.abs(W.mean(axis=0)).max() < 4.5 / np.sqrt(7 * 500)
    assert abs((np.linalg.det(W) > 0).mean() - 0.5) < 4.5 * 0.5 / np.sqrt(500)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_orthogonal_in_half_precision(dtype):
    W = initializers.orthogonal()(jax.random.key(3), (5, 5), dtype)
    assert W.dtype == dtype
    wide = initializers.orthogonal()(jax.random.key(3), (5, 5), jnp.float32)
    assert jnp.array_equal(W, wide.astype(dtype))


def test_orthogonal_scales():
    W = drawn(initializers.orthogonal(0.3), SQUARE)
    assert reference.orthogonality_error(W / 0.3) < 1e-6


@pytest.mark.parametrize("shape", [(7, 7), (2, 3, 5, 5)])
def test_identity_is_scale_times_one(shape):
    expected = np.broadcast_to(np.float32(0.01) * np.eye(shape[-1], dtype=np.float32), shape)
    np.testing.assert_array_equal(drawn(initializers.identity(0.01), shape), expected)
    np.testing.assert_array_equal(drawn(initializers.identity(), shape)[..., 0, 0], 1)


@pytest.mark.parametrize("N", [1, 6, 7])
@pytest.mark.parametrize("name", ["henaff", "cayley", "rotations"])
def test_two_by_two_rotations(name, N):
    for W in drawn(EVERY[name], (4, N, N)):
        expected = np.eye(N)
        for i in range(0, N - 1, 2):
            angle = np.arctan2(W[i + 1, i], W[i, i])
            c, s = np.cos(angle), np.sin(angle)
            expected[i : i + 2, i : i + 2] = [[c, -s], [s, c]]
        np.testing.assert_allclose(W, expected, rtol=0, atol=3e-7)  # 2 eps of float32


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("henaff", -np.pi, np.pi), ("cayley", 0, np.pi / 2), ("rotations", -0.5, 2)],
)
def test_angles_are_uniform(name, least, most):
    W = drawn(EVERY[name], (40, 50, 50))
    even = np.arange(0, 50, 2)
    angles = np.arctan2(W[:, even + 1, even], W[:, even, even])
    assert_uniform(angles.ravel(), least - 1e-6, most + 1e-6)  # rounded in float32


def test_cayley_is_the_transform_of_its_source():
    """(I + A)⁻¹ (I − A) of skew blocks, with s = √((1 − cos t) / (1 + cos t))."""
    W = drawn(initializers.cayley(), (6, 6))
    A = np.zeros((6, 6))
    for i in range(0, 6, 2):
        t = np.arctan2(W[i + 1, i], W[i, i])
        s = np.sqrt((1 - np.cos(t)) / (1 + np.cos(t)))
        A[i, i + 1], A[i + 1, i] = s, -s
    np.testing.assert_allclose(np.linalg.solve(np.eye(6) + A, np.eye(6) - A), W, rtol=0, atol=1e-6)


def test_special_orthogonal_is_uniform_over_the_rotations():
    keys = jax.random.split(jax.random.key(0), 500)
    W = np.asarray(jax.vmap(lambda key: initializers.special_orthogonal()(key, SQUARE))(keys))
    assert reference.orthogonality_error(W).max() < 1e-6
    np.testing.assert_allclose(np.linalg.det(W), 1, atol=1e-5)
    assert np.abs(W.mean(axis=0)).max() < 4.5 / np.sqrt(7 * 500)  # as above


def test_bad_angles_are_named():
    with pytest.raises(ValueError, match=r"most must be finite and 2\.0 or more, got 1\.0"):
        initializers.rotations(2.0, 1.0)
    with pytest.raises(ValueError, match="least must be a finite number"):
        initializers.rotations(np.nan, 1.0)


@pytest.mark.parametrize("name", ["identity", "henaff", "cayley", "special_orthogonal"])
@pytest.mark.parametrize("shape", [(4, 7), (3, 4, 7), (7,)])
def test_matrices_that_are_not_square_are_refused(name, shape):
    with pytest.raises(ValueError, match=f"{name}.* square .* got shape .*{shape[-1]}"):
        EVERY[name](jax.random.key(0), shape)
