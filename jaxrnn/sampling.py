"""Text, or any other tokens, drawn from a network one after the other, each the next input."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core.meta import unbox
from jaxtyping import Array, Float, Int

from jaxrnn.array_checks import as_whole_array, check_key, check_module, check_range
from jaxrnn.checks import check_not_negative, check_whole


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
      temperature: below 1 the likely tokens are favoured; at 0 the likeliest is taken.

    Raises:
      ValueError: a model that reads out the last step alone, variables that are not those of such a
        model, an empty prompt, tokens that there are
        not, a length or temperature below 0, a temperature that is not finite. Values are checked
        outside of jit alone.

    Example:
      >>> model = SequenceModel(nn.GRUCell(4), num_outputs=3)
      >>> variables = model.init(jax.random.key(0), jnp.zeros((1, 2, 3)))
      >>> prompt = jnp.array([2, 0])
      >>> draws = [sample(model, variables, jax.random.key(i), prompt, 5, 1e-6) for i in range(2)]
      >>> draws[0].shape, bool(jnp.all(draws[0] == draws[1]))  # so cold that nothing is random
      ((5,), True)
    """
    check_module("model", model)
    check_key("key", key)
    prompt = as_whole_array("prompt", prompt)
    if prompt.ndim != 1 or not prompt.size:
        raise ValueError(f"a prompt needs at least one token, (P,), got shape {prompt.shape}")
    if getattr(model, "last_only", False):
        raise ValueError("a model that is sampled from reads out every step, got last_only=True")
    check_whole("length", length, least=0)
    check_range("prompt", prompt, _num_tokens(variables))
    if not isinstance(temperature, jax.core.Tracer):
        check_not_negative("temperature", temperature)
        temperature = float(temperature)  # a whole number may have more than 32 bits
    return _sample(model, variables, key, prompt, length, temperature)


def _num_tokens(variables: Any) -> int:
    try:
        return unbox(variables["params"]["readout"]["bias"]).shape[-1]
    except (KeyError, TypeError, AttributeError, IndexError):
        raise ValueError(
            "variables must hold params/readout/bias, as a model's init gives"
        ) from None


@partial(jax.jit, static_argnames=("model", "length"))
def _sample(
    model: nn.Module, variables: Any, key: jax.Array, prompt: Array, length: int, temperature: Any
) -> Array:
    apply: Any = partial(model.apply, variables, return_carry=True)
    num_tokens = _num_tokens(variables)

    def read(tokens: Array, carry: Any) -> tuple[Any, Array]:
        inputs = jax.nn.one_hot(tokens, num_tokens)[None]  # (1, T, D)
        carry, logits = apply(inputs, initial_carry=carry)
        return carry, logits[0, -1]

    def draw(state: Any, key: jax.Array) -> tuple[Any, Array]:
        carry, logits = state
        scale = jnp.asarray(temperature, logits.dtype)
        is_greedy = scale < jnp.finfo(scale.dtype).tiny  # by which no logit can be divided
        below_most = logits - jnp.max(logits)  # at most 0, so that no quotient overflows upwards
        drawn = jax.random.categorical(key, below_most / jnp.where(is_greedy, 1, scale))
        token = jnp.where(is_greedy, jnp.argmax(logits), drawn)
        return read(token[None], carry), token

    _, tokens = jax.lax.scan(draw, read(prompt, None), jax.random.split(key, length))
    return tokens
