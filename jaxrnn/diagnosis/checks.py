"""What diagnose refuses: a ValueError that says what was given, instead of a wrong report."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.errors import FlaxError

from jaxrnn.diagnostics import Observation, observe
from jaxrnn.paths import named_leaves

LossFunction = Callable[[Any, Any], Any]


def check(model: nn.Module, variables: Any, batch: Any, loss_fn: LossFunction) -> Observation:
    """The shapes of what ``observe`` will see.

    Raises:
      ValueError: an empty batch; parameters that the model does not have, lacks, or has in another
        shape; inputs that it does not take; what ``observe`` refuses; sequences of length 1.
    """
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise ValueError(f"batch must be (inputs, targets), got {jax.tree.structure(batch)}")
    leaves = jax.tree.leaves(batch[0])
    if not leaves or any(np.size(leaf) == 0 for leaf in leaves):
        raise ValueError(f"the batch is empty: inputs of shape {_shapes(batch[0])}")
    _check_params(model, variables, batch[0])
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


def _check_params(model: nn.Module, variables: Any, inputs: Any) -> None:
    """ValueError unless variables["params"] has the leaves that init would make."""
    if not hasattr(variables, "keys") or "params" not in variables:
        names = ", ".join(variables) if hasattr(variables, "keys") else type(variables).__name__
        raise ValueError(f'variables must have "params", got {names or "none"}')
    keys = {name: jax.random.key(0) for name in ("params", "dropout")}
    try:
        initial: Any = jax.eval_shape(model.init, keys, inputs)
    except (FlaxError, TypeError, ValueError, IndexError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"the model does not take inputs {_shapes(inputs)}: {lines[0]}") from error
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
