"""How much of what moves the last outputs comes from the first half of the inputs.

    s = ‖y' − y‖ / ‖y'' − y‖

y are the outputs of the last step (or a model's only ones), y' those when the first half of the
inputs is exchanged, y'' those when all are. 0: only recent inputs count; about 0.7 where all steps
count equally and independently.

The inputs are exchanged with those of the next sequence in the batch, so that y'' are that
sequence's outputs, and one forward pass is enough. Where a half of them is the same in all
sequences (one alone; the blanks of a copy task), there is nothing to exchange it with: each gets
its own steps in another order, and y'' takes a second pass.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Key

from jaxrnn.diagnosis.checks import REFUSALS
from jaxrnn.diagnostics import Observation
from jaxrnn.diagnostics.probe import Probe


class Exchange(NamedTuple):
    """How inputs are exchanged, and where outputs are compared.

    Attributes:
      steps: T.
      time: the inputs' axis of time; None: there is none.
      batch: the axis of sequences to exchange with; None: there are no others.
      outputs: each output's axis of time; None: it has none.
    """

    steps: int
    time: int | None
    batch: int | None
    outputs: tuple[int | None, ...]


def plan_exchange(model: nn.Module, variables: Any, inputs: Any, seen: Observation) -> Exchange:
    """Which axes of (concrete) inputs and of outputs are which, from the shapes that were ``seen``.

    Time is the second axis of the inputs, as in (B, T, D), or the first; and in outputs the one
    that is shorter where inputs are. Of axes of equal lengths it is the one that the layers run
    over.
    """
    states = [jax.tree.leaves(layer.states)[-1] for layer in seen.layers.values()]
    longest = max(states, key=lambda h: h.shape[0])
    steps, batch_axes = longest.shape[0] - 1, longest.ndim - 2
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(inputs)]
    whole = [leaf.shape for leaf in jax.tree.leaves(seen.outputs)]
    candidates = [
        axis
        for axis in ((1, 0) if batch_axes else (0,))
        if all(len(shape) > axis and shape[axis] == steps for shape in shapes)
    ]
    time: int | None
    for axis in candidates:
        ran, shorter = _halved(model, variables, inputs, axis)
        if ran == steps // 2:
            time, outputs = axis, tuple(map(_changed, whole, shorter))
            break
    else:
        time, outputs = _by_length(whole, candidates, steps)
    if time is None or batch_axes != 1 or _half_alike(inputs, time, steps):
        return Exchange(steps, time, None, outputs)
    return Exchange(steps, time, 1 - time, outputs)


def _by_length(
    outputs: list[tuple[int, ...]], candidates: list[int], steps: int
) -> tuple[int | None, tuple[int | None, ...]]:
    """Axes of time, of a model that takes no other length; None where they are ambiguous."""
    axes = [[i for i, size in enumerate(shape[:2]) if size == steps] for shape in outputs]
    # Outputs (B, C) with C = T look the same as (B, T).
    flat = any(found and len(shape) < 3 for found, shape in zip(axes, outputs, strict=True))
    if len(candidates) != 1 or flat:
        return None, (None,) * len(outputs)
    time = candidates[0]
    return time, tuple(time if time in found else None for found in axes)


def _halved(
    model: nn.Module, variables: Any, inputs: Any, axis: int
) -> tuple[int, list[tuple[int, ...]]]:
    """The steps of the longest layer, and the shapes of outputs, of inputs of half as much of an
    axis; 0 steps where the model does not take them."""

    def run(variables: Any, inputs: Any) -> tuple[Any, Any]:
        probe = Probe(None)
        with nn.intercept_methods(probe.intercept):
            outputs = model.apply(variables, inputs)
        return {path: layer.states for path, layer in probe.layers.items()}, outputs

    def half(x: Any) -> jax.ShapeDtypeStruct:
        shape = list(np.shape(x))
        shape[axis] //= 2
        return jax.ShapeDtypeStruct(tuple(shape), jnp.result_type(x))

    try:
        states, outputs = jax.eval_shape(run, variables, jax.tree.map(half, inputs))
    except REFUSALS:
        return 0, []
    ran = max(leaf.shape[0] for leaf in jax.tree.leaves(states)) - 1
    return ran, [leaf.shape for leaf in jax.tree.leaves(outputs)]


def _changed(whole: tuple[int, ...], shorter: tuple[int, ...]) -> int | None:
    """The axis that has another length; None: there is none."""
    sizes = enumerate(zip(whole, shorter, strict=True))
    return next((axis for axis, (size, other) in sizes if size != other), None)


def _half_alike(inputs: Any, time: int, steps: int) -> bool:
    """Whether the first half of every sequence is the same as the next one's, or the second."""

    def alike(half: slice) -> bool:
        return all(
            np.array_equal(x[:, half], np.roll(x[:, half], 1, axis=0))
            for x in (np.moveaxis(np.asarray(x), time, 1) for x in jax.tree.leaves(inputs))
        )

    return alike(slice(steps // 2)) or alike(slice(steps // 2, None))


def early_share(
    model: nn.Module,
    variables: Any,
    inputs: Any,
    outputs: Any,
    exchange: Exchange,
    key: Key[Array, ""],
) -> Float[Array, ""]:
    """s, by one forward pass, or two; NaN where there is no time axis, exchanging all does not move
    the last outputs (as where they are masked), or outputs are not finite.

    A layer that runs backwards ends at the first step, where the second half is what came early;
    where outputs have an axis of time, the larger of both shares counts.
    """
    steps, time, batch, times = exchange
    if time is None:
        return jnp.asarray(jnp.nan)

    def mixed(x: Array, other: Array) -> Array:
        """The first half of ``other``, the second of ``x``."""
        axes = [axis for axis in range(x.ndim) if axis != time]
        return jnp.where(jnp.expand_dims(jnp.arange(steps) < steps // 2, axes), other, x)

    near = jax.tree.leaves(outputs)
    if batch is None:
        order = jax.random.permutation(key, steps)
        others = jax.tree.map(lambda x: jnp.take(x, order, axis=time), inputs)
        pair = jax.tree.map(lambda x, other: jnp.stack([mixed(x, other), other]), inputs, others)
        both: Any = jax.vmap(model.apply, (None, 0))(variables, pair)
        moved, far = ([y[i] for y in jax.tree.leaves(both)] for i in range(2))
    else:
        others = jax.tree.map(lambda x: jnp.roll(x, 1, batch), inputs)
        moved = jax.tree.leaves(model.apply(variables, jax.tree.map(mixed, inputs, others)))
        far = [jnp.roll(y, 1, 1 if t == 0 else 0) for y, t in zip(near, times, strict=True)]

    def at(step: int) -> tuple[list[Array], ...]:
        """The outputs at a step, or all of one without an axis of time."""
        return tuple(
            [y if t is None else jnp.take(y, step, axis=t) for y, t in zip(ys, times, strict=True)]
            for ys in (moved, near, far)
        )

    last = _ratio(*at(-1))
    if None in times:
        return last
    moved_first, near_first, far_first = at(0)
    first = _ratio(moved_first, far_first, near_first)
    finite = jnp.stack([jnp.isfinite(y).all() for y in (*moved, *near)]).all()
    # The first step may see nothing of what was exchanged; that is no reason to have no answer.
    share = jnp.where(jnp.isnan(first), last, jnp.maximum(last, first))
    return jnp.where(finite, share, jnp.nan)


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
