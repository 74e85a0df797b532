"""Measurements that tell how a recurrent network is doing, from its parameters."""

import torch
from torch import Tensor, nn

from torch_ref.paths import is_recurrent_kernel


def _at_least_float32(W: Tensor) -> Tensor:
    return W.to(torch.promote_types(W.dtype, torch.float32))


def spectral_norm(W: Tensor) -> Tensor:
    """‖W‖₂, the largest singular value of (..., N, N)."""
    return torch.linalg.svdvals(_at_least_float32(W))[..., 0]


def orthogonality_error(W: Tensor) -> Tensor:
    """‖WᵀW − I‖_F / √N of (..., N, N)."""
    N = W.shape[-1]
    W = _at_least_float32(W)
    identity = torch.eye(N, dtype=W.dtype, device=W.device)
    return torch.linalg.matrix_norm(W.mT @ W - identity) / N**0.5


@torch.no_grad()
def recurrent_diagnostics(model: nn.Module) -> tuple[float, float]:
    """The largest spectral norm and orthogonality error of all recurrent matrices of ``model``."""
    matrices = [
        param for path, param in model.named_parameters() if is_recurrent_kernel(path, param)
    ]
    if not matrices:
        return float("nan"), float("nan")
    norms = torch.stack([spectral_norm(W).max() for W in matrices])
    errors = torch.stack([orthogonality_error(W).max() for W in matrices])
    return norms.max().item(), errors.max().item()
