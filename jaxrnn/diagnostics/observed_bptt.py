"""A VanillaCell over time as ``jaxrnn.bptt`` runs it, with the loss's gradient by every state.

    δ_t = ∂L/∂h_t ⊙ phi'(z_t)          ∂L/∂h_{t-1} = g_{t-1} + W_hhᵀ δ_t

The backward pass goes through all ∂L/∂h_t on its way; here it hands them out, as the gradient of a
zero ε_t that is never added. See jaxrnn/bptt.py for the equations.

Steps are taken in chunks that stay in the processor's cache, as ``bptt.in_chunks`` takes them, and
memory decides the time: of T·B·N numbers there are two arrays, h_t, and g_t, which turns into
∂L/∂h_t in place. Every further one would cost its pages: what XLA needs for a call it allocates
again, and above 32 MiB glibc gets that from the system each time instead of keeping it.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxrnn import bptt
from jaxrnn.recurrent_layer import Weights

# Weights, h_0, x_1 … x_T, h_1 … h_T, valid.
Residuals = tuple[Weights, Array, Array, Array, Array | None]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def observed_recurrence(
    activation: str,
    weights: Weights,
    h_0: Float[Array, "B N"],
    inputs: Float[Array, "T B D"],
    eps: Float[Array, "times B N"],
    valid: Bool[Array, "T B"] | None = None,
) -> Float[Array, "T B N"]:
    """h_1 … h_T, from inputs of one dtype with weights and h_0; the gradient by ε_t is ∂L/∂h_t.

    Args:
      activation: phi.
      weights: of the cell.
      h_0: the state before the first step.
      inputs: x_1 … x_T.
      eps: ε_0 … ε_T, zeros.
      valid: steps that are no padding, in which the state stays; None: all.
    """
    return _forward(activation, weights, h_0, inputs, eps, valid)[0]


def _inputs(weights: Weights, inputs: Array) -> Array:
    products = inputs @ weights.W_xh
    return products + jnp.broadcast_to(weights.b_h, products.shape)


def _slices(arrays: Any, start: Any, length: int) -> Any:
    """A chunk's share of arrays over time."""
    return jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, start, length), arrays)


def _split(T: int, h_0: Array) -> tuple[int, int, int]:
    """How many chunks, their length, and what is left."""
    length = max(1, bptt.chunk_length(T, h_0, recompute=False))
    return T // length, length, T % length


def _forward(
    activation: str,
    weights: Weights,
    h_0: Array,
    inputs: Array,
    eps: Array,
    valid: Array | None,
) -> tuple[Array, Residuals]:
    T = inputs.shape[0]
    count, length, rest = _split(T, h_0)

    def chunk(start: Any, length: int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        h, states = carry
        x, is_valid = _slices((inputs, valid), start, length)
        a = _inputs(weights, x)
        new, _ = bptt.forward(activation, weights.W_hh, weights.bias, a, h, is_valid)
        return new[-1], jax.lax.dynamic_update_slice_in_dim(states, new, start, 0)

    carry = (h_0, jnp.zeros((T, *h_0.shape), h_0.dtype))
    carry = jax.lax.fori_loop(0, count, lambda i, carry: chunk(i * length, length, carry), carry)
    if rest:
        carry = chunk(T - rest, rest, carry)
    return carry[1], (weights, h_0, inputs, carry[1], valid)


def _backward(
    activation: str, residuals: Residuals, g: Array
) -> tuple[Weights, Array, Array, Array, None]:
    weights, h_0, inputs, states, valid = residuals
    T = inputs.shape[0]
    count, length, rest = _split(T, h_0)

    def chunk(carry: tuple[Weights, Array], start: Any, length: int) -> tuple[Any, Array]:
        total, by_state = carry
        before = jnp.where(start > 0, states[jnp.maximum(start - 1, 0)], h_0)
        h, x, is_valid = _slices((states, inputs, valid), start, length)
        arrived = jax.lax.dynamic_slice_in_dim(by_state, start, length + 1)
        d_W_hh, d_bias, deltas, from_later, d_states = bptt.backward(
            activation, (weights.W_hh, before, h, is_valid), arrived[1:]
        )
        d_weights, d_x = jax.vjp(_inputs, weights, x)[1](deltas)
        total = jax.tree.map(jnp.add, total, d_weights._replace(W_hh=d_W_hh, bias=d_bias))
        # The last one's is complete already: the chunk after this one added what it sent back.
        # Written in one piece; XLA would copy all T for two.
        new = jnp.concatenate([(arrived[0] + from_later)[None], d_states[:-1]])
        return (total, jax.lax.dynamic_update_slice_in_dim(by_state, new, start, 0)), d_x

    by_state = jnp.pad(g, [(1, 0), (0, 0), (0, 0)])  # nothing from outside at h_0
    carry = (jax.tree.map(jnp.zeros_like, weights), by_state)
    last: tuple[Array, ...] = ()
    if rest:
        carry, d_x = chunk(carry, T - rest, rest)
        last = (d_x,)
    (d_weights, by_state), d_x = jax.lax.scan(
        lambda carry, i: chunk(carry, i * length, length), carry, jnp.arange(count), reverse=True
    )
    d_x = d_x.reshape(T - rest, *inputs.shape[1:])
    d_h_0 = by_state[0]
    if valid is not None:  # no ε is added where the state stays
        by_state = by_state.at[1:].set(jnp.where(valid[..., None], by_state[1:], 0))
    return d_weights, d_h_0, jnp.concatenate([d_x, *last]), by_state, None


observed_recurrence.defvjp(_forward, _backward)
