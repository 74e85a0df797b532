"""A cell over time: the one module that runs a recurrence, for models and for the diagnostics.

    h_t = F(h_{t-1}, x_t), t = 1 … T          y_t = readout(h_t)

By flax's ``nn.RNN``, that is a scan, for any cell; or fused, by ``jaxrnn.bptt``, for a
``VanillaCell``. The readout is part of it because the fused recurrence reads out a chunk of steps
while their states are in the processor's cache.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.recurrent import flip_sequences
from jaxtyping import Array, Float, Int

from jaxrnn import bptt
from jaxrnn.cells import VanillaCell


class RecurrentLayer(nn.Module):
    """A cell over a sequence, and what is read out of its states. No parameters but the cell's.

        carry, outputs = RecurrentLayer(cell)(inputs, readout)  # inside a model's __call__

    Attributes:
      cell: any Flax recurrent cell.
      last_only: read out the last step alone.
      recurrence: "scan" or "fused"; None: fused where the cell allows.
      recompute: of the fused recurrence, see ``bptt.in_chunks``.

    Raises:
      ValueError: an unknown recurrence, or the fused one (or ``recompute``, which is part of it)
        asked for a cell that it cannot run.
    """

    cell: nn.RNNCellBase
    last_only: bool = False
    recurrence: Literal["scan", "fused"] | None = None
    recompute: bool = False

    @nn.compact
    def __call__(
        self,
        inputs: Float[Array, "*B T D"],
        readout: Callable[[Array], Array],
        *,
        initial_carry: Any = None,
        seq_lengths: Int[Array, " B"] | None = None,
        reverse: bool = False,
    ) -> tuple[Any, Array]:
        """The carry after the last step, and the readout of all states or of the last alone.

        Args:
          inputs: (B, T, D), or with more batch dimensions.
          readout: (..., N) → (..., C).
          initial_carry: the cell's carry before the first step; default: its own initial one.
          seq_lengths: valid steps of each sequence; default: T.
          reverse: run from the last valid step to the first; outputs stay in the inputs' order.
        """
        # The scan is what creates the parameters.
        is_fused = self.wants_fused(inputs) and not self.is_initializing()
        run = self.run_fused if is_fused else self.run_scan
        return run(
            inputs,
            readout,
            initial_carry=initial_carry,
            seq_lengths=seq_lengths,
            reverse=reverse,
        )

    @nn.nowrap
    def wants_fused(self, inputs: Array) -> bool:
        """Whether these inputs (B, T, D) go by ``jaxrnn.bptt``; raises what the class raises."""
        if self.recurrence not in ("scan", "fused", None):
            raise ValueError(f"recurrence must be 'scan', 'fused' or None, got {self.recurrence!r}")
        # A subclass may compute something else.
        can_fuse = type(self.cell) is VanillaCell and inputs.ndim == 3 and inputs.shape[1] > 0
        if self.recurrence == "fused" and not can_fuse:
            raise ValueError(
                "the fused recurrence runs a VanillaCell on inputs (B, T, D), "
                f"got {inputs.shape} and {self.cell}"
            )
        is_fused = can_fuse and self.recurrence != "scan"
        if self.recompute and not is_fused:
            raise ValueError("recompute needs the fused recurrence of a VanillaCell")
        return is_fused

    def run_scan(
        self,
        inputs: Array,
        readout: Callable[[Array], Array],
        *,
        initial_carry: Any,
        seq_lengths: Array | None,
        reverse: bool,
    ) -> tuple[Any, Array]:
        """Any cell, by ``nn.RNN``."""
        carry, hidden = nn.RNN(self.cell, return_carry=True)(
            inputs,
            initial_carry=initial_carry,
            seq_lengths=seq_lengths,
            reverse=reverse,
            keep_order=True,
        )
        if not self.last_only:
            return carry, readout(hidden)
        if reverse:  # whose last step is the first in the inputs' order
            return carry, readout(hidden[..., 0, :])
        index = _last_index(inputs, seq_lengths)
        return carry, readout(bptt.state_at(index, hidden, time_axis=hidden.ndim - 2))

    def run_fused(
        self,
        inputs: Array,
        readout: Callable[[Array], Array],
        *,
        initial_carry: Array | None,
        seq_lengths: Array | None,
        reverse: bool,
    ) -> tuple[Float[Array, "B N"], Array]:
        """A VanillaCell, time-major inside: a step reads and writes contiguous memory."""
        cell: Any = self.cell
        if initial_carry is None:
            initial_carry = cell.initialize_carry(jax.random.key(0), inputs[:, 0].shape)
        last_index = _last_index(inputs, seq_lengths)
        x, weights = weights_for(cell, inputs.swapaxes(0, 1))

        def flip(x: Array) -> Array:
            return flip_sequences(x, seq_lengths, num_batch_dims=1, time_major=True)

        def hidden_states(h: Array, x: Array) -> Array:
            a = _affine(x, weights.W_xh, weights.b_h)
            return bptt.recurrence(weights.W_hh, a, h, cell.activation, weights.bias)

        x = flip(x) if reverse else x
        h_0 = initial_carry.astype(weights.W_hh.dtype)
        length = bptt.chunk_length(x.shape[0], h_0, self.recompute)
        if length < x.shape[0]:
            # Modules do not enter JAX's own loops; a function of their variables does.
            emit: Any = None if self.last_only else readout
            if isinstance(emit, nn.Module):
                emit = partial(emit.clone(parent=None).apply, emit.variables)
            last, outputs = bptt.in_chunks(
                hidden_states,
                emit,
                h_0,
                x,
                last_index=last_index,
                length=length,
                recompute=self.recompute,
            )
        else:
            hidden = hidden_states(h_0, x)
            last = bptt.state_at(last_index, hidden, time_axis=0)
            outputs = None if self.last_only else readout(hidden)
        if self.last_only:
            return last, readout(last)
        # The C outputs are turned to (B, T), not the N units.
        return last, (flip(outputs) if reverse else outputs).swapaxes(0, 1)


class Weights(NamedTuple):
    """Of a VanillaCell: the kernels W_xhᵀ and W_hhᵀ, b_h, and b of its activation or None."""

    W_xh: Any
    b_h: Any
    W_hh: Any
    bias: Any


def weights_for(cell: Any, inputs: Array) -> tuple[Array, Weights]:
    """Inputs and the weights of a bound VanillaCell, in the dtype in which the cell computes."""
    params = cell.variables["params"]
    inputs, W_xh, b_h, W_hh = nn.dtypes.promote_dtype(
        inputs, params["i"]["kernel"], params["i"]["bias"], params["h"]["kernel"], dtype=cell.dtype
    )
    bias = params.get("modrelu_bias")
    return inputs, Weights(W_xh, b_h, W_hh, None if bias is None else bias.astype(W_hh.dtype))


def _affine(
    x: Float[Array, "T B D"], kernel: Float[Array, "D N"], bias: Float[Array, " N"]
) -> Float[Array, "T B N"]:
    """x @ kernel + bias, on a CPU as one product, [x, 1] @ [kernel; bias].

    So is its gradient, which saves two passes over T·B·N numbers. A GPU adds the bias on the way,
    and would round it to TF32 as a factor.
    """
    if jax.default_backend() != "cpu":
        return x @ kernel + bias
    ones = jnp.ones_like(x[..., :1])
    return jnp.concatenate([x, ones], axis=-1) @ jnp.concatenate([kernel, bias[None]])


def _last_index(inputs: Array, seq_lengths: Array | None) -> Array | int:
    """The last valid step in the order in which steps are run: one for all, or one a sequence."""
    return inputs.shape[-2] - 1 if seq_lengths is None else seq_lengths - 1
