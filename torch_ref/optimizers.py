"""Optimizers with a separate rate for W_hh, schedules, and clipping, as in jaxrnn.optimizers.

    sgd         w ← w − lr · g
    momentum    w ← w − lr · m,  m ← 0.9 m + g                             (Polyak 1964)
    rmsprop     w ← w − lr · g / (√v + ε),  v ← 0.99 v + 0.01 g²            (Tieleman & Hinton 2012)
    adam        w ← w − lr · m̂ / (√v̂ + ε)                                  (Kingma & Ba 2015)

Clipping follows Optax's formula, g · min(1, max_norm / ‖g‖). torch's own clip_grad_norm_ divides by
‖g‖ + 1e-6, which alone makes two frameworks differ by 1e-7 within a short run.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from torch_ref.checks import check_one_of, check_real, check_whole, is_whole
from torch_ref.convert import places_of
from torch_ref.model import SequenceModel
from torch_ref.paths import is_recurrent_kernel

Factor = Callable[[int], float]  # the number of a step → what the learning rate is multiplied by

# By name, how to make it, and what it keeps for each parameter.
OPTIMIZERS: dict[str, tuple[Callable[..., torch.optim.Optimizer], tuple[str, ...]]] = {
    "sgd": (partial(torch.optim.SGD, fused=True), ()),
    "momentum": (partial(torch.optim.SGD, momentum=0.9, fused=True), ("momentum_buffer",)),
    "rmsprop": (partial(torch.optim.RMSprop, alpha=0.99, eps=1e-8), ("step", "square_avg")),
    "adam": (partial(torch.optim.Adam, fused=True), ("step", "exp_avg", "exp_avg_sq")),
}


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that have gradients: all but torch's redundant second bias.

    Example:
      >>> model = SequenceModel(VanillaCell(3, 4), num_outputs=6)
      >>> len(list(model.parameters())), len(trainable(model))
      (6, 5)
    """
    return [param for param in model.parameters() if param.requires_grad]


def schedule(warmup_steps: int = 0, decay_steps: int = 0) -> Factor:
    """Warm-up, then cosine decay (Loshchilov & Hutter 2017), as a factor of the learning rate.

        (k + 1) / W                            k < W
        cos²(π/2 · (k − W) / (D − W))          W ≤ k < D,  the same as ½ (1 + cos π ...)
        0                                      D ≤ k

    for the step k, counted from 0.

    Args:
      warmup_steps: W; 0: none.
      decay_steps: D, counted from the beginning; 0: none, so that the factor stays at 1.

    Raises:
      ValueError: W < 0, or 0 < D ≤ W, or D < 0, or one that is no whole number.

    Example:
      >>> factor = optimizers.schedule(warmup_steps=2, decay_steps=6)
      >>> [round(factor(k), 2) for k in range(7)]
      [0.5, 1.0, 1.0, 0.85, 0.5, 0.15, 0.0]
    """
    W, D = warmup_steps, decay_steps
    check_whole("warmup_steps", W, least=0)
    if not (is_whole(D) and (D == 0 or D > W)):
        raise ValueError(
            f"decay_steps must be 0, or a whole number above the {W} of warmup_steps, got {D!r}"
        )

    def factor(step: int) -> float:
        if step < W:
            return (step + 1) / W
        if not D:
            return 1.0
        return math.cos(math.pi / 2 * (step - W) / (D - W)) ** 2 if step < D else 0.0

    return factor


@contextmanager
def rates_times(optimizer: torch.optim.Optimizer, factor: float) -> Iterator[None]:
    """Every learning rate multiplied by ``factor``, until the block ends.

    Example:
      >>> sgd = torch.optim.SGD([torch.zeros(3)], lr=0.5)
      >>> with optimizers.rates_times(sgd, 0.1):
      ...     print(sgd.param_groups[0]["lr"])
      0.05
      >>> sgd.param_groups[0]["lr"]
      0.5
    """
    rates = [group["lr"] for group in optimizer.param_groups]
    cut_learning_rate(optimizer, factor)
    try:
        yield
    finally:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate


def optimizer(
    name: str, model: nn.Module, lr: float, recurrent_lr: float | None = None
) -> torch.optim.Optimizer:
    """PyTorch's own, with a separate rate for W_hh if one is given.

    What it keeps of the gradients is there from the start, where torch makes it in the first step,
    so that the state to be saved has the same parts at all times.

    Args:
      name: one of ``OPTIMIZERS``.
      model: whose trainable parameters it moves.
      lr: learning rate.
      recurrent_lr: learning rate of W_hh, where it differs.

    Raises:
      ValueError: an unknown name; a rate that is negative or not finite.

    Example:
      >>> model = SequenceModel(VanillaCell(3, 4), num_outputs=6)
      >>> adam = optimizers.optimizer("adam", model, lr=1e-3, recurrent_lr=1e-4)
      >>> [group["lr"] for group in adam.param_groups]  # of W_hh, of the rest
      [0.0001, 0.001]
    """
    check_one_of("optimizer", name, OPTIMIZERS)
    check_not_negative(lr=lr, recurrent_lr=0.0 if recurrent_lr is None else recurrent_lr)
    make, kept = OPTIMIZERS[name]
    made = make(_groups(model, recurrent_lr), lr)
    for param in trainable(model) if kept else ():
        made.state[param] = {
            key: torch.zeros([], device=param.device) if key == "step" else torch.zeros_like(param)
            for key in kept
        }
    return made


sgd = partial(optimizer, "sgd")
momentum = partial(optimizer, "momentum")
rmsprop = partial(optimizer, "rmsprop")
adam = partial(optimizer, "adam")


def check_not_negative(**values: float) -> None:
    """ValueError that names the first of the values that is negative or not finite.

    Example:
      >>> optimizers.check_not_negative(lr=0.1, clip_norm=-1.0)
      Traceback (most recent call last):
          ...
      ValueError: clip_norm must be 0 or more and finite, got -1.0
    """
    for name, value in values.items():
        check_real(name, value, "0 or more and finite", lambda value: value >= 0)


def cut_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Multiply every learning rate by ``factor``.

    Example:
      >>> sgd = torch.optim.SGD([torch.zeros(3)], lr=0.5)
      >>> optimizers.cut_learning_rate(sgd, 0.1)
      >>> sgd.param_groups[0]["lr"]
      0.05
    """
    check_not_negative(factor=factor)
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
    """‖g‖₂ over all gradients as one vector.

    Example:
      >>> optimizers.global_norm([torch.tensor([3.0]), torch.tensor([[4.0]])]).item()
      5.0
    """
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(gradients))))


def clip_by_value(gradients: Sequence[Tensor], limit: float) -> None:
    """Every entry of g to ±limit, in place.

    Example:
      >>> gradient = torch.tensor([3.0, -0.5])
      >>> optimizers.clip_by_value([gradient], 1.0)
      >>> gradient.tolist()
      [1.0, -0.5]
    """
    check_not_negative(limit=limit)
    for gradient in gradients:
        most = min(limit, torch.finfo(gradient.dtype).max)
        gradient.clamp_(-most, most)


def clip_adaptively(model: SequenceModel, ratio: float) -> None:
    """g_i ← g_i · min(1, ratio · max(‖w_i‖, 1e-3) / ‖g_i‖) for each unit, in place.

    As optax.adaptive_grad_clip on Flax's parameters: a unit's weights are a row of a gate's matrix,
    and a bias is one unit; so is a matrix of one column (Brock et al. 2021).

    Example:
      >>> model = SequenceModel(VanillaCell(3, 4), num_outputs=6)
      >>> model(torch.randn(2, 5, 3)).square().sum().backward()
      >>> optimizers.clip_adaptively(model, ratio=0.001)
      >>> weight = model.readout.weight  # a row for each unit
      >>> torch.allclose(weight.grad.norm(dim=1), 0.001 * weight.norm(dim=1))
      True
    """
    check_not_negative(ratio=ratio)
    for param, rows in places_of(model).values():
        if param.grad is not None:
            weight, gradient = param.detach()[rows], param.grad[rows]
            norm, limit = _unit_norms(gradient), ratio * _unit_norms(weight).clamp(min=1e-3)
            gradient.mul_(torch.where(norm < limit, 1.0, limit / norm.clamp(min=1e-6)))


def _unit_norms(array: Tensor) -> Tensor:
    if array.squeeze().ndim <= 1:
        return torch.linalg.vector_norm(array)
    return torch.linalg.vector_norm(array, dim=1, keepdim=True)


def clip_by_global_norm(gradients: Sequence[Tensor], norm: float, max_norm: float) -> None:
    """g ← g · max_norm / ‖g‖ in place where ‖g‖ = ``norm`` is at least max_norm.

    Example:
      >>> gradients = [torch.tensor([3.0]), torch.tensor([[4.0]])]
      >>> optimizers.clip_by_global_norm(gradients, norm=5.0, max_norm=2.5)
      >>> [gradient.item() for gradient in gradients]
      [1.5, 2.0]
    """
    check_not_negative(norm=norm, max_norm=max_norm)
    if norm >= max_norm:
        torch._foreach_mul_(list(gradients), max_norm / norm)
