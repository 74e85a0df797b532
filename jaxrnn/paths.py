"""Naming the leaves of a parameter tree, and finding the recurrent kernels among them.

A leaf's path is its keys joined by "/": ``params/cell/h/kernel``.
"""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.cell_types import CELL_TYPES
from jaxrnn.checks import described

Predicate = Callable[[str, Any], bool]

# Of linen's cells, and of nnx's, which name theirs dense_h. ConvLSTM's hh, a convolution with
# leading spatial dimensions, is no batch of matrices.
_RECURRENT = {path for cell in CELL_TYPES for path in cell.recurrent} | {"dense_h/kernel"}
_RECURRENT_KERNEL = re.compile(rf"(^|/)({'|'.join(map(re.escape, sorted(_RECURRENT)))})(/value)?$")


def named_leaves(tree: Any) -> list[tuple[str, Any]]:
    """Every leaf with its path, in the order of ``jax.tree.leaves``."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in leaves]


def is_recurrent_kernel(path: str, leaf: Any) -> bool:
    """Whether a leaf is a square (..., N, N) hidden-to-hidden kernel of a Flax cell, by name."""
    shape = jnp.shape(leaf)
    square = len(shape) >= 2 and shape[-1] == shape[-2]
    return square and _RECURRENT_KERNEL.search(path) is not None


def as_predicate(where: Predicate | str | None) -> Predicate:
    """A predicate as it is; a regular expression searched in the path; None: recurrent kernels.

    Raises:
      ValueError: the regular expression does not compile.
    """
    if where is None:
        return is_recurrent_kernel
    if callable(where):
        return where
    if not isinstance(where, str):
        raise ValueError(f"where must be a function or a regular expression, got {where!r:.40}")
    try:
        pattern = re.compile(where)
    except re.error as error:
        raise ValueError(f"where={where!r:.40} is not a regular expression: {error}") from None
    return lambda path, leaf: pattern.search(path) is not None


def _as_bool(chosen: Any) -> bool:
    """What a predicate gives, True or False or another's truth value, such as that of a match."""
    if np.shape(chosen) != ():
        raise ValueError(f"where must give True or False, got {described(chosen)}")
    return bool(chosen)


def selected_matrices(params: Any, where: Predicate | str | None, caller: str) -> list[int]:
    """Places among ``jax.tree.leaves`` of what ``where`` selects.

    Raises:
      ValueError: nothing is selected, or a leaf that is not a square floating-point matrix.
    """
    selects, leaves = as_predicate(where), named_leaves(params)
    chosen = [i for i, (path, leaf) in enumerate(leaves) if _as_bool(selects(path, leaf))]
    if not chosen:
        listing = ", ".join(f"{path} {jnp.shape(leaf)}" for path, leaf in leaves)
        raise ValueError(f"{caller}: where= selects none of the leaves: {listing or 'no leaves'}")
    for path, leaf in (leaves[i] for i in chosen):
        shape = jnp.shape(leaf)
        if len(shape) < 2 or shape[-1] != shape[-2]:
            raise ValueError(f"{caller} needs square matrices: {path} has shape {shape}")
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise ValueError(f"{caller} needs floating point: {path} is {leaf.dtype}")
    return chosen
