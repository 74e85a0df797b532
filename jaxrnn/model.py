"""A recurrent cell over a sequence, then a readout y_t = W_hy h_t + b_y."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.recurrent import flip_sequences
from jax.nn.initializers import Initializer
from jaxtyping import Array, Float, Int

from jaxrnn import bptt
from jaxrnn.cells import VanillaCell


class RecurrentModel(nn.Module):
    """How a model of one cell, and one of several, runs a cell over time."""

    def _run(
        self,
        cell: nn.RNNCellBase,
        readout: Callable[[Array], Array],
        inputs: Array,
        initial_carry: Any,
        seq_lengths: Array | None,
        reverse: bool = False,
        last_only: bool = False,
        recurrence: Literal["scan", "fused"] | None = None,
        recompute: bool = False,
    ) -> tuple[Any, Array]:
        """The carry after the last step, and the readout of all states or of the last alone."""
        # The scan is what creates the parameters.
        is_fused = (
            self._wants_fused(cell, inputs, recurrence, recompute) and not self.is_initializing()
        )
        if not is_fused:
            return self._run_scan(
                cell, readout, inputs, initial_carry, seq_lengths, reverse, last_only
            )
        return self._run_fused(
            cell, readout, inputs, initial_carry, seq_lengths, reverse, last_only, recompute
        )

    def _wants_fused(
        self, cell: nn.RNNCellBase, inputs: Array, recurrence: str | None, recompute: bool
    ) -> bool:
        if recurrence not in ("scan", "fused", None):
            raise ValueError(f"recurrence must be 'scan', 'fused' or None, got {recurrence!r}")
        # A subclass may compute something else.
        can_fuse = type(cell) is VanillaCell and inputs.ndim == 3 and inputs.shape[1] > 0
        if recurrence == "fused" and not can_fuse:
            raise ValueError(
                "the fused recurrence runs a VanillaCell on inputs (B, T, D), "
                f"got {inputs.shape} and {cell}"
            )
        is_fused = can_fuse and recurrence != "scan"
        if recompute and not is_fused:
            raise ValueError("recompute needs the fused recurrence of a VanillaCell")
        return is_fused

    def _run_scan(
        self,
        cell: nn.RNNCellBase,
        readout: Callable[[Array], Array],
        inputs: Array,
        initial_carry: Any,
        seq_lengths: Array | None,
        reverse: bool,
        last_only: bool,
    ) -> tuple[Any, Array]:
        carry, hidden = nn.RNN(cell, return_carry=True)(
            inputs,
            initial_carry=initial_carry,
            seq_lengths=seq_lengths,
            reverse=reverse,
            keep_order=True,
        )
        if not last_only:
            return carry, readout(hidden)
        if reverse:  # whose last step is the first in the inputs' order
            return carry, readout(hidden[..., 0, :])
        index = _last_index(inputs, seq_lengths)
        return carry, readout(bptt.state_at(index, hidden, time_axis=hidden.ndim - 2))

    def _run_fused(
        self,
        cell: Any,
        readout: Callable[[Array], Array],
        inputs: Array,
        initial_carry: Array | None,
        seq_lengths: Array | None,
        reverse: bool,
        last_only: bool,
        recompute: bool,
    ) -> tuple[Float[Array, "B N"], Array]:
        """Time-major inside, so that a step reads and writes contiguous memory."""
        params = cell.variables["params"]
        if initial_carry is None:
            initial_carry = cell.initialize_carry(jax.random.key(0), inputs[:, 0].shape)
        last_index = _last_index(inputs, seq_lengths)
        inputs, W_xh, b_h, W_hh = nn.dtypes.promote_dtype(
            inputs.swapaxes(0, 1),
            params["i"]["kernel"],
            params["i"]["bias"],
            params["h"]["kernel"],
            dtype=cell.dtype,
        )
        bias = params.get("modrelu_bias")
        bias = None if bias is None else bias.astype(W_hh.dtype)

        def flip(x: Array) -> Array:
            return flip_sequences(x, seq_lengths, num_batch_dims=1, time_major=True)

        def hidden_states(h: Array, x: Array) -> Array:
            return bptt.recurrence(W_hh, _affine(x, W_xh, b_h), h, cell.activation, bias)

        x = flip(inputs) if reverse else inputs
        h_0 = initial_carry.astype(W_hh.dtype)
        length = bptt.chunk_length(x.shape[0], h_0, recompute)
        if length < x.shape[0]:
            # Modules do not enter JAX's own loops; a function of their variables does.
            emit: Any = None if last_only else readout
            if isinstance(emit, nn.Module):
                emit = partial(emit.clone(parent=None).apply, emit.variables)
            last, outputs = bptt.in_chunks(
                hidden_states, emit, h_0, x, last_index, length, recompute
            )
        else:
            hidden = hidden_states(h_0, x)
            last = bptt.state_at(last_index, hidden, time_axis=0)
            outputs = None if last_only else readout(hidden)
        if last_only:
            return last, readout(last)
        # The C outputs are turned to (B, T), not the N units.
        return last, (flip(outputs) if reverse else outputs).swapaxes(0, 1)


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


class SequenceModel(RecurrentModel):
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
      recompute: with the fused recurrence, keep the states of every √T-th step only, and compute
        those between them again on the way back: memory √T·N instead of T·N for one more forward
        pass. (Inputs and outputs, of D and C features, are held as ever.)
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
        inputs: Float[Array, "*B T D"],
        initial_carry: Any = None,
        return_carry: bool = False,
        seq_lengths: Int[Array, " B"] | None = None,
        reverse: bool = False,
    ) -> Any:
        """Outputs (B, T, C), or (B, C) with ``last_only``; with ``return_carry``, (carry, outputs).

        Args:
          inputs: (B, T, D); nn.scan runs more batch dimensions too, where all are of length T.
          initial_carry: the cell's carry before the first step; default: its own initial one.
          return_carry: also return the carry after the last step.
          seq_lengths: valid steps of each sequence, at least 1; the rest is padding, whose outputs
            mean nothing. Default: T.
          reverse: run from the last valid step to the first; outputs stay in the inputs' order.
        """
        readout = make_readout(self)
        carry, outputs = self._run(
            self.cell,
            readout,
            inputs,
            initial_carry,
            seq_lengths,
            reverse,
            self.last_only,
            self.recurrence,
            self.recompute,
        )
        return (carry, outputs) if return_carry else outputs


def _affine(
    x: Float[Array, "T B D"], kernel: Float[Array, "D N"], bias: Float[Array, " N"]
) -> Float[Array, "T B N"]:
    """x @ kernel + bias, on a CPU as one product, [x, 1] @ [kernel; bias].

    So is its gradient, which spares two passes over T·B·N numbers. A GPU adds the bias on the way,
    and would round it to TF32 as a factor.
    """
    if jax.default_backend() != "cpu":
        return x @ kernel + bias
    ones = jnp.ones_like(x[..., :1])
    return jnp.concatenate([x, ones], axis=-1) @ jnp.concatenate([kernel, bias[None]])


def _last_index(inputs: Array, seq_lengths: Array | None) -> Array | int:
    """The last valid step in the order in which steps are run: one for all, or one a sequence."""
    return inputs.shape[-2] - 1 if seq_lengths is None else seq_lengths - 1
