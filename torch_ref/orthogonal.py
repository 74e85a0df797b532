"""Retractions: maps from a square matrix W to an orthogonal matrix near it.

The counterpart of jaxrnn.orthogonal, which has the table of names and their properties. All take
(..., N, N), leading dimensions being a batch of matrices.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from torch_ref.checks import as_square_matrices, check_real, where_finite

Retraction = Callable[[Tensor], Tensor]


def _of_square_matrices(function: Retraction) -> Retraction:
    """Computes in float32 or wider and gives the dtype of W; ValueError if W is not square."""

    @wraps(function)
    def checked(W: Tensor) -> Tensor:
        return function(as_square_matrices("W", W)).to(W.dtype)

    return checked


@_of_square_matrices
def householder(W: Tensor) -> Tensor:
    """Sign-corrected QR by Householder reflections: backward stable whatever W.

    Example:
      >>> Q = orthogonal.householder(torch.ones(3, 3))  # singular, and no trouble
      >>> torch.allclose(Q.T @ Q, torch.eye(3), atol=1e-6)
      True
    """
    Q, R = torch.linalg.qr(W)
    negative = torch.diagonal(R, dim1=-2, dim2=-1) < 0
    return Q * torch.where(negative, -1.0, 1.0).to(W.dtype).unsqueeze(-2)


def qr(W: Tensor) -> Tensor:
    """Sign-corrected QR: Q·diag(s) with W = QR, s_j = −1 where R_jj < 0 and +1 otherwise.

    Always by Householder: the reference takes none of jaxrnn's short cuts.

    Example:
      >>> W = torch.tensor([[3.0, 1.0], [-4.0, 2.0]])
      >>> print(orthogonal.qr(W).numpy().round(3))
      [[ 0.6  0.8]
       [-0.8  0.6]]
    """
    return householder(W)


@_of_square_matrices
def polar(W: Tensor) -> Tensor:
    """The orthogonal polar factor U Vᵀ of W = U Σ Vᵀ: the nearest orthogonal matrix.

    Example:
      >>> W = torch.tensor([[3.0, 1.0], [-4.0, 2.0]])
      >>> bool((orthogonal.polar(W) - W).norm() < (orthogonal.qr(W) - W).norm())
      True
    """

    return where_finite(_Polar.apply, W)


class _Polar(torch.autograd.Function):
    """U Vᵀ, with jaxrnn's derivative, finite where singular values coincide."""

    @staticmethod
    def forward(ctx: Any, W: Tensor) -> Tensor:
        U, sigma, Vt = torch.linalg.svd(W, full_matrices=False)
        ctx.save_for_backward(U, sigma, Vt)
        return U @ Vt

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        U, sigma, Vt = ctx.saved_tensors
        M = U.mT @ gradients[0] @ Vt.mT
        sums = sigma.unsqueeze(-1) + sigma.unsqueeze(-2)
        return U @ ((M - M.mT) / sums) @ Vt


@_of_square_matrices
def newton_schulz(W: Tensor) -> Tensor:
    """``polar`` by X ← X (3 I − XᵀX) / 2, where ‖WᵀW − I‖_F is at most 1/2; else by the SVD.

    Example:
      >>> W = torch.tensor([[0.6, 0.8], [-0.8, 0.6]]) + 0.01
      >>> torch.allclose(orthogonal.newton_schulz(W), orthogonal.polar(W), atol=1e-6)
      True
    """
    identity = torch.eye(W.shape[-1], dtype=W.dtype, device=W.device)
    e = torch.linalg.matrix_norm(W.mT @ W - identity).max().item()
    if not e <= 0.5:
        return polar(W)
    while e > torch.finfo(W.dtype).eps:
        W, e = 1.5 * W - 0.5 * W @ (W.mT @ W), 0.75 * e**2 + 0.25 * e**3
    return W


def spectral_band(margin: float) -> Retraction:
    """A retraction to singular values in [1 − m, 1 + m]: W = U Σ Vᵀ becomes U clip(Σ) Vᵀ.

    Example:
      >>> W = torch.diag(torch.tensor([0.5, 0.95, 3.0]))
      >>> print(orthogonal.spectral_band(0.1)(W).diagonal().numpy().round(2))
      [0.9  0.95 1.1 ]
    """
    check_real("margin", margin, "from 0 to 1", lambda value: 0 <= value <= 1)

    def clipped(W: Tensor) -> Tensor:
        U, sigma, Vt = torch.linalg.svd(W, full_matrices=False)
        return U * sigma.clamp(1 - margin, 1 + margin).unsqueeze(-2) @ Vt

    return _of_square_matrices(lambda W: where_finite(clipped, W))


@_of_square_matrices
def qr_unsigned(W: Tensor) -> Tensor:
    """Q of W = QR without the sign rule. Not a retraction: it moves even an orthogonal W.

    Example:
      >>> W = torch.tensor([[0.6, 0.8], [-0.8, 0.6]])  # orthogonal already
      >>> [torch.allclose(f(W), W) for f in (orthogonal.qr_unsigned, orthogonal.qr)]
      [False, True]
    """
    return torch.linalg.qr(W).Q


@_of_square_matrices
def gram_schmidt(W: Tensor) -> Tensor:
    """Classical Gram–Schmidt: q_j ∝ w_j − Q Qᵀ w_j. NaN where columns are dependent.

    Example:
      >>> W = 1 / (1 + torch.arange(5.0) + torch.arange(5.0)[:, None])  # Hilbert's, ill-conditioned
      >>> print(f"{diagnostics.orthogonality_error(orthogonal.gram_schmidt(W)):.1f}")
      0.6
    """
    Q = torch.zeros_like(W)
    for j in range(W.shape[-1]):
        column = W[..., j : j + 1]
        column = column - Q @ (Q.mT @ column)
        Q[..., j : j + 1] = column / torch.linalg.vector_norm(column, dim=-2, keepdim=True)
    return Q


@_of_square_matrices
def modified_gram_schmidt(W: Tensor) -> Tensor:
    """Modified Gram–Schmidt: each q_i is removed from what the earlier ones have left of w_j.

    Example:
      >>> W = 1 / (1 + torch.arange(5.0) + torch.arange(5.0)[:, None])  # Hilbert's, ill-conditioned
      >>> bool(diagnostics.orthogonality_error(orthogonal.modified_gram_schmidt(W)) < 0.1)
      True
    """
    Q = torch.zeros_like(W)
    for j in range(W.shape[-1]):
        column = W[..., j : j + 1]
        for i in range(j):
            earlier = Q[..., i : i + 1]
            column = column - earlier * (earlier * column).sum(dim=-2, keepdim=True)
        Q[..., j : j + 1] = column / torch.linalg.vector_norm(column, dim=-2, keepdim=True)
    return Q


@_of_square_matrices
def cholesky(W: Tensor) -> Tensor:
    """Cholesky QR: Q = W R⁻¹ with WᵀW = RᵀR. NaN where WᵀW is not numerically positive.

    Example:
      >>> W = torch.tensor([[3.0, 1.0], [-4.0, 2.0]])
      >>> print(orthogonal.cholesky(W).numpy().round(3))
      [[ 0.6  0.8]
       [-0.8  0.6]]
    """
    L, info = torch.linalg.cholesky_ex(W.mT @ W)
    Q = torch.linalg.solve_triangular(L.mT, W, upper=True, left=False)
    return torch.where(info[..., None, None] == 0, Q, torch.nan)


RETRACTIONS: dict[str, Retraction] = {
    function.__name__: function
    for function in (
        qr,
        householder,
        polar,
        newton_schulz,
        qr_unsigned,
        gram_schmidt,
        modified_gram_schmidt,
        cholesky,
    )
}
