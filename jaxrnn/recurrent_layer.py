"""A cell over time: the one module that runs a recurrence, for models and for the diagnostics.

    h_t = F(h_{t-1}, x_t), t = 1 … T          y_t = readout(h_t)

By a scan, for any cell; or fused, by ``jaxrnn.bptt``, for a
``VanillaCell``. The readout is part of it because the fused recurrence reads out a chunk of steps
while their states are in the processor's cache.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.errors import ScopeParamShapeError
from jaxtyping import Array, Float, Int

from jaxrnn import bptt
from jaxrnn.array_checks import as_float_array, as_real_array
from jaxrnn.cells import VanillaCell
from jaxrnn.checks import check_flag, described
from jaxrnn.sequences import Steps, from_valid, select, steps_of
from jaxrnn.wrappers import innermost, is_state, state_of


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
        asked for a cell that it cannot run; an initial carry or lengths of another batch, lengths
        below 0 or above T.
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
        seq_lengths: Int[Array, "*B"] | None = None,
        reverse: bool = False,
    ) -> tuple[Any, Array]:
        """The carry after the last step, and the readout of all states or of the last alone.

        Args:
          inputs: (B, T, D), or with more batch dimensions.
          readout: (..., N) → (..., C).
          initial_carry: the cell's carry before the first step; default: its own initial one.
          seq_lengths: valid steps of each sequence, from 0 to T; default: T. In the steps after
            them the carry stays as it is, see jaxrnn/sequences.py.
          reverse: run from the last valid step to the first; outputs stay in the inputs' order.
        """
        steps, carry = self.prepare(inputs, initial_carry, seq_lengths, reverse)
        # The scan is what creates the parameters.
        if self.wants_fused(steps.inputs) and not self.is_initializing():
            return self._run_fused(steps, carry, readout)
        try:
            carry, hidden, last_hidden = scan(self.cell, steps, carry)
        except ScopeParamShapeError as error:
            raise misfit(steps.inputs, error) from error
        return carry, self.read(steps, hidden, last_hidden, readout)

    @nn.nowrap
    def prepare(
        self, inputs: Array, initial_carry: Any, seq_lengths: Any, reverse: bool
    ) -> tuple[Steps, Any]:
        """The steps to run and the carry before the first; ValueError where one does not fit."""
        check_flag("reverse", reverse)
        inputs = as_real_array("inputs", inputs)
        time_axis = inputs.ndim - self.cell.num_feature_axes - 1
        if time_axis < 0 or inputs.shape[-1] == 0:
            raise ValueError(f"inputs must have axes (..., T, D), got shape {inputs.shape}")
        steps = steps_of(inputs, time_axis, seq_lengths, reverse)
        x = steps.inputs
        if initial_carry is None:
            initial_carry = self.cell.initialize_carry(jax.random.key(0), x.shape[1:])
        else:
            initial_carry = checked_carry("initial_carry", self.cell, initial_carry, x.shape[1:])
        return steps, _computed_in(self.cell, initial_carry, x.dtype)

    @nn.nowrap
    def read(
        self,
        steps: Steps,
        hidden: Array,
        last_hidden: Array,
        readout: Callable[[Array], Array],
    ) -> Array:
        """What is read out of states (T, *B, N): outputs (*B, T, C), or (*B, C) of the last."""
        if self.last_only:
            return readout(last_hidden)
        # The C outputs are turned to (B, T), not the N units.
        outputs = steps.in_order_of_inputs(readout(hidden))
        return jnp.moveaxis(outputs, 0, hidden.ndim - self.cell.num_feature_axes - 1)

    @nn.nowrap
    def wants_fused(self, inputs: Array) -> bool:
        """Whether inputs (T, *B, D) go by ``jaxrnn.bptt``; raises what the class raises."""
        given: Any = self.recurrence
        if given is not None and not (isinstance(given, str) and given in ("scan", "fused")):
            raise ValueError(f"recurrence must be 'scan', 'fused' or None, got {described(given)}")
        # A subclass may compute something else; of an exported program T may not be known.
        is_vanilla = type(self.cell) is VanillaCell and inputs.ndim == 3
        can_fuse = is_vanilla and isinstance(inputs.shape[0], int) and inputs.shape[0] > 0
        if self.recurrence == "fused" and not can_fuse:
            raise ValueError(
                "the fused recurrence runs a VanillaCell on inputs (B, T, D), "
                f"got {(*inputs.shape[1:-1], inputs.shape[0], inputs.shape[-1])} and {self.cell}"
            )
        is_fused = can_fuse and self.recurrence != "scan"
        if self.recompute and not is_fused:
            raise ValueError("recompute needs the fused recurrence of a VanillaCell")
        return is_fused

    def _run_fused(
        self, steps: Steps, carry: Array, readout: Callable[[Array], Array]
    ) -> tuple[Float[Array, "B N"], Array]:
        """A VanillaCell, time-major inside: a step reads and writes contiguous memory."""
        cell: Any = self.cell
        x, weights = weights_for(cell, steps.inputs)

        def hidden_states(h: Array, at: tuple[Array, Array | None]) -> Array:
            x, valid = at
            a = _affine(x, weights.W_xh, weights.b_h)
            return bptt.recurrence(weights.W_hh, a, h, cell.activation, weights.bias, valid)

        h_0 = carry.astype(weights.W_hh.dtype)
        length = bptt.chunk_length(x.shape[0], h_0, self.recompute)
        if length == x.shape[0]:
            hidden = hidden_states(h_0, (x, steps.valid))
            return hidden[-1], self.read(steps, hidden, hidden[-1], readout)
        # Modules do not enter JAX's own loops; a function of their variables does.
        emit: Any = None if self.last_only else readout
        if isinstance(emit, nn.Module):
            emit = partial(emit.clone(parent=None).apply, emit.variables)
        last, outputs = bptt.in_chunks(
            hidden_states, emit, h_0, (x, steps.valid), length=length, recompute=self.recompute
        )
        if self.last_only:
            return last, readout(last)
        return last, steps.in_order_of_inputs(outputs).swapaxes(0, 1)


def scan(cell: nn.RNNCellBase, steps: Steps, carry: Any) -> tuple[Any, Array, Array]:
    """Any cell over time, as ``nn.RNN`` has it, but for padding, in which the carry stays.

    Returns:
      The carry after the last step, what was emitted (T, *B, N), and the last of it (*B, N).
    """
    emits_state = False

    def step(cell: nn.RNNCellBase, carry: Any, at: tuple[Array, Array | None]) -> Any:
        nonlocal emits_state
        x, valid = at
        new, y = cell(from_valid(valid, carry), x)
        emits_state = is_state(cell, y, state_of(new))
        if valid is None:
            return new, y
        new = select(valid, new, carry)
        return new, state_of(new) if emits_state else y

    over_time: Any = nn.scan(step, variable_broadcast="params", split_rngs={"params": False})
    carry, hidden = over_time(cell, carry, (steps.inputs, steps.valid))
    return carry, hidden, state_of(carry) if emits_state else steps.last_output(hidden)


def misfit(inputs: Array, error: Exception | str) -> ValueError:
    """That inputs have not the features that a cell's parameters are for."""
    return ValueError(
        f"inputs with D = {inputs.shape[-1]} features do not fit the cell's parameters: {error}"
    )


def checked_carry(name: str, cell: nn.RNNCellBase, carry: Any, shape: tuple[int, ...]) -> Any:
    """A carry of arrays, of the structure and the shapes that a cell begins with by itself."""
    expected: Any = jax.eval_shape(lambda: cell.initialize_carry(jax.random.key(0), shape))
    given_structure: Any = jax.tree.structure(carry)
    structure: Any = jax.tree.structure(expected)
    if given_structure != structure:
        raise ValueError(f"{name} must have the structure {structure}, got {given_structure}")

    batch = shape[: len(shape) - cell.num_feature_axes]

    def checked(leaf: Any, wanted: Any) -> Array:
        if jnp.issubdtype(wanted.dtype, jnp.floating):
            leaf = as_float_array(name, leaf)
        if jnp.shape(leaf) != wanted.shape:
            raise ValueError(
                f"{name} must have the batch axes {batch} of the inputs, and the shape "
                f"{wanted.shape}, got an array of shape {jnp.shape(leaf)}"
            )
        return leaf

    return jax.tree.map(checked, carry, expected)


def _computed_in(cell: nn.RNNCellBase, carry: Any, dtype: Any) -> Any:
    """The carry in the dtype that the cell's step gives it, which a scan needs at its start."""
    kind: Any = innermost(cell)
    if getattr(kind, "dtype", None) is not None:
        return carry
    dtypes = (dtype, getattr(kind, "param_dtype", dtype))

    def promoted(h: Array) -> Array:
        is_real = jnp.issubdtype(h.dtype, jnp.floating)
        return h.astype(jnp.result_type(h, *dtypes)) if is_real else h

    return jax.tree.map(promoted, carry)


class Weights(NamedTuple):
    """Of a VanillaCell: the kernels W_xhᵀ and W_hhᵀ, b_h, and b of its activation or None."""

    W_xh: Any
    b_h: Any
    W_hh: Any
    bias: Any


def weights_for(cell: Any, inputs: Array) -> tuple[Array, Weights]:
    """Inputs and the weights of a bound VanillaCell, in the dtype in which the cell computes."""
    params = nn.meta.unbox(cell.variables["params"])
    if inputs.shape[-1] != len(params["i"]["kernel"]):
        raise misfit(inputs, f"i/kernel has the shape {params['i']['kernel'].shape}")
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
        return x @ kernel + bias[None, None]
    ones = jnp.ones_like(x[..., :1])
    return jnp.concatenate([x, ones], axis=-1) @ jnp.concatenate([kernel, bias[None]])
