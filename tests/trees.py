"""Pytrees of arrays, compared and measured."""

import jax
import numpy as np


def assert_trees_close(actual, expected, **tolerance):
    """The same structure, and every leaf as np.testing.assert_allclose has it."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, **tolerance)


def global_norm(tree):
    """‖x‖₂ of all leaves as one vector."""
    return np.sqrt(sum((np.asarray(leaf) ** 2).sum() for leaf in jax.tree.leaves(tree)))
