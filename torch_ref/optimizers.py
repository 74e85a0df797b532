"""Optimizers with a rate of W_hh's own, and clipping; the counterpart of jaxrnn.optimizers.

Clipping follows Optax's formula, g · min(1, max_norm / ‖g‖). torch's own clip_grad_norm_ divides by
‖g‖ + 1e-6, which alone parts two frameworks by 1e-7 within a short run.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from torch_ref.paths import is_recurrent_kernel


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that have gradients: all but torch's redundant second bias."""
    return [param for param in model.parameters() if param.requires_grad]


def sgd(model: nn.Module, lr: float, recurrent_lr: float | None = None) -> torch.optim.SGD:
    """torch.optim.SGD, W_hh at a rate of its own if one is given."""
    return torch.optim.SGD(_groups(model, recurrent_lr), lr, fused=True)


def adam(model: nn.Module, lr: float, recurrent_lr: float | None = None) -> torch.optim.Adam:
    """torch.optim.Adam, W_hh at a rate of its own if one is given.

    Its means are there from the start, where torch makes them in the first step, so that the state
    to be saved has the same parts at all times.
    """
    optimizer = torch.optim.Adam(_groups(model, recurrent_lr), lr, fused=True)
    for param in trainable(model):
        optimizer.state[param] = {
            "step": torch.zeros([], device=param.device),
            "exp_avg": torch.zeros_like(param),
            "exp_avg_sq": torch.zeros_like(param),
        }
    return optimizer


def cut_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Multiply every learning rate by ``factor``."""
    for group in optimizer.param_groups:
        group["lr"] *= factor


def _groups(model: nn.Module, recurrent_lr: float | None) -> Any:
    if recurrent_lr is None:
        return trainable(model)
    named = [(path, param) for path, param in model.named_parameters() if param.requires_grad]
    recurrent = [param for path, param in named if is_recurrent_kernel(path, param)]
    rest = [param for path, param in named if not is_recurrent_kernel(path, param)]
    return [{"params": recurrent, "lr": recurrent_lr}, {"params": rest}]


def global_norm(gradients: Sequence[Tensor]) -> Tensor:
    """‖g‖₂ over all gradients as one vector."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(gradients))))


def clip_by_value(gradients: Sequence[Tensor], limit: float) -> None:
    """Every entry of g to ±limit, in place."""
    for gradient in gradients:
        gradient.clamp_(-limit, limit)


def clip_by_global_norm(gradients: Sequence[Tensor], norm: float, max_norm: float) -> None:
    """g ← g · max_norm / ‖g‖ in place where ‖g‖ = ``norm`` is at least max_norm."""
    if norm >= max_norm:
        torch._foreach_mul_(list(gradients), max_norm / norm)
