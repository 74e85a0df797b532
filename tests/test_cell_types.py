"""The table of cells against the cells: what it says of a class is what an instance has."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

import jaxrnn
from jaxrnn.activations import ACTIVATIONS
from jaxrnn.cell_types import CELL_TYPES, cell_types
from jaxrnn.diagnosis import REMEDIES
from jaxrnn.paths import is_recurrent_kernel, named_leaves
from tests.numpy_reference import B, D, N

CLASSES = [(cell, name) for cell in CELL_TYPES if cell.recurrent for name in cell.classes]


def parameters(cell):
    h = cell.initialize_carry(jax.random.key(0), (B, D))
    return dict(named_leaves(cell.init(jax.random.key(1), h, jnp.ones((B, D)))["params"]))


@pytest.mark.parametrize(("described", "name"), CLASSES)
def test_a_cell_has_the_parameters_of_its_description(described, name):
    found = parameters(getattr(jaxrnn if name in jaxrnn.__all__ else nn, name)(N))
    assert {path for path, leaf in found.items() if is_recurrent_kernel(path, leaf)} == set(
        described.recurrent
    )
    if described.arrays:
        optional = {described.arrays[array] for array in described.optional}
        assert set(found) == set(described.arrays.values()) - optional
        of_letters = {path for array, path in described.arrays.items() if array.startswith("W_h")}
        assert of_letters == set(described.recurrent)


def test_every_bias_of_an_activation_is_converted():
    vanilla = cell_types("VanillaCell")[-1]
    bias = set()
    for name in ACTIVATIONS:
        bias |= parameters(jaxrnn.VanillaCell(N, name)).keys() - {"i/kernel", "i/bias", "h/kernel"}
    assert bias == {vanilla.arrays[array] for array in vanilla.optional}


def test_classes_are_distinct_and_remedies_exist():
    classes = [name for cell in CELL_TYPES for name in cell.classes]
    assert len(set(classes)) == len(classes)
    assert {cell.remedy for cell in CELL_TYPES} - {None} <= REMEDIES.keys()


def test_the_name_of_a_wrapped_cell_is_taken_apart():
    truncated, skip, gru = cell_types("TruncatedCell(SkipCell(GRUCell))")
    assert (truncated.classes, truncated.remedy) == (("TruncatedCell",), None)
    assert (skip.remedy, gru.remedy) == ("skip", "gru")
    (own,) = cell_types("CellOfMyOwn")
    assert own == type(own)(("CellOfMyOwn",))
