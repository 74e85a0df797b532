"""What diagnose refuses: a ValueError that says what was given, instead of a wrong report."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.errors import FlaxError

from jaxrnn.array_checks import check_module
from jaxrnn.checks import check_function
from jaxrnn.diagnostics import Observation, observe
from jaxrnn.diagnostics.observation import split
from jaxrnn.paths import named_leaves

LossFunction = Callable[[Any, Any], Any]
# What a model raises that does not take what it is given.
REFUSALS = (FlaxError, TypeError, ValueError, IndexError, AttributeError)


def check(model: nn.Module, variables: Any, batch: Any, loss_fn: LossFunction) -> Observation:
    """The shapes of what ``observe`` will see.

    Raises:
      ValueError: no model; an empty batch, or one that is not of numbers; parameters that the model
        does not have, lacks, or has in another shape; inputs or variables that it does not run
        with; what ``observe`` refuses; sequences of length 1.
    """
    check_module("model", model)
    check_function("loss_fn", loss_fn)
    inputs, targets = split(batch)
    for leaf in jax.tree.leaves(inputs):
        if not hasattr(leaf, "dtype"):
            raise ValueError(f"inputs must be arrays, got {type(leaf).__name__} {leaf!r:.40}")
    for name, tree in (("inputs", inputs), ("targets", targets)):
        for leaf in jax.tree.leaves(tree):
            dtype = leaf.dtype if hasattr(leaf, "dtype") else np.asarray(leaf).dtype
            if isinstance(dtype, np.dtype) and dtype.kind in "OSUMm":
                raise ValueError(f"{name} must be numbers, got {dtype}")
            if np.size(leaf) == 0:
                raise ValueError(f"the batch is empty: {name} of shape {_shapes(tree)}")
    if not jax.tree.leaves(inputs):
        raise ValueError("the batch is empty: there are no inputs")
    _check_variables(model, variables, inputs)
    seen = jax.eval_shape(lambda v, b: observe(model, v, b, loss_fn), variables, batch)
    lengths = {
        path: jax.tree.leaves(layer.states)[-1].shape[0] - 1 for path, layer in seen.layers.items()
    }
    if max(lengths.values()) < 2:
        raise ValueError(
            "sequences must have 2 steps or more to see anything over time, got inputs "
            f"{_shapes(batch[0])} and {max(lengths.values())} step in {', '.join(lengths)}"
        )
    return seen


def _shapes(tree: Any) -> str:
    return ", ".join(f"{np.shape(leaf)} {jnp.result_type(leaf)}" for leaf in jax.tree.leaves(tree))


def _check_variables(model: nn.Module, variables: Any, inputs: Any) -> None:
    """ValueError unless variables["params"] has the leaves that init would make, and the model
    runs with them and with what other variables there are."""
    if not hasattr(variables, "keys") or "params" not in variables:
        names = ", ".join(variables) if hasattr(variables, "keys") else type(variables).__name__
        raise ValueError(f'variables must have "params", got {names or "none"}')
    keys = {name: jax.random.key(0) for name in ("params", "dropout")}
    try:
        initial: Any = jax.eval_shape(model.init, keys, inputs)
    except REFUSALS as error:
        raise ValueError(
            f"the model does not take inputs {_shapes(inputs)}: {_first_line(error)}"
        ) from error
    initial = nn.meta.unbox(initial)
    wanted = dict(named_leaves(initial.get("params", {})))
    given = dict(named_leaves(variables["params"]))
    for path, leaf in given.items():
        if path not in wanted:
            raise ValueError(f"the model has no parameter {path}; it has {', '.join(wanted)}")
        if np.shape(leaf) != wanted[path].shape:
            raise ValueError(f"parameter {path} must be {wanted[path].shape}, got {np.shape(leaf)}")
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise ValueError(f"parameter {path} must be real, got {jnp.result_type(leaf)}")
    if missing := wanted.keys() - given.keys():
        raise ValueError(f"parameters lack {', '.join(sorted(missing))}")
    for name in set(variables) & set(initial):
        shapes = {path: leaf.shape for path, leaf in named_leaves(initial[name])}
        for path, leaf in named_leaves(variables[name]):
            if np.shape(leaf) != shapes.get(path, np.shape(leaf)):
                raise ValueError(f"{name} {path} must be {shapes[path]}, got {np.shape(leaf)}")
    try:
        jax.eval_shape(model.apply, variables, inputs)
    except REFUSALS as error:
        raise ValueError(
            f"model.apply(variables, inputs) does not run with the variables "
            f"{', '.join(variables)}: {_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
