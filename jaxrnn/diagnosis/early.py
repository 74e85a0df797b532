"""How much of what moves the last outputs comes from the first half of the inputs.

    s = ‖y' − y‖ / ‖y'' − y‖

y are the outputs of the last step (or a model's only ones), y' those when the first half of the
inputs is exchanged, y'' those when all are. 0: only recent inputs count; about 0.7 where all steps
count alike and independently.

The inputs are exchanged with those of the next sequence in the batch, so that y'' are that
sequence's outputs, and one forward pass is enough. A sequence without others that differ from it
gets its own steps in another order, and y'' comes out of the same pass.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Key

from jaxrnn.diagnostics.probe import LayerObservation


class Exchange(NamedTuple):
    """How inputs are exchanged.

    Attributes:
      steps: T.
      time: the inputs' axis of time; None: there is none.
      batch: the axis of sequences to exchange with; None: there are no others.
    """

    steps: int
    time: int | None
    batch: int | None


def plan_exchange(inputs: Any, layers: dict[str, LayerObservation]) -> Exchange:
    """Which axes of (concrete) inputs are which, from the layers that ran over them.

    Time is the axis of length T that the longest layer has: the second, as in (B, T, D), or else
    the first.
    """
    states = [jax.tree.leaves(layer.states)[-1] for layer in layers.values()]
    longest = max(states, key=lambda h: h.shape[0])
    steps, batch_axes = longest.shape[0] - 1, longest.ndim - 2
    leaves = [np.shape(leaf) for leaf in jax.tree.leaves(inputs)]

    def is_time(axis: int) -> bool:
        return all(len(shape) > axis and shape[axis] == steps for shape in leaves)

    if batch_axes == 0:
        return Exchange(steps, 0 if is_time(0) else None, None)
    time = next((axis for axis in (1, 0) if is_time(axis)), None)
    if time is None or batch_axes > 1 or _all_alike(inputs, 1 - time):
        return Exchange(steps, time, None)
    return Exchange(steps, time, 1 - time)


def _all_alike(inputs: Any, axis: int) -> bool:
    """Whether every sequence is the same as the next."""
    return all(
        np.array_equal(leaf, np.roll(leaf, 1, axis))
        for leaf in map(np.asarray, jax.tree.leaves(inputs))
    )


def early_share(
    model: nn.Module,
    variables: Any,
    inputs: Any,
    outputs: Any,
    exchange: Exchange,
    key: Key[Array, ""],
) -> Float[Array, ""]:
    """s, by one forward pass; NaN where there is no time axis, exchanging all changes nothing, or
    outputs are not finite.

    A layer that runs backwards ends at the first step, where the second half is what came early;
    where outputs have an axis of time, the larger of both shares counts.
    """
    steps, time, batch = exchange
    if time is None:
        return jnp.asarray(jnp.nan)

    def mixed(x: Array, other: Array) -> Array:
        """The first half of ``other``, the second of ``x``."""
        axes = [axis for axis in range(x.ndim) if axis != time]
        return jnp.where(jnp.expand_dims(jnp.arange(steps) < steps // 2, axes), other, x)

    moved: Any
    swapped: Any
    if batch is None:
        order = jax.random.permutation(key, steps)
        others = jax.tree.map(lambda x: jnp.take(x, order, axis=time), inputs)
        pair = jax.tree.map(lambda x, other: jnp.stack([mixed(x, other), other]), inputs, others)
        both: Any = jax.vmap(model.apply, (None, 0))(variables, pair)
        moved, swapped = (jax.tree.map(lambda y, i=i: y[i], both) for i in range(2))
    else:
        others = jax.tree.map(lambda x: jnp.roll(x, 1, batch), inputs)
        moved = model.apply(variables, jax.tree.map(mixed, inputs, others))
        swapped = jax.tree.map(lambda y: jnp.roll(y, 1, _batch_axis(y, exchange)), outputs)
    last = _ratio(_at(moved, exchange, -1), _at(outputs, exchange, -1), _at(swapped, exchange, -1))
    if not all(_has_time(y, exchange) for y in jax.tree.leaves(outputs)):
        return last
    first = _ratio(_at(moved, exchange, 0), _at(swapped, exchange, 0), _at(outputs, exchange, 0))
    # The first step may see nothing of what was exchanged; that is no reason to have no answer.
    finite = [jnp.isfinite(y).all() for y in jax.tree.leaves((moved, outputs))]
    return jnp.where(jnp.stack(finite).all(), jnp.fmax(last, first), jnp.nan)


def _has_time(y: Array, exchange: Exchange) -> bool:
    return y.ndim > 1 and exchange.time is not None and y.shape[exchange.time] == exchange.steps


def _batch_axis(y: Array, exchange: Exchange) -> int:
    return 1 - (exchange.time or 0) if _has_time(y, exchange) else 0


def _at(tree: Any, exchange: Exchange, step: int) -> list[Array]:
    """Outputs at a step, or all where they have no axis of time."""
    return [
        jnp.take(y, step, axis=exchange.time) if _has_time(y, exchange) else y
        for y in jax.tree.leaves(tree)
    ]


def _ratio(moved: list[Array], near: list[Array], far: list[Array]) -> Array:
    """‖moved − near‖ / ‖far − near‖, of outputs of any size."""
    change, whole = (
        jnp.concatenate(
            [jnp.ravel(y - x).astype(jnp.float32) for y, x in zip(ys, near, strict=True)]
        )
        for ys in (moved, far)
    )
    scale = jnp.max(jnp.abs(whole))
    return jnp.linalg.norm(change / scale) / jnp.linalg.norm(whole / scale)
