"""Sizes and counts that are no whole numbers, or too small, wherever they are given."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxrnn import SequenceModel, SkipCell, StackedModel, TruncatedCell, VanillaCell
from jaxrnn.checks import check_whole
from jaxrnn.training import make_train_chunk

GRU = nn.GRUCell(3)


@pytest.mark.parametrize(
    ("name", "least", "make"),
    [
        ("features", 1, VanillaCell),
        ("num_outputs", 1, lambda value: SequenceModel(GRU, value)),
        ("num_outputs", 1, lambda value: StackedModel([GRU], value)),
        ("steps", 2, lambda value: SkipCell(GRU, value)),
        ("steps", 1, lambda value: TruncatedCell(GRU, value)),
        ("track_every", 1, lambda value: make_train_chunk(max, optax.sgd(0.1), value)),
    ],
)
def test_sizes(name, least, make, unchecked):
    for value in (least - 1, -3, 1.5, "a", None, np.nan, jnp.ones(2)):
        with pytest.raises(ValueError, match=f"^{name} must be a whole number, {least} or more"):
            make(value)
    for value in (least, np.int64(least + 1)):
        make(value)


def test_what_is_whole():
    check_whole("n", np.int32(0), least=0)
    with pytest.raises(ValueError, match=r"^n must be a whole number, 1 or more, got 0$"):
        check_whole("n", 0)
