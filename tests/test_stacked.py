"""Layers on top of each other, against one layer after the other, and what dropout drops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrnn import SequenceModel, SkipCell, StackedModel, VanillaCell, bptt
from jaxrnn.diagnostics import observe
from tests.diagnostics.unrolled import random_problem
from tests.numpy_reference import B, C, D, N, T
from tests.trees import assert_trees_close

# Rounding of T steps of three layers, of sums of some 2N products: at most 3e-15 over 100 seeds.
FLOAT64 = {"rtol": 0, "atol": 1e-14}
ROUNDING = {"rtol": 0, "atol": 1e-12}  # the same there and back, of gradients of size ten
WIDE = {"param_dtype": jnp.float64}


def cells():
    return [
        VanillaCell(N, **WIDE),
        SkipCell(nn.GRUCell(N + 1, **WIDE), 2),
        VanillaCell(N + 2, "relu", **WIDE),
    ]


def layer_by_layer(params, x, seq_lengths=None):
    """The outputs and the carries after the last step."""
    carries = []
    for i, cell in enumerate(cells()):
        carry, x = nn.RNN(cell, return_carry=True).apply(
            {"params": {"cell": params[f"cells_{i}"]}}, x, seq_lengths=seq_lengths
        )
        carries.append(carry)
    return x @ params["readout"]["kernel"] + params["readout"]["bias"], tuple(carries)


def loss_fn(outputs, targets):
    return jnp.sum((outputs - targets) ** 2) / 2


@pytest.mark.parametrize("chunk", [None, 2])
def test_outputs_carries_and_gradients_are_those_of_the_layers(rng, x64, monkeypatch, chunk):
    if chunk:  # steps of the fused layers
        monkeypatch.setattr(bptt, "CHUNK_BYTES", chunk * B * (N + 2) * 8)
    model = StackedModel(cells(), C, **WIDE)
    variables, x = random_problem(rng, model)
    targets = jnp.asarray(rng.standard_normal((B, T, C)))
    carry, outputs = model.apply(variables, x, return_carry=True)
    expected, carries = layer_by_layer(variables["params"], x)
    np.testing.assert_allclose(outputs, expected, **FLOAT64)
    assert_trees_close(carry, carries, **FLOAT64)
    gradients, expected = (
        jax.jit(jax.grad(lambda p, f=f: loss_fn(f(p), targets)))(variables["params"])
        for f in (
            lambda p: model.apply({"params": p}, x),
            lambda p: layer_by_layer(p, x)[0],
        )
    )
    assert_trees_close(gradients, expected, **ROUNDING)
    seen = jax.jit(lambda v: observe(model, v, (x, targets), loss_fn))(variables)
    assert_trees_close(seen.gradients, expected, **ROUNDING)
    assert list(seen.layers) == ["cells_0", "cells_1", "cells_2"]
    assert seen.layers["cells_2"].states.shape == (T + 1, B, N + 2)


def test_the_last_valid_step_and_the_carry(rng, x64):
    model = StackedModel(cells(), C, last_only=True, **WIDE)
    variables, x = random_problem(rng, model)
    lengths = np.array([2, 5, 3])
    outputs = model.apply(variables, x, seq_lengths=jnp.asarray(lengths))
    expected, _ = layer_by_layer(variables["params"], x, jnp.asarray(lengths))
    np.testing.assert_allclose(outputs, expected[np.arange(B), lengths - 1], **FLOAT64)
    carry, _ = model.apply(variables, x[:, :3], return_carry=True)
    rest = model.apply(variables, x[:, 3:], initial_carry=carry)
    expected, _ = layer_by_layer(variables["params"], x)
    np.testing.assert_allclose(rest, expected[:, -1], **FLOAT64)


def test_one_layer_is_a_sequence_model(rng, x64):
    stacked = StackedModel([VanillaCell(N, **WIDE)], C, dropout_rate=0.5, **WIDE)
    variables, x = random_problem(rng, stacked)
    params = variables["params"]
    plain = {"cell": params["cells_0"], "readout": params["readout"]}
    expected = SequenceModel(VanillaCell(N, **WIDE), C, **WIDE).apply({"params": plain}, x)
    np.testing.assert_array_equal(stacked.apply(variables, x), expected)
    # Nothing to drop before the readout.
    key = {"dropout": jax.random.key(0)}
    np.testing.assert_array_equal(stacked.apply(variables, x, train=True, rngs=key), expected)


def test_dropout_is_between_layers_and_nowhere_else():
    rate, T = 0.3, 200
    model = StackedModel([VanillaCell(N), VanillaCell(N, "identity")], N, dropout_rate=rate)
    x = jax.random.normal(jax.random.key(0), (B, T, D))
    params = model.init(jax.random.key(1), x)["params"]
    # The second layer and the readout pass on what they are given.
    nothing = jnp.zeros(N)
    params["cells_1"] = {
        "i": {"kernel": jnp.eye(N), "bias": nothing},
        "h": {"kernel": jnp.zeros((N, N))},
    }
    params["readout"] = {"kernel": jnp.eye(N), "bias": nothing}
    variables = {"params": params}
    carry, kept = model.apply(variables, x, return_carry=True)
    np.testing.assert_array_equal(kept, model.apply(variables, x))
    dropped_carry, dropped = model.apply(
        variables, x, train=True, return_carry=True, rngs={"dropout": jax.random.key(2)}
    )
    np.testing.assert_array_equal(carry[0], dropped_carry[0])
    is_zero = np.asarray(dropped == 0)
    np.testing.assert_allclose(dropped, np.where(is_zero, 0, kept / (1 - rate)), rtol=1e-5)
    # Five standard errors of a share of B T N draws.
    assert abs(is_zero.mean() - rate) < 5 * np.sqrt(rate * (1 - rate) / is_zero.size)
    # A mask for each step and sequence.
    assert len(np.unique(is_zero.reshape(B * T, N), axis=0)) > 100
    other = model.apply(variables, x, train=True, rngs={"dropout": jax.random.key(3)})
    assert (other != dropped).any()


TWICE = VanillaCell(N)


@pytest.mark.parametrize(
    ("cells", "rate", "message"),
    [
        ([], 0.0, "cells must be one or more, got none"),
        ([VanillaCell(N)], 1.0, r"dropout_rate must be in \[0, 1\), got 1.0"),
        ([VanillaCell(N)], float("nan"), r"dropout_rate must be in \[0, 1\), got nan"),
        (VanillaCell(N), 0.0, r"cells must be a list of cells, .* got VanillaCell\("),
        ([5, 6], 0.0, "each of cells must be an RNNCellBase, got 5"),
        ([TWICE, TWICE], 0.0, "a different cell, got the same one twice"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named(cells, rate, message):
    with pytest.raises(ValueError, match=message):
        StackedModel(cells, C, dropout_rate=rate)


@pytest.mark.usefixtures("unchecked")
def test_an_initial_carry_of_other_layers_is_named():
    model, x = StackedModel([VanillaCell(N), VanillaCell(N)], C), jnp.zeros((2, T, D))
    variables = model.init(jax.random.key(0), x)
    h = jnp.zeros((2, N))
    for carry, got in (((h,), "a tuple of 1"), ([h] * 3, "a list of 3"), (h, "ArrayImpl")):
        with pytest.raises(ValueError, match=f"must be a tuple of 2 carries, .* got {got}"):
            model.apply(variables, x, initial_carry=carry)
