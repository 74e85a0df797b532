"""Whether a network is as init made it: its state then tells how it starts, not what it can learn.

Trained parameters and fresh ones cannot be told apart by their size. But most networks have some
that init sets to the same numbers whatever its key, as biases of 0; training moves them.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Bool


def is_fresh(model: nn.Module, params: Any, inputs: Any) -> Bool[Array, ""]:
    """Whether every parameter that init sets alike with any key is still that; False of none."""

    def initial(seed: int) -> list[Array]:
        keys = {name: jax.random.key(seed) for name in ("params", "dropout")}
        return jax.tree.leaves(nn.meta.unbox(model.init(keys, inputs)["params"]))

    some, kept = jnp.zeros([], bool), jnp.ones([], bool)
    for one, other, param in zip(initial(0), initial(1), jax.tree.leaves(params), strict=True):
        is_constant = (one == other).all()
        some |= is_constant
        kept &= ~is_constant | (one == param).all()
    return some & kept
