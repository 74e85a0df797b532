"""Back-propagation through time by hand: the recurrence as one function with its own gradient.

Forward, for t = 1 … T, with a_t = W_xh x_t + b_h computed for all t at once beforehand:

    z_t = a_t + W_hh h_{t-1}          h_t = phi(z_t)

Backward, with g_t = ∂L/∂h_t as it arrives from the readout, and δ_t = ∂L/∂z_t:

    δ_T = g_T ⊙ phi'(z_T)             δ_t = (g_t + W_hhᵀ δ_{t+1}) ⊙ phi'(z_t)
    ∂L/∂a_t = δ_t                     ∂L/∂h_0 = W_hhᵀ δ_1
    ∂L/∂W_hh = Σ_t δ_t h_{t-1}ᵀ       ∂L/∂b = Σ_t δ_t ⊙ sign(h_t)     (b the bias of modReLU)

(Werbos 1990, Backpropagation through time: what it does and how to do it.) Only δ has to be
computed step by step. ∂L/∂W_hh is a sum of outer products over time and batch, so one product of
two matrices with T·B rows; automatic differentiation of a scan adds it up one time step at a time,
reading and writing an N×N matrix at each, which takes longer than all the rest.

Long sequences are taken in chunks of time steps, ``in_chunks``, so that all this happens in the
processor's cache. The states h_1 … h_T are kept for the way back, T·B·N numbers, or √T as many.

Arrays are time-major, (T, B, N), so that a step reads and writes contiguous memory; the kernel is
W_hhᵀ (N, N), as Flax stores it, and states are rows: W_hh h is ``h @ kernel``.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Bool, Float

from jaxrnn.activations import ACTIVATIONS, activation_of
from jaxrnn.array_checks import as_float_array, as_square_matrices

# Of the states of a chunk: what fits into a core's second-level cache. Measured on one with 1 MiB.
CHUNK_BYTES = 2**20
UNROLL = 1  # steps in one iteration of a loop over time; more did not help on a CPU
STATES = "states"  # the name by which jax.checkpoint keeps them

Residuals = tuple[Array, Array, Array, Array | None]  # W_hhᵀ, h_0, h_1 … h_T, valid


def recurrence(
    kernel: Float[Array, "N N"],
    inputs: Float[Array, "T *batch N"],
    carry: Float[Array, "*batch N"],
    activation: str = "tanh",
    bias: Float[Array, " N"] | None = None,
    valid: Bool[Array, "T ..."] | None = None,
) -> Float[Array, "T *batch N"]:
    """All states h_1 … h_T of h_t = phi(a_t + W_hh h_{t-1}), differentiable in every array.

    Reverse mode of any order, and forward mode over it (``jax.hessian``); forward mode alone (jvp)
    needs the scan of ``SequenceModel``.

    Args:
      kernel: W_hhᵀ.
      inputs: a_t, the input projections with b_h added.
      carry: h_0.
      activation: phi, a name in ``jaxrnn.activations.ACTIVATIONS``.
      bias: b of modReLU; None for the others.
      valid: where h_t = phi(z_t); h_t = h_{t-1} elsewhere. Default: everywhere.

    Raises:
      ValueError: an unknown activation, a bias for one that has none or none for modReLU, shapes
        that do not fit.
      TypeError: forward-mode differentiation. Under jit the message is JAX's own.

    Example:
      >>> kernel, inputs, carry = jnp.array([[0.5]]), jnp.ones((4, 1)), jnp.zeros(1)
      >>> print(bptt.recurrence(kernel, inputs, carry, activation="identity")[:, 0])
      [1.    1.5   1.75  1.875]
    """
    if (bias is not None) != activation_of(activation).has_bias:
        given = "none" if bias is None else "one"
        biased = " or ".join(name for name, one in ACTIVATIONS.items() if one.has_bias)
        raise ValueError(f"{biased}, and no other activation, has a bias; {activation} got {given}")
    kernel, inputs = as_square_matrices("kernel", kernel), as_float_array("inputs", inputs)
    carry = as_float_array("carry", carry)
    if kernel.ndim != 2 or inputs.ndim < 2 or inputs.shape[-1] != len(kernel):
        raise ValueError(
            f"kernel and inputs must be (N, N) and (T, ..., N), got {kernel.shape}, {inputs.shape}"
        )
    if carry.shape != inputs.shape[1:]:
        raise ValueError(f"carry must be {inputs.shape[1:]} like the inputs, got {carry.shape}")
    if bias is not None:
        bias = as_float_array("bias", bias)
        if bias.shape != kernel.shape[:1]:
            raise ValueError(f"bias must be {kernel.shape[:1]}, got {bias.shape}")
    try:
        return _recurrence(activation, kernel, bias, inputs, carry, valid)
    except TypeError as error:
        if "forward-mode" not in str(error):
            raise
        raise TypeError(
            "the fused recurrence has no forward-mode derivative (jvp, jacfwd); "
            'SequenceModel(..., recurrence="scan") has'
        ) from error


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _recurrence(
    activation: str,
    kernel: Array,
    bias: Array | None,
    inputs: Array,
    carry: Array,
    valid: Array | None,
) -> Array:
    return forward(activation, kernel, bias, inputs, carry, valid)[0]


def _product(x: Array, y: Array) -> Array:
    # bfloat16 operands are multiplied as they are and summed in float32.
    return jnp.matmul(x, y, preferred_element_type=jnp.promote_types(x.dtype, jnp.float32))


def forward(
    activation: str,
    kernel: Array,
    bias: Array | None,
    inputs: Array,
    carry: Array,
    valid: Array | None = None,
) -> tuple[Array, Residuals]:
    """h_t = phi(a_t + W_hh h_{t-1}), or h_{t-1} where t is not valid.

    Example:
      >>> kernel, inputs, h_0 = jnp.array([[0.5]]), jnp.ones((4, 1)), jnp.zeros(1)
      >>> states, residuals = bptt.forward("identity", kernel, None, inputs, h_0)
      >>> print(states[:, 0])
      [1.    1.5   1.75  1.875]
    """
    phi = activation_of(activation).phi
    extra = () if bias is None else (bias,)

    def step(h: Array, at: tuple[Array, Array | None]) -> tuple[Array, Array]:
        a, is_valid = at
        new = phi(a + _product(h, kernel), *extra).astype(h.dtype)
        h = new if is_valid is None else jnp.where(is_valid[..., None], new, h)
        return h, h

    states = jax.lax.scan(step, carry, (inputs, valid), unroll=UNROLL)[1]
    states = checkpoint_name(states, STATES)
    return states, (kernel, carry, states, valid)


def _backward(
    activation: str, residuals: Residuals, g: Array
) -> tuple[Array, Array | None, Array, Array, None]:
    return *backward(activation, residuals, g)[:4], None


def backward(
    activation: str, residuals: Residuals, g: Array
) -> tuple[Array, Array | None, Array, Array, Array]:
    """δ from T down to 1, then everything that is a sum over them.

    Returns:
      ∂L/∂W_hhᵀ, ∂L/∂b or None, ∂L/∂a_t = δ_t, ∂L/∂h_0, and ∂L/∂h_t for t = 1 … T.

    Example:
      >>> kernel, inputs, h_0 = jnp.array([[0.5]]), jnp.ones((4, 1)), jnp.zeros(1)
      >>> _, residuals = bptt.forward("identity", kernel, None, inputs, h_0)
      >>> g = jnp.array([[0.0], [0.0], [0.0], [1.0]])  # the loss is h_4
      >>> _, _, deltas, d_carry, _ = bptt.backward("identity", residuals, g)
      >>> print(deltas[:, 0], d_carry)  # powers of W_hh
      [0.125 0.25  0.5   1.   ] [0.0625]
    """
    kernel, carry, states, valid = residuals
    N = kernel.shape[0]
    phi = activation_of(activation)
    W_hh = kernel.T

    def step(from_later: Array, at_t: Any) -> tuple[Array, tuple[Array, Array]]:
        g_t, h_t, is_valid = at_t
        d_h = g_t + from_later
        delta = (d_h * phi.derivative(h_t)).astype(h_t.dtype)
        if is_valid is None:
            return _product(delta, W_hh).astype(h_t.dtype), (delta, d_h)
        delta = jnp.where(is_valid[..., None], delta, 0)
        to_earlier = _product(delta, W_hh).astype(h_t.dtype)
        return jnp.where(is_valid[..., None], to_earlier, d_h), (delta, d_h)

    # d_states cost nothing where they are not used: JAX drops unused results of a scan.
    d_carry, (deltas, d_states) = jax.lax.scan(
        step, jnp.zeros_like(carry), (g, states, valid), reverse=True, unroll=UNROLL
    )
    previous = jnp.concatenate([carry[None], states[:-1]])
    d_kernel = _product(previous.reshape(-1, N).T, deltas.reshape(-1, N)).astype(kernel.dtype)
    d_bias = None
    if phi.bias_derivative is not None:
        wide = jnp.promote_types(deltas.dtype, jnp.float32)
        d_bias = jnp.sum((deltas * phi.bias_derivative(states)).reshape(-1, N), axis=0, dtype=wide)
        d_bias = d_bias.astype(kernel.dtype)
    return d_kernel, d_bias, deltas, d_carry, d_states


_recurrence.defvjp(forward, _backward)


def chunk_length(T: int, state: Array, recompute: bool) -> int:
    """How many steps ``in_chunks`` should take at a time, with states like h_0.

    √T to recompute them; else as many as fit into a CPU's cache, and all on any other device.

    Example:
      >>> bptt.chunk_length(T=100, state=jnp.zeros((2, 4)), recompute=True)
      10
    """
    if recompute:
        return math.isqrt(T)
    is_known = isinstance(state.size, int)  # not so B of a program that is exported for any
    if jax.default_backend() != "cpu" or not is_known:
        return T
    return min(T, max(1, CHUNK_BYTES // max(1, state.nbytes)))


def in_chunks(
    hidden_states: Callable[[Array, Any], Array],
    emit: Callable[[Array], Array] | None,
    h_0: Float[Array, "B N"],
    inputs: Any,
    length: int,
    recompute: bool,
) -> tuple[Float[Array, "B N"], Any]:
    """A recurrence over a chunk of steps at a time, there and back.

    Input projection, states, outputs, errors and the products of a chunk follow each other while
    its numbers are in the processor's cache, instead of each passing over all T steps; of all T
    only the states are kept. With ``recompute`` not even those: only h at the start of each chunk,
    from which the way back runs the chunk again. √T chunks of √T steps then need the least memory.
    (Chen et al. 2016, Training deep nets with sublinear memory cost.)

    Args:
      hidden_states: (h (B, N), inputs of t steps) → t states (t, B, N).
      emit: what is wanted of them, from (t, B, N) to (t, ...); None: nothing.
      h_0: the state before the first step.
      inputs: of all steps, arrays (T, ...).
      length: steps in a chunk; the last one has what is left.
      recompute: keep h at the start of each chunk instead of all states.

    Returns:
      The state after the last step, and what was emitted for all steps.

    Example:
      >>> kernel, inputs, h_0 = jnp.array([[0.5]]), jnp.ones((4, 2, 1)), jnp.zeros((2, 1))
      >>> def hidden_states(h, x):
      ...     return bptt.recurrence(kernel, x, h, activation="identity")
      >>> last, doubled = bptt.in_chunks(
      ...     hidden_states, lambda h: 2 * h, h_0, inputs, length=2, recompute=False
      ... )
      >>> print(last[0], doubled[:, 0, 0])
      [1.875] [2.   3.   3.5  3.75]
    """
    T = jax.tree.leaves(inputs)[0].shape[0]
    count, rest = divmod(T, length)
    kept = None if recompute else jax.checkpoint_policies.save_only_these_names(STATES)

    # Inside a scan there is no common subexpression that XLA could find.
    @partial(jax.checkpoint, prevent_cse=False, policy=kept)
    def chunk(h: Array, x: Any) -> tuple[Array, Any]:
        hidden = hidden_states(h, x)
        return hidden[-1], None if emit is None else emit(hidden)

    whole = T - rest
    chunks = jax.tree.map(lambda x: x[:whole].reshape(count, length, *x.shape[1:]), inputs)
    h, outputs = jax.lax.scan(chunk, h_0, chunks)
    if emit is not None:
        outputs = outputs.reshape(whole, *outputs.shape[2:])
    if rest:
        h, more = chunk(h, jax.tree.map(lambda x: x[whole:], inputs))
        outputs = None if emit is None else jnp.concatenate([outputs, more])
    return h, outputs
