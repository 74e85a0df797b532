"""Measurements of how well a recurrent network works.

    p_t = ‖∂L/∂h_t‖          ∂h_T/∂h_0 = J_T … J_1          J_t = ∂h_t/∂h_{t-1}

From its parameters alone, from a backward pass that keeps the gradient by every state, and from the
Jacobians along a sequence. Read it next to jaxrnn/diagnostics/; it loops in Python and is not fast.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from torch_ref.cells import VanillaCell
from torch_ref.checks import (
    as_square_matrices,
    check_kind,
    check_tensor,
    described,
    is_whole,
    where_finite,
)
from torch_ref.model import SequenceModel
from torch_ref.paths import gates, is_recurrent_kernel


def spectral_norm(W: Tensor) -> Tensor:
    """‖W‖₂, the largest singular value of (..., N, N).

    Example:
      >>> W = torch.tensor([[0.5, 4.0], [0.0, 0.5]])
      >>> print(f"{diagnostics.spectral_norm(W):.2f}")
      4.06
    """
    W = as_square_matrices("W", W)
    return where_finite(lambda W: torch.linalg.svdvals(W)[..., 0], W)


def spectral_radius(W: Tensor) -> Tensor:
    """max |λ_i(W)| of (..., N, N).

    Example:
      >>> print(f"{diagnostics.spectral_radius(torch.tensor([[0.5, 4.0], [0.0, 0.5]])):.2f}")
      0.50
    """
    W = as_square_matrices("W", W)
    return where_finite(lambda W: torch.linalg.eigvals(W).abs().amax(-1), W)


def orthogonality_error(W: Tensor) -> Tensor:
    """‖WᵀW − I‖_F / √N of (..., N, N).

    Example:
      >>> [diagnostics.orthogonality_error(scale * torch.eye(4)).item() for scale in (0, 1, 2)]
      [1.0, 0.0, 3.0]
    """
    W = as_square_matrices("W", W)
    N = W.shape[-1]
    identity = torch.eye(N, dtype=W.dtype, device=W.device)
    return torch.linalg.matrix_norm(W.mT @ W - identity) / N**0.5


@torch.no_grad()
def recurrent_diagnostics(model: nn.Module) -> tuple[float, float]:
    """The largest spectral norm and orthogonality error of all recurrent matrices of ``model``.

    Of gated cells each gate's; NaN if there are none.

    Example:
      >>> model = SequenceModel(VanillaCell(3, 4), num_outputs=6)
      >>> project_recurrent(model).step()
      >>> norm, error = diagnostics.recurrent_diagnostics(model)
      >>> round(norm, 3), error < 1e-6
      (1.0, True)
    """
    check_kind("model", model, nn.Module, "a torch.nn.Module")
    named = model.named_parameters()
    matrices: list[Any] = [
        gates(param) for path, param in named if is_recurrent_kernel(path, param)
    ]
    if not matrices:
        return float("nan"), float("nan")
    norms = torch.stack([spectral_norm(W).max() for W in matrices])
    errors = torch.stack([orthogonality_error(W).max() for W in matrices])
    return norms.max().item(), errors.max().item()


def gradient_profile(
    model: SequenceModel, batch: tuple[Tensor, Tensor], loss_fn: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """‖∂L/∂h_t‖ for t = 0 … T, (T+1,), over the batch.

    Args:
      model: of a ``VanillaCell``.
      batch: inputs (B, T, D), targets.
      loss_fn: (outputs, targets) → L.

    Raises:
      ValueError: a model of another cell, no pair, inputs that do not fit.

    Example:
      >>> model = SequenceModel(VanillaCell(3, 4), num_outputs=6)
      >>> batch = torch.randn(2, 5, 3), torch.zeros(2, 5, 6)
      >>> tuple(diagnostics.gradient_profile(model, batch, torch.nn.functional.mse_loss).shape)
      (6,)
    """
    cell = getattr(model, "cell", None)
    if not isinstance(cell, VanillaCell):
        raise ValueError(f"model must be a SequenceModel of a VanillaCell, got {described(model)}")
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise ValueError(f"batch must be (inputs, targets), got {described(batch)}")
    inputs, targets = batch
    check_tensor("inputs", inputs, ("B", "T", cell.input_size), cell.weight_hh_l0.dtype)
    h = inputs.new_zeros(len(inputs), cell.hidden_size).requires_grad_()
    states = [h]
    for x in inputs.unbind(1):
        h = _step(cell, h, x)
        states.append(h)
    hidden = torch.stack(states[1:], 1)
    outputs = model.readout(hidden[:, -1] if model.last_only else hidden)
    by_state = torch.autograd.grad(loss_fn(outputs, targets), states)
    return torch.stack([gradient.norm() for gradient in by_state])


def jacobian_singular_values(cell: VanillaCell, carry: Tensor, inputs: Tensor) -> Tensor:
    """ln σ_i of ∂h_T/∂h_0, (N,), the largest first, from h_0 (N,) and inputs (T, D).

    The product is rescaled at every step; what is below eps of the largest is rounding.

    Raises:
      ValueError: inputs or a carry that do not fit the cell.

    Example:
      >>> cell = VanillaCell(1, 2, activation="identity")
      >>> cell.weight_hh_l0.data = torch.tensor([[1.0, 0.0], [0.0, 0.5]])
      >>> logs = diagnostics.jacobian_singular_values(cell, torch.zeros(2), torch.ones(3, 1))
      >>> print(logs.exp().numpy().round(3))  # 1³ and 0.5³
      [1.    0.125]
    """
    _check_sequence(cell, carry, inputs)
    product = torch.eye(len(carry), dtype=carry.dtype, device=carry.device)
    log_size = carry.new_zeros(())
    for jacobian in _jacobians(cell, carry, inputs):
        product = jacobian @ product
        size = product.abs().max()
        size = torch.where(size > 0, size, torch.ones_like(size))
        product, log_size = product / size, log_size + size.log()
    return log_size + torch.linalg.svdvals(product).log()


def lyapunov_spectrum(cell: VanillaCell, carry: Tensor, inputs: Tensor, warm_up: int = 0) -> Tensor:
    """λ_i = 1/T Σ_t ln |R_ii,t| of J_t Q_{t-1} = Q_t R_t, Q_0 = I, (N,) (Benettin et al. 1980).

    From h_0 (N,) and inputs (T, D); the first ``warm_up`` steps are not counted in T.

    Raises:
      ValueError: inputs or a carry that do not fit the cell, a ``warm_up`` that leaves no step.

    Example:
      >>> cell = VanillaCell(1, 2, activation="identity")
      >>> cell.weight_hh_l0.data = torch.tensor([[1.0, 0.0], [0.0, 0.5]])
      >>> exponents = diagnostics.lyapunov_spectrum(cell, torch.zeros(2), torch.ones(3, 1))
      >>> print(exponents.exp().numpy().round(3))  # by step
      [1.  0.5]
    """
    _check_sequence(cell, carry, inputs)
    if not (is_whole(warm_up) and 0 <= warm_up < len(inputs)):
        T = len(inputs)
        raise ValueError(
            f"warm_up must be from 0 to {T - 1} of {T} steps, got {described(warm_up)}"
        )
    Q = torch.eye(len(carry), dtype=carry.dtype, device=carry.device)
    total = torch.zeros_like(carry)
    for t, jacobian in enumerate(_jacobians(cell, carry, inputs)):
        Q, R = torch.linalg.qr(jacobian @ Q)
        if t >= warm_up:
            total = total + R.diagonal().abs().log()
    return total / (len(inputs) - warm_up)


def _check_sequence(cell: VanillaCell, carry: Tensor, inputs: Tensor) -> None:
    check_kind("cell", cell, VanillaCell, "a VanillaCell")
    dtype = cell.weight_hh_l0.dtype
    check_tensor("carry", carry, (cell.hidden_size,), dtype)
    check_tensor("inputs", inputs, ("T", cell.input_size), dtype)


def _step(cell: VanillaCell, h: Tensor, x: Tensor) -> Tensor:
    """h_t (B, N) from h_{t-1} and x_t (B, D)."""
    return cell(x[:, None], h)[1]


def _jacobians(cell: VanillaCell, h: Tensor, inputs: Tensor) -> Iterator[Tensor]:
    """J_1 … J_T."""
    for x in inputs:
        yield torch.autograd.functional.jacobian(lambda h, x=x: _step(cell, h[None], x[None])[0], h)
        h = _step(cell, h[None], x[None])[0].detach()
