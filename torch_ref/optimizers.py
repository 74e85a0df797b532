"""Optimizers with a rate of W_hh's own, and clipping; the counterpart of jaxrnn.optimizers.

Clipping follows Optax's formula, g · min(1, max_norm / ‖g‖). torch's own clip_grad_norm_ divides by
‖g‖ + 1e-6, which alone parts two frameworks by 1e-7 within a short run.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from torch_ref.paths import is_recurrent_kernel

# By name, how to make it, and what it keeps for each parameter.
OPTIMIZERS: dict[str, tuple[Callable[..., torch.optim.Optimizer], tuple[str, ...]]] = {
    "sgd": (partial(torch.optim.SGD, fused=True), ()),
    "adam": (partial(torch.optim.Adam, fused=True), ("step", "exp_avg", "exp_avg_sq")),
}


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that have gradients: all but torch's redundant second bias."""
    return [param for param in model.parameters() if param.requires_grad]


def optimizer(
    name: str, model: nn.Module, lr: float, recurrent_lr: float | None = None
) -> torch.optim.Optimizer:
    """PyTorch's own, W_hh at a rate of its own if one is given.

    What it keeps of the gradients is there from the start, where torch makes it in the first step,
    so that the state to be saved has the same parts at all times.

    Args:
      name: one of ``OPTIMIZERS``.
      model: whose trainable parameters it moves.
      lr: learning rate.
      recurrent_lr: learning rate of W_hh, where it differs.

    Raises:
      ValueError: an unknown name.
    """
    if name not in OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {name!r}")
    make, kept = OPTIMIZERS[name]
    made = make(_groups(model, recurrent_lr), lr)
    for param in trainable(model) if kept else ():
        made.state[param] = {
            key: torch.zeros([], device=param.device) if key == "step" else torch.zeros_like(param)
            for key in kept
        }
    return made


sgd = partial(optimizer, "sgd")
adam = partial(optimizer, "adam")


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
