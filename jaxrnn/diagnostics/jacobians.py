"""How a recurrence stretches what it carries: the product of its Jacobians along a sequence.

    ∂h_T/∂h_0 = J_T … J_1                             J_t = ∂h_t/∂h_{t-1}

Its singular values are the factors by which perturbations of h_0 arrive at h_T, and gradients by
h_T at h_0. Their logarithms over T tend to the Lyapunov exponents λ_i (Oseledets 1968): λ_1 > 0 is
chaos and exploding gradients, all λ_i well below 0 forgetting and vanishing ones, and a network
that carries gradients far has many near 0. (Engelken et al. 2023, Lyapunov spectra of chaotic
recurrent neural networks; Vogt et al. 2022, On Lyapunov exponents for RNNs.)

Any Flax cell will do; h is its carry as one vector of N numbers, all leaves one after the other.
Nothing is ever multiplied out: what has been reached is rescaled at every step, so T is not
limited by overflow.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.errors import ScopeParamShapeError
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from jaxrnn.array_checks import as_real_array
from jaxrnn.checks import described, is_whole
from jaxrnn.recurrent_layer import checked_carry, misfit


def jacobian_singular_values(
    cell: nn.RNNCellBase, variables: Any, carry: Any, inputs: Float[Array, "..."]
) -> Float[Array, "*batch N"]:
    """ln σ_i of ∂h_T/∂h_0, the largest first; −∞ for σ = 0.

    The product is kept as one matrix of largest entry 1 and the logarithm of its size. Rounding
    leaves errors of about eps of the largest singular value in all of them, so those below it, that
    is ln σ_i < ln σ_1 + ln eps, are noise. Where they matter, T times ``lyapunov_spectrum`` says
    how large they are. Takes N² numbers and, for each step, N forward derivatives.

    Args:
      cell: any Flax recurrent cell, by itself.
      variables: the cell's own, such as ``{"params": variables["params"]["cell"]}``.
      carry: h_0, such as ``cell.initialize_carry(key, (D,))``; for a batch with leading axes B.
      inputs: (T, D), or (B, T, D) for one result each, (B, N).

    Raises:
      ValueError: inputs of another rank, a carry without the inputs' B.

    Example:
      >>> cell, h_0, inputs = VanillaCell(2, activation="identity"), jnp.zeros(2), jnp.ones((3, 1))
      >>> params = cell.init(jax.random.key(0), h_0, inputs[0])["params"]
      >>> params = {**params, "h": {"kernel": jnp.diag(jnp.array([1.0, 0.5]))}}
      >>> logs = diagnostics.jacobian_singular_values(cell, {"params": params}, h_0, inputs)
      >>> print(jnp.exp(logs).round(3))  # 1³ and 0.5³
      [1.    0.125]
    """

    def one(carry: Any, inputs: Array) -> Array:
        (h_0, counts), step = _flat_step(cell, variables, carry)

        def advance(at: Any, x: Array) -> tuple[Any, None]:
            h, counts, product, log_size = at
            h, push, counts = jax.linearize(lambda h: step(h, counts, x), h, has_aux=True)
            product = jax.vmap(push, in_axes=1, out_axes=1)(product)
            largest = jnp.max(jnp.abs(product))
            size = jnp.where(largest > 0, largest, 1)
            return (h, counts, product / size, log_size + jnp.log(size)), None

        start = (h_0, counts, jnp.eye(len(h_0), dtype=h_0.dtype), jnp.zeros((), h_0.dtype))
        (_, _, product, log_size), _ = jax.lax.scan(advance, start, inputs)
        return log_size + jnp.log(jnp.linalg.svd(product, compute_uv=False))

    return _over_batch(one, cell, carry, inputs)


def lyapunov_spectrum(
    cell: nn.RNNCellBase,
    variables: Any,
    carry: Any,
    inputs: Float[Array, "..."],
    warm_up: int = 0,
) -> Float[Array, "*batch N"]:
    """λ_i = 1/T Σ_t ln |R_ii,t| of J_t Q_{t-1} = Q_t R_t, Q_0 = I (Benettin et al. 1980).

    In the order in which they come, which for large T is from the largest down. Σ λ_i is
    1/T ln |det ∂h_T/∂h_0| for any T. All are good to a few eps however far apart they are. −∞ (or
    rounding, about ln eps) for directions in which nothing gets through, as with dead ReLUs. Each
    step takes N forward derivatives and a QR decomposition, some N³ operations.

    Args:
      cell: any Flax recurrent cell, by itself.
      variables: the cell's own.
      carry: h_0; for a batch with leading axes B.
      inputs: (T, D), or (B, T, D) for one result each, (B, N).
      warm_up: first steps that turn Q towards the directions that it will follow, and are not
        counted in T.

    Raises:
      ValueError: inputs of another rank, a carry without the inputs' B, a ``warm_up`` that is
        negative or leaves no step.

    Example:
      >>> cell, h_0, inputs = VanillaCell(2, activation="identity"), jnp.zeros(2), jnp.ones((3, 1))
      >>> params = cell.init(jax.random.key(0), h_0, inputs[0])["params"]
      >>> params = {**params, "h": {"kernel": jnp.diag(jnp.array([1.0, 0.5]))}}
      >>> exponents = diagnostics.lyapunov_spectrum(cell, {"params": params}, h_0, inputs)
      >>> print(jnp.exp(exponents).round(3))  # by step
      [1.  0.5]
    """

    def one(carry: Any, inputs: Array) -> Array:
        T = len(inputs)
        if not (is_whole(warm_up) and 0 <= warm_up < T):
            raise ValueError(
                f"warm_up must be from 0 to {T - 1} of {T} steps, got {described(warm_up)}"
            )
        (h_0, counts), step = _flat_step(cell, variables, carry)

        def advance(at: Any, counted: tuple[Array, Array]) -> tuple[Any, None]:
            (h, counts, Q, total), (weight, x) = at, counted
            h, push, counts = jax.linearize(lambda h: step(h, counts, x), h, has_aux=True)
            Q, R = jnp.linalg.qr(jax.vmap(push, in_axes=1, out_axes=1)(Q))
            logs = jnp.log(jnp.abs(jnp.diagonal(R)))
            return (h, counts, Q, total + jnp.where(weight, logs, 0)), None

        start = (h_0, counts, jnp.eye(len(h_0), dtype=h_0.dtype), jnp.zeros_like(h_0))
        is_counted = jnp.arange(T) >= warm_up
        (*_, total), _ = jax.lax.scan(advance, start, (is_counted, inputs))
        return total / (T - warm_up)

    return _over_batch(one, cell, carry, inputs)


def _flat_step(
    cell: nn.RNNCellBase, variables: Any, carry: Any
) -> tuple[tuple[Float[Array, " N"], list[Any]], Callable[[Array, list[Any], Array], Any]]:
    """h_0 as a vector, beside what of a carry counts steps, and one step (h, counts, x) → both."""
    leaves, treedef = jax.tree.flatten(carry)
    is_state = [jnp.issubdtype(jnp.asarray(leaf).dtype, jnp.floating) for leaf in leaves]

    def parts(leaves: list[Any]) -> tuple[list[Any], list[Any]]:
        pairs = list(zip(leaves, is_state, strict=True))
        return [leaf for leaf, state in pairs if state], [
            leaf for leaf, state in pairs if not state
        ]

    states, counts = parts(leaves)
    h_0, unravel = ravel_pytree(states)

    def step(h: Array, counts: list[Any], x: Array) -> tuple[Array, list[Any]]:
        kinds = {True: iter(unravel(h)), False: iter(counts)}
        carry: Any = jax.tree.unflatten(treedef, [next(kinds[state]) for state in is_state])
        try:
            new: Any = cell.apply(variables, carry, x)
        except ScopeParamShapeError as error:
            raise misfit(x, error) from error
        states, counts = parts(jax.tree.leaves(new[0]))
        return ravel_pytree(states)[0], counts

    return (h_0, counts), step


def _over_batch(
    one: Callable[[Any, Array], Array], cell: nn.RNNCellBase, carry: Any, inputs: Array
) -> Array:
    """The result for one sequence, or for each in a batch."""
    inputs = as_real_array("inputs", inputs)
    if inputs.ndim < 1 or inputs.shape[-1] == 0:
        raise ValueError(f"inputs must be (T, D) or (B, T, D), got {inputs.shape}")
    batch_axes = inputs.ndim - cell.num_feature_axes - 1
    if batch_axes not in (0, 1):
        raise ValueError(f"inputs must be (T, D) or (B, T, D), got {inputs.shape}")
    of_a_step = inputs.shape[:batch_axes] + inputs.shape[batch_axes + 1 :]
    leaves = [jnp.shape(leaf) for leaf in jax.tree.leaves(carry)]
    if batch_axes and any(shape[:1] != inputs.shape[:1] for shape in leaves):
        B = inputs.shape[0]
        raise ValueError(f"carry must have a leading B = {B} like the inputs, got {leaves}")
    carry = checked_carry("carry", cell, carry, of_a_step)
    return jax.vmap(one)(carry, inputs) if batch_axes else one(carry, inputs)
