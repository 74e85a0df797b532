"""Sequences of different lengths in one batch, as the steps of a recurrence.

A sequence of L ≤ T steps is followed by T − L steps of padding, in which the state stays as it is:

    h_t = F(h_{t-1}, x_t) for t ≤ L          h_t = h_{t-1} for t > L

So h_T is the state after the last valid step, and h_0 where L = 0. What stands in the padding does
not matter, NaN and infinity included, to outputs or to gradients: it is replaced by zeros, because
even a gradient of zero times NaN is NaN.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax.linen.recurrent import flip_sequences
from jaxtyping import Array, Bool, Int

from jaxrnn.array_checks import as_array, outside
from jaxrnn.checks import described


class Steps(NamedTuple):
    """The steps of a batch in the order in which they run, time first.

    Attributes:
      inputs: x_t, (T, *B, ...).
      valid: which are no padding, (T, *B); None: all.
      lengths: L of each sequence, (*B); None: T. Where ``valid`` is None, the state does not stay.
      is_reversed: whether the last valid step runs first.
    """

    inputs: Array
    valid: Bool[Array, "T ..."] | None
    lengths: Int[Array, "*B"] | None
    is_reversed: bool

    def in_order_of_inputs(self, outputs: Array) -> Array:
        """Outputs (T, *B, ...) of these steps, in the order in which the inputs came."""
        return _flip(outputs, self.lengths) if self.is_reversed else outputs

    def last(self, states: Array) -> Array:
        """Of h_0 … h_T, (T+1, *B, ...), the state after the last valid step."""
        if self.valid is not None or self.lengths is None:
            return states[-1]
        return _at(self.lengths, states)

    def last_output(self, outputs: Array) -> Array:
        """Of y_1 … y_T, (T, *B, ...), that of the last valid step; y_1 where there is none."""
        if self.lengths is None:
            return outputs[-1]
        return _at(jnp.maximum(self.lengths - 1, 0), outputs)


def steps_of(
    inputs: Array, time_axis: int, seq_lengths: Any, reverse: bool, stays: bool = True
) -> Steps:
    """The steps of inputs (*B, T, ...) or (T, *B, ...); raises what ``valid_lengths`` raises.

    Args:
      inputs: x_1 … x_T.
      time_axis: which of their axes is T.
      seq_lengths: L of each sequence; None: T.
      reverse: whether to run the last valid step first.
      stays: whether the state stays in the padding; else padding is run like any other step.
    """
    x = jnp.moveaxis(inputs, time_axis, 0)
    if seq_lengths is None:
        return Steps(jnp.flip(x, 0) if reverse else x, None, None, reverse)
    batch = x.shape[1 : time_axis + 1] if time_axis else x.shape[1 : 1 + jnp.ndim(seq_lengths)]
    lengths = valid_lengths(seq_lengths, batch, x.shape[0])
    valid = None
    if stays:
        valid = jnp.arange(x.shape[0]).reshape(-1, *(1,) * lengths.ndim) < lengths[None]
        x = select(valid, x, jnp.zeros_like(x))
    return Steps(_flip(x, lengths) if reverse else x, valid, lengths, reverse)


def valid_lengths(seq_lengths: Any, batch: tuple[int, ...], T: int) -> Int[Array, "*B"]:
    """Lengths from 0 to T, one for each sequence.

    Under jit their values are not known: one below 0 counts as 0 there, and one above T as T.

    Raises:
      ValueError: another shape or dtype; outside of jit, values below 0 or above T.
    """
    words = f"integers of shape {batch}, one for each sequence"
    lengths = as_array("seq_lengths", seq_lengths, (jnp.integer,), words)
    if lengths.shape != batch:
        raise ValueError(f"seq_lengths must be {words}, got {described(seq_lengths)}")
    wrong = outside(lengths, T)
    if wrong.size:
        raise ValueError(f"seq_lengths must be from 0 to T = {T}, got {wrong.tolist()}")
    return jnp.clip(lengths, 0, T)


def select(valid: Bool[Array, "*B"], new: Any, old: Any) -> Any:
    """Arrays (*B, ...) of ``new`` where valid, else of ``old``; without batch axes, ``new``."""

    def choose(new: Array, old: Array) -> Array:
        if new.shape[: valid.ndim] != valid.shape:
            return new
        return jnp.where(_beside(valid, new), new, old)

    return jax.tree.map(choose, new, old)


def from_valid(valid: Bool[Array, "*B"] | None, carry: Any) -> Any:
    """The carry where valid, else zeros, from which a step of any cell is finite."""
    if valid is None:
        return carry

    def zero(h: Array) -> Array:
        has_gradient = jnp.issubdtype(h.dtype, jnp.floating)
        return select(valid, h, jnp.zeros_like(h)) if has_gradient else h

    return jax.tree.map(zero, carry)


def _at(index: Int[Array, "*B"], x: Array) -> Array:
    """Of (T, *B, ...), one step of each sequence, (*B, ...)."""
    return jnp.take_along_axis(x, _beside(index[None], x), axis=0)[0]


def _beside(x: Array, target: Array) -> Array:
    """x with trailing axes of one, up to as many as the target has."""
    return x.reshape(*x.shape, *(1,) * (target.ndim - x.ndim))


def _flip(x: Array, lengths: Array | None) -> Array:
    if lengths is None:
        return jnp.flip(x, 0)
    return flip_sequences(x, lengths, num_batch_dims=lengths.ndim, time_major=True)
