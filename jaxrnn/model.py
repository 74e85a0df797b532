"""A recurrent cell over a sequence, then a readout y_t = W_hy h_t + b_y."""

from typing import Any, Literal

import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import Initializer
from jaxtyping import Array, Float, Int

from jaxrnn.array_checks import check_dtype
from jaxrnn.checks import check_flag, check_function, check_whole, described
from jaxrnn.recurrent_layer import RecurrentLayer


def check_readout(model: Any) -> None:
    """ValueError where the attributes for the readout cannot be."""
    check_whole("num_outputs", model.num_outputs)
    check_flag("last_only", model.last_only)
    check_function("kernel_init", model.kernel_init)
    check_function("bias_init", model.bias_init)
    check_dtype("dtype", model.dtype)
    check_dtype("param_dtype", model.param_dtype)


def make_readout(model: Any) -> nn.Dense:
    """W_hy and b_y, in the ``__call__`` of a model that has the attributes for them."""
    return nn.Dense(
        model.num_outputs,
        kernel_init=model.kernel_init,
        bias_init=model.bias_init,
        dtype=model.dtype,
        param_dtype=model.param_dtype,
        name="readout",
    )


class SequenceModel(nn.Module):
    """Any Flax recurrent cell over time, then the readout.

    Parameters: ``cell/...`` and ``readout/{kernel,bias}``, the same for either ``recurrence``.

    Attributes:
      cell: the recurrent cell, such as ``VanillaCell(N)`` or ``nn.GRUCell(N)``.
      num_outputs: C.
      last_only: read out the last step alone, giving (B, C) instead of (B, T, C).
      recurrence: "scan" runs any cell by flax's ``nn.RNN``; "fused" runs a ``VanillaCell`` by
        ``jaxrnn.bptt``, whose gradient is derived by hand: faster, but without forward mode. None
        is fused where the cell allows.
      recompute: with the fused recurrence, keep the states of every √T-th step only, and compute
        those between them again on the way back: memory √T·N instead of T·N for one more forward
        pass. (Inputs and outputs, of D and C features, are kept either way.)
      kernel_init, bias_init: for W_hy and b_y.
      dtype, param_dtype: of the readout's computation and of its parameters.

    Raises:
      ValueError: a cell that is none; an unknown recurrence, or the fused one (or ``recompute``,
        which is part of it) asked for a cell that it cannot run.

    Example:
      >>> model = SequenceModel(VanillaCell(4), num_outputs=6)
      >>> inputs = jax.random.normal(jax.random.key(0), (2, 5, 3))  # (B, T, D)
      >>> variables = model.init(jax.random.key(1), inputs)
      >>> carry, outputs = model.apply(variables, inputs, return_carry=True)
      >>> carry.shape, outputs.shape  # (B, N), (B, T, C)
      ((2, 4), (2, 5, 6))
    """

    cell: nn.RNNCellBase
    num_outputs: int
    last_only: bool = False
    recurrence: Literal["scan", "fused"] | None = None
    recompute: bool = False
    kernel_init: Initializer = nn.initializers.lecun_normal()
    bias_init: Initializer = nn.initializers.zeros_init()
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        if not isinstance(self.cell, nn.RNNCellBase):
            raise ValueError(
                f"cell must be an RNNCellBase, such as GRUCell(5), got {described(self.cell)}"
            )
        check_readout(self)
        check_flag("recompute", self.recompute)
        super().__post_init__()

    @nn.compact
    def __call__(
        self,
        inputs: Float[Array, "*B T D"],
        initial_carry: Any = None,
        return_carry: bool = False,
        seq_lengths: Int[Array, "*B"] | None = None,
        reverse: bool = False,
    ) -> Any:
        """Outputs (B, T, C), or (B, C) with ``last_only``; with ``return_carry``, (carry, outputs).

        Args:
          inputs: (B, T, D); nn.scan runs more batch dimensions too, where all are of length T.
          initial_carry: the cell's carry before the first step; default: its own initial one.
          return_carry: also return the carry after the last step.
          seq_lengths: valid steps L of each sequence, 0 to T (under jit, what is outside counts as
            the nearer of the two); default: T. In the padding after them, whatever stands there,
            the state stays h_L: so does the carry, and so do the outputs.
          reverse: run from the last valid step to the first; outputs stay in the inputs' order.
        """
        check_flag("return_carry", return_carry)
        readout = make_readout(self)
        layer = RecurrentLayer(self.cell, self.last_only, self.recurrence, self.recompute)
        carry, outputs = layer(
            inputs,
            readout,
            initial_carry=initial_carry,
            seq_lengths=seq_lengths,
            reverse=reverse,
        )
        return (carry, outputs) if return_carry else outputs
