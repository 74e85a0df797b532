"""Weights in the letters of the equations, from and to a model's parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrnn import (
    LeakyCell,
    SequenceModel,
    SkipCell,
    StackedModel,
    TruncatedCell,
    VanillaCell,
)
from jaxrnn.convert import from_weights, to_weights
from tests import numpy_reference as reference
from tests.numpy_reference import B, C, D, N, S, T


@pytest.fixture(params=["tanh", "modrelu"])
def activation(request):
    return request.param


def test_from_weights_gives_the_model_of_the_equations(rng, x64, activation):
    weights = reference.random_weights(rng, activation)
    inputs = rng.standard_normal((B, T, D))
    cell = VanillaCell(N, activation, param_dtype=jnp.float64)
    model = SequenceModel(cell, C, param_dtype=jnp.float64)
    outputs = model.apply({"params": from_weights(weights)}, jnp.asarray(inputs))
    hidden = reference.hidden_states(weights, inputs, activation)
    # Rounding of T steps of sums of N + D products of size one: at most 2e-15 over 100 seeds.
    np.testing.assert_allclose(outputs, reference.outputs(weights, hidden), rtol=0, atol=1e-14)


def test_to_weights_gives_arrays_as_the_equations_write_them(rng, x64, activation):
    weights = reference.random_weights(rng, activation)
    back = to_weights(from_weights(weights))
    assert back.keys() == weights.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == np.float64


def test_parameters_of_a_fresh_model_survive_the_way_there_and_back(activation):
    model = SequenceModel(VanillaCell(N, activation), num_outputs=C)
    params = model.init(jax.random.key(0), jnp.zeros((B, T, D)))["params"]
    back = from_weights(to_weights(params))
    assert jax.tree.structure(back) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, back, params)


@pytest.mark.parametrize("cell", [nn.GRUCell(N), nn.LSTMCell(N), nn.OptimizedLSTMCell(N)])
def test_parameters_of_gated_cells_survive_the_way_there_and_back(cell):
    params = SequenceModel(cell, C).init(jax.random.key(0), jnp.zeros((B, T, D)))["params"]
    weights = to_weights(params)
    gates = "rzn" if isinstance(cell, nn.GRUCell) else "ifgo"
    for gate in gates:
        assert weights[f"W_x{gate}"].shape == (N, D)
        assert weights[f"W_h{gate}"].shape == (N, N)
        assert weights[f"b_{gate}"].shape == (N,)
    back = from_weights(weights)
    assert jax.tree.structure(back) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, back, params)


@pytest.mark.parametrize("kind", [VanillaCell, nn.GRUCell, nn.OptimizedLSTMCell])
def test_wrapped_cells_have_the_arrays_of_the_cell_inside(kind):
    cell = TruncatedCell(SkipCell(LeakyCell(kind(N), 0.5), 3), 2)
    params = SequenceModel(cell, C).init(jax.random.key(0), jnp.zeros((B, T, D)))["params"]
    weights = to_weights(params)
    gates = {VanillaCell: "h", nn.GRUCell: "rzn", nn.OptimizedLSTMCell: "ifgo"}[kind]
    assert all(weights[f"W_x{gate}"].shape == (N, D + N) for gate in gates)
    back = from_weights(weights)
    assert jax.tree.structure(back) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, back, params)


def test_layers_have_numbers():
    cells = [VanillaCell(N, "modrelu"), SkipCell(nn.GRUCell(N + 1), 2), nn.LSTMCell(N + 2)]
    params = StackedModel(cells, C).init(jax.random.key(0), jnp.zeros((B, T, D)))["params"]
    weights = to_weights(params)
    assert weights["0/b_modrelu"].shape == (N,)
    assert weights["1/W_xn"].shape == (N + 1, N + N + 1)
    assert weights["2/W_hf"].shape == (N + 2, N + 2)
    assert weights["W_hy"].shape == (C, N + 2)
    back = from_weights(weights)
    assert jax.tree.structure(back) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, back, params)
    weights.pop("1/b_n")
    with pytest.raises(ValueError, match=r"missing arrays \['1/b_n'\], unknown arrays \[\]"):
        from_weights(weights)
    del params["cells_2"]["hi"]
    with pytest.raises(ValueError, match="cells_2/hi/kernel is missing"):
        to_weights(params)


def test_leading_dimensions_of_seeds_are_kept(rng, x64, activation):
    seeds = [reference.random_weights(rng, activation) for _ in range(S)]
    stacked = {name: np.stack([weights[name] for weights in seeds]) for name in seeds[0]}
    params = from_weights(stacked)
    assert params["cell"]["i"]["kernel"].shape == (S, D, N)
    jax.tree.map(
        np.testing.assert_array_equal,
        jax.tree.map(lambda leaf: leaf[4], params),
        from_weights(seeds[4]),
    )
    for name, array in to_weights(params).items():
        np.testing.assert_array_equal(array, stacked[name])


def test_missing_and_unknown_arrays_are_named(rng):
    weights = reference.random_weights(rng)
    b_y = weights.pop("b_y")
    with pytest.raises(ValueError, match=r"missing arrays \['b_y'\], unknown arrays \[\]"):
        from_weights(weights)
    with pytest.raises(ValueError, match=r"missing arrays \[\], unknown arrays \['W_yy'\]"):
        from_weights(weights | {"b_y": b_y, "W_yy": b_y})


@pytest.mark.parametrize("name", ["0/W_hn", "1/b_i", "W_hy", "1/W_xo"])
def test_sizes_that_do_not_fit_the_others_are_named(rng, name):
    params = StackedModel([nn.GRUCell(N), nn.LSTMCell(N + 1)], C).init(
        jax.random.key(0), jnp.zeros((B, T, D))
    )["params"]
    weights = to_weights(params)
    with pytest.raises(ValueError, match="does not fit the other arrays"):
        from_weights(weights | {name: np.concatenate([weights[name]] * 2, -1)})
    with pytest.raises(ValueError, match="does not fit the other arrays"):  # of one seed alone
        from_weights(weights | {name: weights[name][None]})


def test_parameters_of_another_model_are_refused(rng):
    model = SequenceModel(nn.MGUCell(N), num_outputs=C)
    params = model.init(jax.random.key(0), jnp.zeros((B, T, D)))["params"]
    with pytest.raises(ValueError, match=r"parameter .* is missing"):
        to_weights(params)
    with pytest.raises(ValueError, match="cell/i/kernel"):
        to_weights({"params": from_weights(reference.random_weights(rng))})


def test_unknown_parameters_are_not_dropped_in_silence(rng):
    params = from_weights(reference.random_weights(rng))
    params["cell"]["h"]["bias"] = jnp.ones(N)
    with pytest.raises(ValueError, match="cell/h/bias"):
        to_weights(params)


def test_tensors_and_parameters_of_pytorch(rng):
    import torch

    weights = reference.random_weights(rng)
    expected = from_weights({name: np.float32(array) for name, array in weights.items()})
    tensors = {name: torch.tensor(np.float32(array)) for name, array in weights.items()}
    for made in (torch.nn.Parameter, lambda tensor: tensor.requires_grad_()):
        found = from_weights({name: made(tensor.clone()) for name, tensor in tensors.items()})
        assert_trees_equal(found, expected)
    halves = {name: tensor.bfloat16().requires_grad_() for name, tensor in tensors.items()}
    rounded = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), expected)
    assert_trees_equal(from_weights(halves), rounded)


@pytest.mark.parametrize("wrong", [None, "W", 3.0, [[1, 2]], [[1.0], [1.0, 2.0]], [1j]])
def test_what_is_no_array_of_real_numbers_is_named(rng, wrong):
    weights = reference.random_weights(rng)
    with pytest.raises(ValueError, match="W_hh must be an array of real numbers"):
        from_weights({**weights, "W_hh": wrong})


def assert_trees_equal(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(np.float32(one), np.float32(other))
