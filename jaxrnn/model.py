"""A recurrent cell over a sequence, then a readout y_t = W_hy h_t + b_y."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.recurrent import flip_sequences
from jax.nn.initializers import Initializer
from jaxtyping import Array, Float, Int

from jaxrnn import bptt
from jaxrnn.cells import VanillaCell


class SequenceModel(nn.Module):
    """Any Flax recurrent cell over time, then the readout.

        model = SequenceModel(VanillaCell(128), num_outputs=9)
        variables = model.init(key, inputs)  # inputs (B, T, D)
        outputs = model.apply(variables, inputs)  # (B, T, C)

    Parameters: ``cell/...`` and ``readout/{kernel,bias}``, the same for either ``recurrence``.

    Attributes:
      cell: the recurrent cell, such as ``VanillaCell(N)`` or ``nn.GRUCell(N)``.
      num_outputs: C.
      last_only: read out the last step alone, giving (B, C) instead of (B, T, C).
      recurrence: "scan" runs any cell by flax's ``nn.RNN``; "fused" runs a ``VanillaCell`` by
        ``jaxrnn.bptt``, whose gradient is derived by hand: faster, but without forward mode. None
        is fused where the cell allows.
      recompute: with the fused recurrence, trade a second forward pass for memory √T instead of T.
      kernel_init, bias_init: for W_hy and b_y.
      dtype, param_dtype: of the readout's computation and of its parameters.

    Raises:
      ValueError: an unknown recurrence, or the fused one (or ``recompute``, which is part of it)
        asked for a cell that it cannot run.
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

    @nn.compact
    def __call__(
        self,
        inputs: Float[Array, "B T D"],
        initial_carry: Any = None,
        return_carry: bool = False,
        seq_lengths: Int[Array, " B"] | None = None,
        reverse: bool = False,
    ) -> Any:
        """Outputs (B, T, C), or (B, C) with ``last_only``; with ``return_carry``, (carry, outputs).

        Args:
          inputs: (B, T, D).
          initial_carry: the cell's carry before the first step; default: its own initial one.
          return_carry: also return the carry after the last step.
          seq_lengths: valid steps of each sequence, at least 1; the rest is padding, whose outputs
            mean nothing. Default: T.
          reverse: run from the last valid step to the first; outputs stay in the inputs' order.
        """
        # The scan is what creates the parameters.
        is_fused = self._wants_fused() and not self.is_initializing()
        run = self._run_fused if is_fused else self._run_scan
        carry, hidden = run(inputs, initial_carry, seq_lengths, reverse)
        readout = nn.Dense(
            self.num_outputs,
            kernel_init=self.kernel_init,
            bias_init=self.bias_init,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            name="readout",
        )
        time_axis = 0 if is_fused else 1
        if self.last_only:
            outputs = readout(_last_step(hidden, time_axis, seq_lengths, reverse))
        else:
            # The C outputs are turned to (B, T), not the N units.
            outputs = jnp.moveaxis(readout(hidden), time_axis, 1)
        return (carry, outputs) if return_carry else outputs

    def _wants_fused(self) -> bool:
        if self.recurrence not in ("scan", "fused", None):
            raise ValueError(f"recurrence must be 'scan', 'fused' or None, got {self.recurrence!r}")
        can_fuse = type(self.cell) is VanillaCell  # a subclass may compute something else
        if self.recurrence == "fused" and not can_fuse:
            raise ValueError(f"the fused recurrence runs a VanillaCell, got {self.cell}")
        is_fused = can_fuse and self.recurrence != "scan"
        if self.recompute and not is_fused:
            raise ValueError("recompute needs the fused recurrence of a VanillaCell")
        return is_fused

    def _run_scan(
        self, inputs: Array, initial_carry: Any, seq_lengths: Array | None, reverse: bool
    ) -> tuple[Any, Float[Array, "B T N"]]:
        return nn.RNN(self.cell, return_carry=True)(
            inputs,
            initial_carry=initial_carry,
            seq_lengths=seq_lengths,
            reverse=reverse,
            keep_order=True,
        )

    def _run_fused(
        self, inputs: Array, initial_carry: Any, seq_lengths: Array | None, reverse: bool
    ) -> tuple[Array, Float[Array, "T B N"]]:
        cell: Any = self.cell
        params = cell.variables["params"]

        def flip(x: Array) -> Array:
            return flip_sequences(x, seq_lengths, num_batch_dims=1, time_major=True)

        if initial_carry is None:
            initial_carry = cell.initialize_carry(jax.random.key(0), inputs[:, 0].shape)
        inputs, W_xh, b_h, W_hh = nn.dtypes.promote_dtype(
            inputs.swapaxes(0, 1),
            params["i"]["kernel"],
            params["i"]["bias"],
            params["h"]["kernel"],
            dtype=cell.dtype,
        )
        hidden = bptt.recurrence(
            W_hh,
            _affine(flip(inputs) if reverse else inputs, W_xh, b_h),
            initial_carry.astype(W_hh.dtype),
            cell.activation,
            params.get("modrelu_bias"),
            self.recompute,
        )
        carry = _last_step(hidden, 0, seq_lengths, reverse=False)
        return carry, flip(hidden) if reverse else hidden


def _affine(
    x: Float[Array, "T B D"], kernel: Float[Array, "D N"], bias: Float[Array, " N"]
) -> Float[Array, "T B N"]:
    """x @ kernel + bias as one product, [x, 1] @ [kernel; bias].

    So is its gradient, which spares two passes over T·B·N numbers.
    """
    ones = jnp.ones((*x.shape[:-1], 1), x.dtype)
    return jnp.concatenate([x, ones], axis=-1) @ jnp.concatenate([kernel, bias[None]])


def _last_step(
    hidden: Array, time_axis: int, seq_lengths: Array | None, reverse: bool
) -> Float[Array, "B N"]:
    """The state after the last valid step, which reverse order puts first."""
    if reverse or seq_lengths is None:
        return jax.lax.index_in_dim(hidden, 0 if reverse else -1, time_axis, keepdims=False)
    last = jnp.expand_dims(seq_lengths - 1, (time_axis, 2))
    return jnp.take_along_axis(hidden, last, axis=time_axis).squeeze(time_axis)
