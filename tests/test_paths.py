"""Names of leaves, and which of them are recurrent kernels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from jaxrnn.paths import as_predicate, is_recurrent_kernel, named_leaves


class Block(struct.PyTreeNode):
    weight: jax.Array
    bias: jax.Array


def test_named_leaves_joins_keys_indices_and_fields_in_the_order_of_the_leaves():
    tree = {"b": [np.zeros(1), np.ones(2)], "a": Block(jnp.ones(3), jnp.zeros(4)), "c": None}
    leaves = named_leaves(tree)
    assert [path for path, _ in leaves] == ["a/weight", "a/bias", "b/0", "b/1"]
    assert all(
        leaf is other for (_, leaf), other in zip(leaves, jax.tree.leaves(tree), strict=True)
    )


@pytest.mark.parametrize(
    "path",
    [
        "h/kernel",
        "params/cell/h/kernel",
        *(f"cell/h{gate}/kernel" for gate in ("i", "f", "g", "o", "r", "z", "n")),
        "cell/dense_h/kernel",
        "cell/dense_h/kernel/value",
    ],
)
def test_square_hidden_kernels_are_recurrent(path):
    assert is_recurrent_kernel(path, np.zeros((7, 7)))
    assert is_recurrent_kernel(path, np.zeros((2, 3, 7, 7)))
    assert not is_recurrent_kernel(path, np.zeros((7, 6)))
    assert not is_recurrent_kernel(path, np.zeros(7))


@pytest.mark.parametrize(
    "path",
    [
        "cell/i/kernel",
        "cell/h/bias",
        "readout/kernel",
        "kernel",
        "cell/hh/kernel",  # ConvLSTM's
        "cell/batch/kernel",
        "cell/dense_hidden/kernel",
        "cell/h/kernel/scale",
        "cell/h/kernel_norm",
    ],
)
def test_other_square_leaves_are_not(path):
    assert not is_recurrent_kernel(path, np.zeros((7, 7)))


def test_a_predicate_is_itself_a_pattern_is_searched_and_none_is_the_default():
    def predicate(path, leaf):
        return leaf.ndim == 3

    assert as_predicate(predicate) is predicate
    assert as_predicate(None) is is_recurrent_kernel
    searched = as_predicate(r"l[12]/w$")
    assert searched("net/l2/w", None)
    assert not searched("net/l3/w", None)
    assert not searched("net/l2/w/0", None)


def test_a_pattern_that_does_not_compile_is_named():
    with pytest.raises(ValueError, match=r"where='h\[' is not a regular expression: unterminated"):
        as_predicate("h[")
