"""Tangent vectors of the orthogonal group, and the ways along them: see jaxrnn/group/maps.py."""

import math

import torch
from torch import Tensor


def max_angle(dtype: torch.dtype) -> float:
    """The largest rotation, in radians, that I + A + A²/2 makes at once: see jaxrnn's.

    Example:
      >>> print(f"{group.maps.max_angle(torch.float32):.2f}")
      0.20
    """
    return (4 * math.sqrt(4 / 3 * torch.finfo(dtype).eps)) ** 0.25


def skew(M: Tensor) -> Tensor:
    """(M − Mᵀ) / 2.

    Example:
      >>> group.maps.skew(torch.tensor([[1.0, 4.0], [0.0, 1.0]])).tolist()
      [[0.0, 2.0], [-2.0, 0.0]]
    """
    return (M - M.mT) / 2


def newton_schulz(X: Tensor) -> Tensor:
    """X (3 I − XᵀX) / 2.

    Example:
      >>> W = group.maps.newton_schulz(1.001 * torch.eye(3))
      >>> bool(diagnostics.orthogonality_error(W) < 1e-5)
      True
    """
    return 1.5 * X - 0.5 * X @ (X.mT @ X)


def rotate(W: Tensor, A: Tensor) -> Tensor:
    """W exp(A) of the skew part of A, to second order, then a Newton–Schulz step.

    Example:
      >>> A = torch.tensor([[0.0, -0.1], [0.1, 0.0]])
      >>> torch.allclose(group.maps.rotate(torch.eye(2), A), torch.linalg.matrix_exp(A), atol=1e-3)
      True
    """
    A = skew(A)
    square = A @ A
    angle = (square.square().sum((-2, -1)) / 2).max().item() ** 0.25
    is_large = max_angle(A.dtype) < angle < math.inf
    halvings = math.ceil(math.log2(angle / max_angle(A.dtype))) if is_large else 0
    scale = 0.5**halvings
    identity = torch.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    R = identity + scale * A + scale**2 / 2 * square
    for _ in range(halvings):
        R = newton_schulz(R)
        R = R @ R
    return newton_schulz(W @ R)


def polar_of_skew(A: Tensor, steps: int = 5) -> Tensor:
    """About the polar factor of a skew matrix, itself skew, by Muon's iteration.

    Example:
      >>> P = group.maps.polar_of_skew(torch.tensor([[0.0, 1e-3], [-1e-3, 0.0]]))
      >>> 0.7 < P[0, 1].item() < 1.3
      True
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    norm = torch.linalg.matrix_norm(A, keepdim=True)
    X = A / torch.where(norm > 0, norm, torch.ones_like(norm))
    for _ in range(steps):
        S = X @ X
        X = skew(a * X + (c * (S @ S) - b * S) @ X)
    return X
