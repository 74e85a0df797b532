"""Spectral norm, spectral radius and orthogonality error against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrnn.diagnostics import (
    orthogonality_error,
    recurrent_diagnostics,
    spectral_norm,
    spectral_radius,
)
from tests import numpy_reference as reference

# Rounding of sums of up to 49 products in float64: at most 6e-16 over 100 seeds.
CLOSE = {"rtol": 1e-13, "atol": 0}


@pytest.fixture
def matrices(rng, x64):
    """A batch of matrices, none of them normal, orthogonal or symmetric."""
    return jnp.asarray(rng.standard_normal((2, 3, 7, 7)))


def test_spectral_norm_is_the_largest_singular_value(matrices):
    norms = spectral_norm(matrices)
    assert norms.shape == (2, 3)
    for i, j in np.ndindex(2, 3):
        np.testing.assert_allclose(norms[i, j], np.linalg.norm(matrices[i, j], 2), **CLOSE)
        np.testing.assert_allclose(spectral_norm(matrices[i, j]), norms[i, j], **CLOSE)


def test_orthogonality_error_is_as_defined(matrices):
    errors = orthogonality_error(matrices)
    assert errors.shape == (2, 3)
    np.testing.assert_allclose(errors, reference.orthogonality_error(matrices), **CLOSE)
    np.testing.assert_allclose(orthogonality_error(matrices[0, 1]), errors[0, 1], **CLOSE)


def test_orthogonality_error_of_zero_orthogonal_and_scaled_matrices(rng, x64):
    Q = jnp.asarray(reference.qr(rng.standard_normal((9, 9))))
    assert orthogonality_error(jnp.zeros((9, 9))) == 1
    assert orthogonality_error(Q) < 8 * np.finfo(np.float64).eps
    # (1.1)² − 1, whatever N: the measure does not grow with the size.
    np.testing.assert_allclose(orthogonality_error(1.1 * Q), 0.21, rtol=1e-13)


def test_float32_stays_float32(rng):
    W = jnp.asarray(rng.standard_normal((7, 7)), jnp.float32)
    for measure in (spectral_norm, spectral_radius, orthogonality_error):
        assert measure(W).dtype == jnp.float32


def test_a_model_is_as_bad_as_the_worst_of_its_recurrent_kernels(matrices):
    worst, outside = 2 * matrices[1, 1], {"kernel": 100 * matrices[0, 0]}
    kernels = [matrices[0, 0], matrices[0, 1], worst, matrices[1, 2]]
    params = {
        "cell": {
            "hi": {"kernel": kernels[0]},
            "hf": {"kernel": jnp.stack(kernels[1:])},
            "ii": outside,
        },
        "readout": outside,
    }
    norm, error = recurrent_diagnostics(params)
    np.testing.assert_allclose(norm, max(np.linalg.norm(k, 2) for k in kernels), **CLOSE)
    np.testing.assert_allclose(
        error, max(reference.orthogonality_error(k) for k in kernels), **CLOSE
    )


def test_a_model_without_recurrent_kernels_has_no_measurements():
    with pytest.warns(UserWarning, match="where= selects one of readout/kernel"):
        measured = recurrent_diagnostics({"readout": {"kernel": jnp.eye(3)}})
    assert np.isnan(measured).all()


@pytest.mark.parametrize("where", ["W_hh", lambda path, leaf: path == "mine/W_hh"])
def test_kernels_of_other_names_are_selected(matrices, where):
    """The cell's own are not measured then."""
    params = {"h": {"kernel": 9 * matrices[1, 1]}, "mine": {"W_hh": matrices[0, 1]}}
    norm, error = jax.jit(lambda params: recurrent_diagnostics(params, where))(params)
    np.testing.assert_allclose(norm, np.linalg.norm(matrices[0, 1], 2), **CLOSE)
    np.testing.assert_allclose(error, reference.orthogonality_error(matrices[0, 1]), **CLOSE)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("W_xx", r"where= selects none of the leaves: W_hh \(3, 3\), b \(3,\)"),
        ("b", r"needs square matrices: b has shape \(3,\)"),
        ("(", "not a regular expression"),
    ],
)
def test_selections_that_are_refused(where, message):
    with pytest.raises(ValueError, match=message):
        recurrent_diagnostics({"W_hh": jnp.eye(3), "b": jnp.ones(3)}, where)


def test_the_gradient_of_the_spectral_norm(matrices):
    """u vᵀ of the largest singular value, in a batch and under vmap."""
    U, _, Vt = np.linalg.svd(matrices)
    expected = U[..., :, :1] * Vt[..., :1, :]
    summed = jax.grad(lambda W: spectral_norm(W).sum())
    for gradient in (summed, jax.vmap(jax.vmap(jax.grad(spectral_norm)))):
        np.testing.assert_allclose(jax.jit(gradient)(matrices), expected, rtol=0, atol=1e-12)


def test_half_precision_is_measured_in_float32(rng):
    W = jnp.asarray(rng.standard_normal((7, 7)), jnp.bfloat16)
    for measure in (spectral_norm, spectral_radius, orthogonality_error):
        measured = measure(W)
        assert measured.dtype == jnp.float32
        np.testing.assert_array_equal(measured, measure(W.astype(jnp.float32)))


def test_spectral_radius_is_the_largest_eigenvalue(matrices, rng):
    radii = spectral_radius(matrices)
    assert radii.shape == (2, 3)
    expected = np.abs(np.linalg.eigvals(matrices)).max(-1)
    # Both round W by some eps, magnified by the condition of the eigenvalue: 3e-15 over 50 seeds.
    np.testing.assert_allclose(radii, expected, rtol=1e-13)
    np.testing.assert_allclose(spectral_radius(matrices[0, 1]), radii[0, 1], rtol=1e-14)


def test_spectral_radius_in_hard_cases(rng, x64):
    Q = jnp.asarray(reference.qr(rng.standard_normal((9, 9))))
    np.testing.assert_allclose(spectral_radius(1.1 * Q), 1.1, rtol=1e-14)
    for size in (1e-200, 1e200):
        np.testing.assert_allclose(spectral_radius(size * Q), size, rtol=1e-12)
    jordan = 0.5 * jnp.eye(4) + jnp.diag(jnp.ones(3), 1)
    # ‖Jᵏ‖ = c k³ ρᵏ: off by (ln c + 3 ln k)/k at k = 2^64.
    np.testing.assert_allclose(spectral_radius(jordan), 0.5, rtol=1e-13)
    assert spectral_radius(jnp.diag(jnp.ones(3), 1)) == 0
    assert spectral_radius(jnp.zeros((3, 3))) == 0
    assert spectral_radius(jnp.full((1, 1), -3.0)) == pytest.approx(3, rel=1e-15)


def test_the_gradient_of_the_orthogonality_error(rng, x64):
    N = 6
    for Q in (jnp.eye(N), -jnp.eye(N)[::-1]):  # orthogonal to the last bit
        np.testing.assert_array_equal(jax.grad(orthogonality_error)(Q), np.zeros((N, N)))
    W = jnp.asarray(rng.standard_normal((N, N)))

    def defined(W):
        return jnp.linalg.norm(W.T @ W - jnp.eye(N)) / N**0.5

    gradient = jax.grad(orthogonality_error)(W)
    np.testing.assert_allclose(gradient, jax.grad(defined)(W), rtol=1e-13, atol=1e-14)
    assert np.isnan(orthogonality_error(W.at[0, 0].set(jnp.nan)))
