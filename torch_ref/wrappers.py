"""Cells around a cell: units that leak, a skip connection across time, truncated BPTT.

    leaky        h_t = (1 − α) h_{t-1} + α F(h_{t-1}, x_t)
    skip         h_t = F(h_{t-1}, [x_t, h_{t-k}])
    truncated    h_t = F(h_{t-1}, x_t), without a gradient by h_{t-1} after every k steps

The counterpart of jaxrnn.wrappers, which has the sources. Each goes around a cell of
torch_ref.cells and takes whole sequences as they do, one step after the other. A carry has the
inner cell's last in it.
"""

from typing import Any

import torch
from torch import Tensor, nn

from torch_ref.cells import Cell, check_sequence, map_carry, state_of
from torch_ref.checks import check_real, check_whole


class WrappedCell(nn.Module):
    """What the cells of this module have in common; ``cell`` is the one inside.

    Raises:
      ValueError: ``cell`` is none of torch_ref's.
    """

    def __init__(self, cell: "Cell | WrappedCell") -> None:
        if not isinstance(cell, Cell | WrappedCell):
            raise ValueError(f"cell must be one of torch_ref's, such as GRUCell(3, 5), got {cell}")
        super().__init__()
        self.cell = cell

    @property
    def input_size(self) -> int:
        """D, features of the inputs."""
        return self.cell.input_size

    def forward(self, inputs: Tensor, carry: Any = None) -> tuple[Tensor, Any]:
        """(B, T, D) and a carry or None for the initial one → all h_t (B, T, N) and the carry."""
        check_sequence(self, inputs, carry)
        carry = self.initialize_carry(len(inputs)) if carry is None else carry
        steps = []
        for x in inputs.unbind(1):
            carry = self.step(carry, x)
            steps.append(state_of(carry))
        return torch.stack(steps, 1), carry

    def step(self, carry: Any, x: Tensor) -> Any:
        """The carry after a step with x_t (B, D)."""
        raise NotImplementedError

    def initialize_carry(self, batch_size: int) -> Any:
        """The carry before the first step."""
        return self.cell.initialize_carry(batch_size)


class LeakyCell(WrappedCell):
    """h_t = (1 − α) h_{t-1} + α F(h_{t-1}, x_t); of an LSTM both c and h leak.

    Args:
      cell: F.
      rate: α, above 0 and at most 1.

    Raises:
      ValueError: a rate outside (0, 1]; a cell that is none or is of this module.

    Example:
      >>> inner = VanillaCell(3, 4)
      >>> inputs, h_0 = torch.randn(1, 1, 3), torch.ones(1, 4)
      >>> leaked, _ = LeakyCell(inner, rate=0.25)(inputs, h_0)
      >>> torch.allclose(leaked, 0.75 * h_0 + 0.25 * inner(inputs, h_0)[0])
      True
    """

    def __init__(self, cell: Cell, rate: float) -> None:
        check_real("rate", rate, "above 0 and at most 1", lambda rate: 0 < rate <= 1)
        _refuse(self, cell, WrappedCell)
        super().__init__(cell)
        self.rate: float = rate

    def step(self, carry: Any, x: Tensor) -> Any:
        """The carry after a step with x_t (B, D)."""
        new = _step(self.cell, carry, x)
        return map_carry(lambda old, new: (1 - self.rate) * old + self.rate * new, carry, new)


class SkipCell(WrappedCell):
    """h_t = F(h_{t-1}, [x_t, h_{t-k}]), with zeros for states before h_0.

    The carry is (past, inner carry), past (B, k − 1, N) being h_{t-k} … h_{t-2}, the oldest first.

    Args:
      cell: F, of D + N inputs.
      steps: k, at least 2.

    Raises:
      ValueError: steps that are no whole number or below 2; a cell that is none, is a
        ``TruncatedCell``, or has no more inputs than units.

    Example:
      >>> cell = SkipCell(VanillaCell(3 + 4, 4), steps=3)
      >>> hidden, (past, h) = cell(torch.randn(2, 5, 3))
      >>> tuple(past.shape), tuple(h.shape)  # (B, k − 1, N), (B, N)
      ((2, 2, 4), (2, 4))
    """

    def __init__(self, cell: Cell | WrappedCell, steps: int) -> None:
        check_whole("steps", steps, least=2)
        _refuse(self, cell, TruncatedCell)
        super().__init__(cell)
        own = innermost(cell)
        if own.input_size <= own.hidden_size:
            raise ValueError(
                f"the cell in a SkipCell must have D + N inputs, got {own.input_size} for "
                f"{own.hidden_size} units"
            )
        self.steps = steps

    def step(self, carry: Any, x: Tensor) -> Any:
        """The carry after a step with x_t (B, D)."""
        past, inner = carry
        last = state_of(inner)[:, None]
        inner = _step(self.cell, inner, torch.cat([x, past[:, 0]], -1))
        return torch.cat([past[:, 1:], last], 1), inner

    @property
    def input_size(self) -> int:
        """D, features of the inputs, which h_{t-k} is put behind."""
        return self.cell.input_size - innermost(self).hidden_size

    def initialize_carry(self, batch_size: int) -> Any:
        """(past, inner carry) before the first step."""
        inner = self.cell.initialize_carry(batch_size)
        h = state_of(inner)
        return h.new_zeros(batch_size, self.steps - 1, h.shape[-1]), inner


class TruncatedCell(WrappedCell):
    """Truncated BPTT inside a sequence: no gradient from a block of k steps into the one before it.

    The carry is (count, inner carry), count (B,) being the steps of the block that are behind, from
    0 at first to k. The first block has none before it to be cut from.

    Args:
      cell: F.
      steps: k, at least 1.

    Raises:
      ValueError: steps that are no whole number or below 1; a cell that is none.

    Example:
      >>> inputs = torch.randn(1, 6, 3, requires_grad=True)
      >>> TruncatedCell(VanillaCell(3, 4), steps=2)(inputs)[0][:, -1].sum().backward()
      >>> (inputs.grad != 0).any(-1)[0].tolist()  # by step: the last block alone
      [False, False, False, False, True, True]
    """

    def __init__(self, cell: Cell | WrappedCell, steps: int) -> None:
        check_whole("steps", steps)
        super().__init__(cell)
        self.steps = steps

    def step(self, carry: Any, x: Tensor) -> Any:
        """The carry after a step with x_t (B, D)."""
        count, inner = carry

        def cut(h: Tensor) -> Tensor:
            begins = (count == self.steps).reshape(-1, *[1] * (h.ndim - 1))
            return torch.where(begins, h.detach(), h)

        return count % self.steps + 1, _step(self.cell, map_carry(cut, inner), x)

    def initialize_carry(self, batch_size: int) -> Any:
        """(count, inner carry) before the first step."""
        inner = self.cell.initialize_carry(batch_size)
        count = torch.zeros(batch_size, dtype=torch.int32, device=state_of(inner).device)
        return count, inner


def innermost(cell: Any) -> Any:
    """The cell of torch_ref.cells in one of this module, or that cell itself."""
    return innermost(cell.cell) if isinstance(cell, WrappedCell) else cell


def _step(cell: Any, carry: Any, x: Tensor) -> Any:
    return cell(x[:, None], carry)[1]


def _refuse(outer: Any, cell: Any, kind: type) -> None:
    if isinstance(cell, kind):
        raise ValueError(
            f"{type(outer).__name__} cannot go around {type(cell).__name__}: combine them as "
            "TruncatedCell(SkipCell(LeakyCell(cell, ...), ...), ...)"
        )
