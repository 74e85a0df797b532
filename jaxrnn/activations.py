"""Activation functions phi, each with its derivative and all else that is known of it.

Cells, the fused recurrence, the diagnostics and the doctor read this one table.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def leaky_relu(z: Float[Array, "..."]) -> Float[Array, "..."]:
    """z where z > 0, else 0.01 z. Slope 0.01 at zero, as in PyTorch (jax.nn has 1 there)."""
    return jnp.where(z > 0, z, 0.01 * z)


def modrelu(z: Float[Array, "*batch N"], bias: Float[Array, " N"]) -> Float[Array, "*batch N"]:
    """sign(z) · relu(|z| + b): ReLU on the modulus, which leaves the sign (Arjovsky et al. 2016).

    With b = 0 it is the identity, so an orthogonal W_hh keeps the length of h at first.
    """
    bias = jnp.broadcast_to(bias, z.shape)  # said, for those who have JAX refuse to do it unasked
    return jnp.sign(z) * jax.nn.relu(jnp.abs(z) + bias)


class Activation(NamedTuple):
    """phi, and all that the rest of the library knows of it.

    Derivatives are functions of h = phi(z), so that z need not be kept for the way back.

    Attributes:
      phi: z → h, or (z, b) → h for an activation with a bias b (N,).
      derivative: h → phi'(z).
      bias_derivative: h → (∂h/∂b) / phi'(z); None: there is no bias.
      saturates_at: s → the least |z| beyond which phi'(z) < s; None: phi does not saturate.
    """

    phi: Callable[..., Array]
    derivative: Callable[[Array], Array]
    bias_derivative: Callable[[Array], Array] | None = None
    saturates_at: Callable[[float], float] | None = None

    @property
    def has_bias(self) -> bool:
        """Whether the cell has a parameter b for it."""
        return self.bias_derivative is not None

    @property
    def saturates(self) -> bool:
        """Whether phi' tends to 0 as |z| grows."""
        return self.saturates_at is not None


ACTIVATIONS: dict[str, Activation] = {
    "tanh": Activation(
        jnp.tanh, lambda h: 1 - h * h, saturates_at=lambda s: math.atanh(math.sqrt(1 - s))
    ),
    "relu": Activation(jax.nn.relu, lambda h: (h > 0).astype(h.dtype)),
    "leaky_relu": Activation(leaky_relu, lambda h: jnp.where(h > 0, 1, 0.01).astype(h.dtype)),
    # phi' is sign(z)² where |z| + b > 0, which is where h ≠ 0; there sign(h) = sign(z) as well.
    "modrelu": Activation(modrelu, lambda h: (h != 0).astype(h.dtype), bias_derivative=jnp.sign),
    "identity": Activation(lambda z: z, jnp.ones_like),
}


def activation_of(name: str) -> Activation:
    """An activation by its name in ``ACTIVATIONS``; ValueError if there is none."""
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {name!r:.40}")
    return ACTIVATIONS[name]
