"""Recurrent layers on top of each other, with dropout between them, then the readout.

    h_t^l = F_l(h_{t-1}^l, d(h_t^{l-1}))          h_t^0 = x_t          y_t = W_hy h_t^L + b_y

d is dropout; inputs, recurrence and readout have none (Zaremba, Sutskever & Vinyals 2014).
"""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from torch_ref.cells import Cell, state_of
from torch_ref.checks import check_flag, check_real, check_whole
from torch_ref.model import linear_readout
from torch_ref.wrappers import WrappedCell


class StackedModel(nn.Module):
    """Cells over time, each on the states of the one before, then the readout.

    All sequences of a batch have T steps: there are no seq_lengths, as jaxrnn's model takes.

    Args:
      cells: the first on the inputs; one or more, each with as many inputs as the one before has
        units.
      num_outputs: C.
      dropout_rate: the share of states that is dropped between layers, from 0 to less than 1.
      last_only: read out h_T alone, giving (B, C) instead of (B, T, C).

    Raises:
      ValueError: no cells, anything else among them, one that stands there twice (its layers would
        share their weights); a dropout_rate outside [0, 1); an initial_carry that is no tuple of a
        carry for each cell.

    Example:
      >>> model = StackedModel([GRUCell(3, 4), VanillaCell(4, 7)], num_outputs=6, dropout_rate=0.2)
      >>> tuple(model(torch.randn(2, 5, 3), train=True).shape)  # (B, T, C)
      (2, 5, 6)
    """

    def __init__(
        self,
        cells: Sequence[Cell | WrappedCell],
        num_outputs: int,
        dropout_rate: float = 0.0,
        last_only: bool = False,
    ) -> None:
        _check_cells(cells)
        check_whole("num_outputs", num_outputs)
        check_real("dropout_rate", dropout_rate, "in [0, 1)", lambda rate: 0 <= rate < 1)
        check_flag("last_only", last_only)
        super().__init__()
        self.cells = nn.ModuleList(cells)
        self.dropout_rate = dropout_rate
        self.last_only = last_only
        self.readout = linear_readout(cells[-1], num_outputs)

    def forward(
        self,
        inputs: Tensor,
        initial_carry: Sequence[Any] | None = None,
        return_carry: bool = False,
        train: bool = False,
    ) -> Any:
        """Outputs (B, T, C), or (B, C) with ``last_only``; with ``return_carry``, (carry, outputs).

        Args:
          inputs: (B, T, D).
          initial_carry: a tuple of each cell's; default: zeros.
          return_carry: also return those of step T.
          train: whether to drop.
        """
        carries = (None,) * len(self.cells) if initial_carry is None else initial_carry
        if not isinstance(carries, list | tuple) or len(carries) != len(self.cells):
            raise ValueError(
                f"initial_carry must be a tuple of {len(self.cells)} carries, one for each cell, "
                f"got {_described(carries)}"
            )
        hidden, last = inputs, []
        for layer, (cell, carry) in enumerate(zip(self.cells, carries, strict=True)):
            if layer:
                hidden = nn.functional.dropout(hidden, self.dropout_rate, train)
            hidden, carry = cell(hidden, carry)
            last.append(carry)
        outputs = self.readout(state_of(last[-1]) if self.last_only else hidden)
        return (tuple(last), outputs) if return_carry else outputs


def _check_cells(cells: Any) -> None:
    if not isinstance(cells, list | tuple):
        raise ValueError(f"cells must be a list of cells, such as [GRUCell(3, 5)], got {cells!r}")
    if not cells:
        raise ValueError("a StackedModel needs one cell or more, got none")
    for cell in cells:
        if not isinstance(cell, Cell | WrappedCell):
            raise ValueError(f"each of cells must be one of torch_ref's, got {cell!r}")
    if len({id(cell) for cell in cells}) < len(cells):
        raise ValueError(f"each of cells must be a different cell, got the same one twice: {cells}")


def _described(carries: Any) -> str:
    kind = type(carries).__name__
    return f"a {kind} of {len(carries)}" if isinstance(carries, list | tuple) else kind
