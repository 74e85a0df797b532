"""Back-propagation through time by hand: the recurrence as one function with its own gradient.

Forward, for t = 1 … T, with a_t = W_xh x_t + b_h computed for all t at once beforehand:

    z_t = a_t + W_hh h_{t-1}          h_t = phi(z_t)

Backward, with g_t = ∂L/∂h_t as it arrives from the readout, and δ_t = ∂L/∂z_t:

    δ_T = g_T ⊙ phi'(z_T)             δ_t = (g_t + W_hhᵀ δ_{t+1}) ⊙ phi'(z_t)
    ∂L/∂a_t = δ_t                     ∂L/∂h_0 = W_hhᵀ δ_1
    ∂L/∂W_hh = Σ_t δ_t h_{t-1}ᵀ       ∂L/∂b = Σ_t δ_t ⊙ sign(h_t)     (b the bias of modReLU)

(Werbos 1990, Backpropagation through time: what it does and how to do it.) Only δ has to be
computed step by step. ∂L/∂W_hh is a sum of outer products over time and batch, hence one product of
two matrices with T·B rows; automatic differentiation of a scan adds it up one time step at a time,
reading and writing an N×N matrix at each, which takes longer than all the rest.

Arrays are time-major, (T, B, N), so that a step reads and writes contiguous memory; the kernel is
W_hhᵀ (N, N), as Flax stores it, and states are rows: W_hh h is ``h @ kernel``.
"""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxrnn.cells import activation_function

# phi'(z), read off h = phi(z), so that z need not be kept. For modReLU it is sign(z)² where
# |z| + b > 0, which is where h ≠ 0; there sign(h) = sign(z) as well.
DERIVATIVES: dict[str, Callable[[Array], Array]] = {
    "tanh": lambda h: 1 - h * h,
    "relu": lambda h: (h > 0).astype(h.dtype),
    "leaky_relu": lambda h: jnp.where(h > 0, 1, 0.01).astype(h.dtype),
    "modrelu": lambda h: (h != 0).astype(h.dtype),
    "identity": jnp.ones_like,
}


def recurrence(
    kernel: Float[Array, "N N"],
    inputs: Float[Array, "T *batch N"],
    carry: Float[Array, "*batch N"],
    activation: str = "tanh",
    bias: Float[Array, " N"] | None = None,
    recompute: bool = False,
) -> Float[Array, "T *batch N"]:
    """All states h_1 … h_T of h_t = phi(a_t + W_hh h_{t-1}), differentiable in every array.

    Reverse mode of any order; forward mode (jvp) needs the scan of ``SequenceModel``.

    Args:
      kernel: W_hhᵀ.
      inputs: a_t, the input projections with b_h added.
      carry: h_0.
      activation: phi, a name in ``jaxrnn.cells.ACTIVATIONS``.
      bias: b of modReLU; None for the others.
      recompute: keep the states of every √T-th step only, and compute those between them again on
        the way back: memory √T instead of T, for one more forward pass.

    Raises:
      ValueError: an unknown activation.
      TypeError: forward-mode differentiation.
    """
    T = inputs.shape[0]
    run = partial(_with_hint, activation, kernel, bias)
    if not recompute:
        return run(inputs, carry)
    length = max(1, math.isqrt(T))
    whole = T - T % length

    @jax.checkpoint
    def chunk(h: Array, a: Array) -> tuple[Array, Array]:
        states = run(a, h)
        return states[-1], states

    chunks = inputs[:whole].reshape(-1, length, *inputs.shape[1:])
    last, states = jax.lax.scan(chunk, carry, chunks)
    states = states.reshape(whole, *inputs.shape[1:])
    if whole == T:
        return states
    return jnp.concatenate([states, chunk(last, inputs[whole:])[1]])


def _with_hint(activation: str, *arrays: Array | None) -> Array:
    try:
        return _recurrence(activation, *arrays)
    except TypeError as error:
        if "forward-mode" not in str(error):
            raise
        raise TypeError(
            "the fused recurrence has no forward-mode derivative (jvp, jacfwd); "
            'SequenceModel(..., recurrence="scan") has'
        ) from error


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _recurrence(
    activation: str, kernel: Array, bias: Array | None, inputs: Array, carry: Array
) -> Array:
    return _forward(activation, kernel, bias, inputs, carry)[0]


def _product(x: Array, y: Array) -> Array:
    # bfloat16 operands are multiplied as they are and summed in float32.
    return jnp.matmul(x, y, preferred_element_type=jnp.promote_types(x.dtype, jnp.float32))


def _forward(
    activation: str, kernel: Array, bias: Array | None, inputs: Array, carry: Array
) -> tuple[Array, tuple[Array, Array, Array]]:
    """h_t = phi(a_t + W_hh h_{t-1}); h_{t-1} is written out too, for ∂L/∂W_hh to find it whole."""
    phi = activation_function(activation)
    extra = () if bias is None else (bias,)

    def step(h: Array, a: Array) -> tuple[Array, tuple[Array, Array]]:
        new = phi(a + _product(h, kernel), *extra).astype(h.dtype)
        return new, (new, h)

    _, (states, previous) = jax.lax.scan(step, carry, inputs)
    return states, (kernel, states, previous)


def _backward(
    activation: str, residuals: tuple[Array, Array, Array], g: Array
) -> tuple[Array, Array | None, Array, Array]:
    """δ from T down to 1, then everything that is a sum over them."""
    kernel, states, previous = residuals
    N = kernel.shape[0]
    derivative = DERIVATIVES[activation]
    W_hh = kernel.T

    def step(from_later: Array, at_t: tuple[Array, Array]) -> tuple[Array, Array]:
        g_t, h_t = at_t
        delta = ((g_t + from_later) * derivative(h_t)).astype(h_t.dtype)
        return _product(delta, W_hh).astype(h_t.dtype), delta

    d_carry, deltas = jax.lax.scan(step, jnp.zeros_like(states[0]), (g, states), reverse=True)
    d_kernel = _product(previous.reshape(-1, N).T, deltas.reshape(-1, N)).astype(kernel.dtype)
    d_bias = None
    if activation == "modrelu":
        d_bias = jnp.sum((deltas * jnp.sign(states)).reshape(-1, N), axis=0).astype(kernel.dtype)
    return d_kernel, d_bias, deltas, d_carry


_recurrence.defvjp(_forward, _backward)
