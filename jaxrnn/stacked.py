"""Recurrent layers on top of each other, with dropout between them, then the readout.

    h_t^l = F_l(h_{t-1}^l, d(h_t^{l-1}))          h_t^0 = x_t          y_t = W_hy h_t^L + b_y

d sets a share p of its input to zero and divides the rest by 1 − p. It is on the way from layer to
layer and not on the recurrence, which it would make forget (Zaremba, Sutskever & Vinyals 2014,
Recurrent neural network regularization); inputs and readout have none.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import Initializer
from jaxtyping import Array, Float, Int

from jaxrnn.checks import check_flag, check_real, described
from jaxrnn.model import check_readout, make_readout
from jaxrnn.recurrent_layer import RecurrentLayer


class StackedModel(nn.Module):
    """Any Flax recurrent cells over time, each on the states of the one before, then the readout.

    Parameters: ``cells_0/...``, ``cells_1/...`` and so on, and ``readout/{kernel,bias}``. A
    ``VanillaCell`` is run by ``jaxrnn.bptt``, as in ``SequenceModel``.

    Attributes:
      cells: the cells, the first on the inputs; one or more.
      num_outputs: C.
      dropout_rate: p, from 0 to less than 1.
      last_only: read out the last step alone, giving (B, C) instead of (B, T, C).
      kernel_init, bias_init: for W_hy and b_y.
      dtype, param_dtype: of the readout's computation and of its parameters.

    Raises:
      ValueError: no cells, anything else among them, one that stands there twice (its layers would
        share their weights); a dropout_rate outside [0, 1); an initial_carry that is no tuple of a
        carry for each cell.

    Example:
      >>> model = StackedModel([VanillaCell(4), VanillaCell(7)], num_outputs=6, dropout_rate=0.2)
      >>> inputs = jax.random.normal(jax.random.key(0), (2, 5, 3))  # (B, T, D)
      >>> variables = model.init(jax.random.key(1), inputs)
      >>> list(variables["params"])
      ['cells_0', 'cells_1', 'readout']
      >>> rngs = {"dropout": jax.random.key(2)}
      >>> model.apply(variables, inputs, train=True, rngs=rngs).shape  # (B, T, C)
      (2, 5, 6)
    """

    cells: Sequence[nn.RNNCellBase]
    num_outputs: int
    dropout_rate: float = 0.0
    last_only: bool = False
    kernel_init: Initializer = nn.initializers.lecun_normal()
    bias_init: Initializer = nn.initializers.zeros_init()
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        _check_cells(self.cells)
        check_readout(self)
        object.__setattr__(self, "cells", tuple(self.cells))  # a list has no hash, as jit needs
        check_real("dropout_rate", self.dropout_rate, "in [0, 1)", lambda rate: 0 <= rate < 1)
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        inputs: Float[Array, "*B T D"],
        initial_carry: Sequence[Any] | None = None,
        return_carry: bool = False,
        seq_lengths: Int[Array, "*B"] | None = None,
        train: bool = False,
    ) -> Any:
        """Outputs (B, T, C), or (B, C) with ``last_only``; with ``return_carry``, (carry, outputs).

        Args:
          inputs: (B, T, D).
          initial_carry: a tuple of each cell's carry; default: their own initial ones.
          return_carry: also return them after the last step.
          seq_lengths: valid steps of each sequence, 0 to T, as for ``SequenceModel``.
          train: whether to drop; needs the key ``rngs={"dropout": ...}`` where p is above 0.
        """
        check_flag("return_carry", return_carry)
        check_flag("train", train)
        readout = make_readout(self)
        carries = (None,) * len(self.cells) if initial_carry is None else initial_carry
        if not isinstance(carries, list | tuple) or len(carries) != len(self.cells):
            raise ValueError(
                f"initial_carry must be a tuple of {len(self.cells)} carries, one for each cell, "
                f"got {_described(carries)}"
            )
        hidden, last = inputs, []
        for cell, carry in zip(self.cells[:-1], carries[:-1], strict=True):
            carry, hidden = RecurrentLayer(cell)(
                hidden, lambda h: h, initial_carry=carry, seq_lengths=seq_lengths
            )
            hidden = nn.Dropout(self.dropout_rate, deterministic=not train)(hidden)
            last.append(carry)
        carry, outputs = RecurrentLayer(self.cells[-1], self.last_only)(
            hidden, readout, initial_carry=carries[-1], seq_lengths=seq_lengths
        )
        return ((*last, carry), outputs) if return_carry else outputs


def _check_cells(cells: Any) -> None:
    if not isinstance(cells, list | tuple):
        raise ValueError(
            f"cells must be a list of cells, such as [GRUCell(5)], got {described(cells)}"
        )
    if not cells:
        raise ValueError("cells must be one or more, got none")
    for cell in cells:
        if not isinstance(cell, nn.RNNCellBase):
            raise ValueError(f"each of cells must be an RNNCellBase, got {described(cell)}")
    if len({id(cell) for cell in cells}) < len(cells):
        raise ValueError(f"each of cells must be a different cell, got the same one twice: {cells}")


def _described(carries: Any) -> str:
    kind = type(carries).__name__
    return f"a {kind} of {len(carries)}" if isinstance(carries, list | tuple) else kind
