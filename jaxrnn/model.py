"""A recurrent cell run over a sequence by ``nn.scan``, then a readout y_t = W_hy h_t + b_y."""

from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import Initializer
from jaxtyping import Array, Float


class SequenceModel(nn.Module):
    """Any Flax recurrent cell over time, then the readout.

        model = SequenceModel(VanillaCell(128), num_outputs=9)
        variables = model.init(key, inputs)  # inputs (B, T, D)
        outputs = model.apply(variables, inputs)  # (B, T, C)

    The scan is flax's ``nn.RNN``. Parameters: ``cell/...`` and ``readout/{kernel,bias}``.

    Attributes:
      cell: the recurrent cell, such as ``VanillaCell(N)`` or ``nn.GRUCell(N)``.
      num_outputs: C.
      last_only: read out h_T alone, giving (B, C) instead of (B, T, C).
      kernel_init, bias_init: for W_hy and b_y.
      dtype, param_dtype: of the readout's computation and of its parameters.
    """

    cell: nn.RNNCellBase
    num_outputs: int
    last_only: bool = False
    kernel_init: Initializer = nn.initializers.lecun_normal()
    bias_init: Initializer = nn.initializers.zeros_init()
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, inputs: Float[Array, "B T D"], initial_carry: Any = None, return_carry: bool = False
    ) -> Any:
        """Outputs (B, T, C), or (B, C) with ``last_only``; with ``return_carry``, (carry, outputs).

        Args:
          inputs: (B, T, D).
          initial_carry: the cell's carry before the first step; default: its own initial one.
          return_carry: also return the carry after the last step.
        """
        carry, hidden = nn.RNN(self.cell, return_carry=True)(inputs, initial_carry=initial_carry)
        readout = nn.Dense(
            self.num_outputs,
            kernel_init=self.kernel_init,
            bias_init=self.bias_init,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name="readout",
        )
        outputs = readout(hidden[:, -1] if self.last_only else hidden)
        return (carry, outputs) if return_carry else outputs
