"""A recurrent cell over a sequence, and a linear readout y_t = W_hy h_t + b_y."""

from typing import Any

from torch import Tensor, nn

from torch_ref.cells import Cell, state_of
from torch_ref.checks import check_flag, check_whole
from torch_ref.wrappers import WrappedCell, innermost


class SequenceModel(nn.Module):
    """The cell over time, then the readout.

    Args:
      cell: a ``VanillaCell``, ``GRUCell`` or ``LSTMCell``, or one of torch_ref.wrappers around it.
      num_outputs: C.
      last_only: read out h_T alone, giving (B, C) instead of (B, T, C).

    Raises:
      ValueError: a cell that is none, ``num_outputs`` < 1, inputs or a carry that do not fit.

    Example:
      >>> model = SequenceModel(VanillaCell(3, 4), num_outputs=6)
      >>> carry, outputs = model(torch.randn(2, 5, 3), return_carry=True)
      >>> tuple(carry.shape), tuple(outputs.shape)  # (B, N), (B, T, C)
      ((2, 4), (2, 5, 6))
    """

    def __init__(self, cell: Cell | WrappedCell, num_outputs: int, last_only: bool = False) -> None:
        if not isinstance(cell, Cell | WrappedCell):
            raise ValueError(f"cell must be one of torch_ref's, such as GRUCell(3, 5), got {cell}")
        check_whole("num_outputs", num_outputs)
        check_flag("last_only", last_only)
        super().__init__()
        self.cell = cell
        self.last_only = last_only
        self.readout = linear_readout(cell, num_outputs)

    def forward(self, inputs: Tensor, initial_carry: Any = None, return_carry: bool = False) -> Any:
        """Outputs (B, T, C), or (B, C) with ``last_only``; with ``return_carry``, (carry, outputs).

        Args:
          inputs: (B, T, D).
          initial_carry: h_0 (B, N), of an LSTM (c_0, h_0), or what a wrapper has; default: zeros.
          return_carry: also return that of step T.
        """
        hidden, carry = self.cell(inputs, initial_carry)
        outputs = self.readout(state_of(carry) if self.last_only else hidden)
        return (carry, outputs) if return_carry else outputs


def linear_readout(cell: Cell | WrappedCell, num_outputs: int) -> nn.Linear:
    """W_hy and b_y for the states of a cell, of its dtype and on its device."""
    weight = innermost(cell).weight_hh_l0
    return nn.Linear(weight.shape[-1], num_outputs, dtype=weight.dtype, device=weight.device)
