"""Naming the leaves of a parameter tree, and finding the recurrent kernels among them.

A leaf's path is its keys joined by "/": ``params/cell/h/kernel``.
"""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Predicate = Callable[[str, Any], bool]

# The hidden-to-hidden kernels of Flax's cells: linen names them h (SimpleCell, and VanillaCell
# here), hi hf hg ho (LSTM), hr hz hn (GRU), hf hn (MGU); nnx names them dense_h. ConvLSTM's hh, a
# convolution with leading spatial dimensions, is no batch of matrices.
_RECURRENT_KERNEL = re.compile(r"(^|/)(h[ifgorzn]?|dense_h)/kernel(/value)?$")


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
    try:
        pattern = re.compile(where)
    except re.error as error:
        raise ValueError(f"where={where!r} is not a regular expression: {error}") from None
    return lambda path, leaf: pattern.search(path) is not None
