"""``project_recurrent``: orthogonal recurrent matrices, by one call after ``optimizer.step()``.

W_hh ← retract(W_hh)

torch.nn.GRU and LSTM hold the matrices of their gates on top of each other, (3N, N) and (4N, N):
each N rows are one W_hh.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from torch_ref.checks import check_kind, check_one_of, check_whole, described
from torch_ref.orthogonal import RETRACTIONS, Retraction
from torch_ref.paths import Predicate, as_bool, as_predicate, gates


class project_recurrent:  # noqa: N801 — the name of its Optax counterpart
    """Keep recurrent matrices orthogonal: call ``step()`` after the optimizer's.

    Args:
      model: its parameters are looked through by name.
      retraction: a name in ``torch_ref.orthogonal.RETRACTIONS``, or a function on (..., N, N).
      every: project at the first and then at each N-th step.
      where: a predicate (name, parameter) → bool, or a regular expression searched in the name.
        Default: the hidden-to-hidden matrices of ``torch.nn.RNN``, and each gate's of ``GRU`` and
        ``LSTM``.
      layout: "out_in" for matrices stored as W_hh, as PyTorch does; "in_out" for W_hhᵀ.

    Attributes:
      count: how many steps it has seen.

    Raises:
      ValueError: a model that is none, an unknown retraction or layout, ``every`` < 1, no parameter
        selected, or a selected one that is no square floating-point matrix, or three or four of
        them; at a step, a retraction that gives another shape.

    Example:
      >>> model = SequenceModel(VanillaCell(3, 4), num_outputs=6)
      >>> projection = project_recurrent(model)
      >>> projection.step()  # after each optimizer.step()
      >>> bool(diagnostics.orthogonality_error(model.cell.weight_hh_l0) < 1e-6)
      True
    """

    def __init__(
        self,
        model: nn.Module,
        retraction: str | Retraction = "qr",
        every: int = 1,
        where: Predicate | str | None = None,
        layout: Literal["in_out", "out_in"] = "out_in",
    ) -> None:
        if not callable(retraction):
            check_one_of("retraction", retraction, RETRACTIONS)
            retraction = RETRACTIONS[retraction]
        check_whole("every", every)
        self.retract = retraction
        self.every = every
        self.transposed = layout == "in_out"
        self.selected = selected(model, where, layout, "project_recurrent")
        self.count = 0

    @torch.no_grad()
    def step(self) -> None:
        """Project if the count of steps before this one is a multiple of ``every``."""
        if self.count % self.every == 0:
            for param in self.selected:
                matrices: Any = gates(param)
                W = matrices.to(torch.promote_types(param.dtype, torch.float32))
                matrices.copy_(self._of_stored(W))
        self.count += 1

    def _of_stored(self, W: Tensor) -> Tensor:
        W = W.mT if self.transposed else W
        Q = self.retract(W)
        if not isinstance(Q, Tensor) or Q.shape != W.shape:
            raise ValueError(f"retraction must give the shape {tuple(W.shape)}, got {described(Q)}")
        return Q.mT if self.transposed else Q


def selected(
    model: nn.Module, where: Predicate | str | None, layout: str, caller: str
) -> list[Tensor]:
    """The parameters that ``where`` takes, each checked to hold square floating-point matrices."""
    check_kind("model", model, nn.Module, "a torch.nn.Module")
    if not isinstance(layout, str) or layout not in ("in_out", "out_in"):
        raise ValueError(f"layout must be 'in_out' or 'out_in', got {layout!r}")
    selects = as_predicate(where)
    named = list(model.named_parameters())
    chosen = [(path, leaf) for path, leaf in named if as_bool(selects(path, leaf))]
    if not chosen:
        listing = ", ".join(f"{path} {tuple(leaf.shape)}" for path, leaf in named)
        raise ValueError(f"{caller}: where= selects none of the parameters: {listing}")
    for path, leaf in chosen:
        shape = tuple(leaf.shape)
        if gates(leaf) is None:
            raise ValueError(f"{caller} needs square matrices: {path} has shape {shape}")
        if not leaf.dtype.is_floating_point:
            raise ValueError(f"{caller} needs floating point: {path} is {leaf.dtype}")
    return [leaf for _, leaf in chosen]
