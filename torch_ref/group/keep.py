"""``keep_orthogonal``: any torch optimizer, with recurrent matrices that move along the group."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from torch_ref.checks import check_kind, check_one_of
from torch_ref.group.methods import METHODS, Method
from torch_ref.paths import Predicate, gates
from torch_ref.transforms import selected


def keep_orthogonal(
    optimizer: torch.optim.Optimizer,
    model: nn.Module,
    method: str = "on_group",
    where: Predicate | str | None = None,
    layout: Literal["in_out", "out_in"] = "out_in",
    **options: Any,
) -> torch.optim.Optimizer:
    """The optimizer, with hooks around its step: selected matrices move on the orthogonal group.

    For a step the optimizer sees each of them as a point A of a vector space, with the gradient by
    it: with "on_group" the coordinates of W exp(A), W being A = 0, so that weight decay does
    nothing to it. Of torch.nn.GRU and LSTM each gate is one matrix.

    Args:
      optimizer: over parameters of the model; those that it has none of are left alone.
      model: its parameters are looked through by name.
      method: a name in ``torch_ref.group.METHODS``.
      where: as in ``project_recurrent``.
      layout: as in ``project_recurrent``.
      **options: of the method.

    Raises:
      ValueError: no optimizer, no model, an unknown method, matrices far from orthogonal ones; else
        as ``project_recurrent``.

    Example:
      >>> model = SequenceModel(VanillaCell(3, 4), num_outputs=6)
      >>> project_recurrent(model).step()  # an orthogonal start
      >>> optimizer = group.keep_orthogonal(torch.optim.Adam(trainable(model), lr=1e-3), model)
      >>> model(torch.randn(2, 5, 3)).square().mean().backward()
      >>> optimizer.step()
      >>> bool(diagnostics.orthogonality_error(model.cell.weight_hh_l0) < 1e-6)
      True
    """
    check_kind("optimizer", optimizer, torch.optim.Optimizer, "a torch.optim.Optimizer")
    check_one_of("method", method, METHODS)
    its_own = {param for one in optimizer.param_groups for param in one["params"]}
    matrices = [
        Matrix(param, METHODS[method](**options), layout == "in_out")
        for param in selected(model, where, layout, "keep_orthogonal")
        if param in its_own
    ]
    for matrix in matrices:
        matrix.check()

    def enter(*_: Any) -> None:
        for matrix in matrices:
            matrix.enter()

    def leave(*_: Any) -> None:
        for matrix in matrices:
            matrix.leave()

    optimizer.register_step_pre_hook(enter)
    optimizer.register_step_post_hook(leave)
    return optimizer


class Matrix:
    """A parameter that is exchanged for the coordinates of its matrices during a step."""

    def __init__(self, param: Tensor, method: Method, is_transposed: bool) -> None:
        self.param, self.method, self.is_transposed = param, method, is_transposed
        self.W: Tensor | None = None

    @torch.no_grad()
    def check(self) -> None:
        """ValueError unless W is near the group: see jaxrnn.selection.check_near_group."""
        W = self._turned(self.param).to(torch.promote_types(self.param.dtype, torch.float32))
        identity = torch.eye(W.shape[-1], dtype=W.dtype, device=W.device)
        distance = torch.linalg.matrix_norm(W.mT @ W - identity).max().item()
        if distance > 0.5:
            raise ValueError(
                "keep_orthogonal starts from orthogonal matrices, such as one step of "
                f"project_recurrent makes: ‖WᵀW − I‖_F is {distance:.2g}"
            )

    @torch.no_grad()
    def enter(self) -> None:
        """W and its gradient out, A and the gradient by it in."""
        self.W = None
        if self.param.grad is None:
            return
        wide = torch.promote_types(self.param.dtype, torch.float32)
        self.W, G = (self._turned(one).to(wide, copy=True) for one in (self.param, self.param.grad))
        A, gradient = self.method.enter(self.W, G)
        self._turned(self.param).copy_(A)
        self._turned(self.param.grad).copy_(gradient)

    @torch.no_grad()
    def leave(self) -> None:
        """The W that A leads to."""
        if self.W is not None:
            A = self._turned(self.param).to(self.W.dtype, copy=True)
            self._turned(self.param).copy_(self.method.leave(self.W, A))

    def _turned(self, stored: Tensor) -> Tensor:
        """A view of the matrices as the equation writes them, (..., gates, N, N)."""
        W = gates(stored)
        assert W is not None
        return W.mT if self.is_transposed else W
