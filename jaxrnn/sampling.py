"""Text, or any other tokens, drawn from a network one after the other, each the next input."""

from functools import partial
from typing import Any

import jax
from flax import linen as nn
from jaxtyping import Array, Float, Int


@partial(jax.jit, static_argnames=("model", "length"))
def sample(
    model: nn.Module,
    variables: Any,
    key: jax.Array,
    prompt: Int[Array, " P"],
    length: int,
    temperature: Float[Array, ""] | float = 1.0,
) -> Int[Array, " length"]:
    """Tokens x_{P+1}, x_{P+2}, ... with x_{t+1} drawn from softmax(y_t / temperature).

    Args:
      model: a ``SequenceModel`` of one-hot inputs, with as many outputs as inputs.
      variables: its variables.
      key: for the draws; the same one gives the same tokens.
      prompt: tokens read before the first draw, one or more.
      length: how many to draw.
      temperature: above 0; below 1 the likely tokens are favoured.

    Raises:
      ValueError: an empty prompt.

    Example:
      >>> model = SequenceModel(nn.GRUCell(4), num_outputs=3)
      >>> variables = model.init(jax.random.key(0), jnp.zeros((1, 2, 3)))
      >>> prompt = jnp.array([2, 0])
      >>> draws = [sample(model, variables, jax.random.key(i), prompt, 5, 1e-6) for i in range(2)]
      >>> draws[0].shape, bool(jnp.all(draws[0] == draws[1]))  # so cold that nothing is random
      ((5,), True)
    """
    if not prompt.size:
        raise ValueError("a prompt needs at least one token")
    apply: Any = partial(model.apply, variables, return_carry=True)
    num_tokens = variables["params"]["readout"]["bias"].shape[-1]

    def read(tokens: Array, carry: Any) -> tuple[Any, Array]:
        inputs = jax.nn.one_hot(tokens, num_tokens)[None]  # (1, T, D)
        carry, logits = apply(inputs, initial_carry=carry)
        return carry, logits[0, -1]

    def draw(state: Any, key: jax.Array) -> tuple[Any, Array]:
        carry, logits = state
        token = jax.random.categorical(key, logits / temperature)
        return read(token[None], carry), token

    _, tokens = jax.lax.scan(draw, read(prompt, None), jax.random.split(key, length))
    return tokens
