"""The sequence model: the recurrence over T steps, then the readout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrnn import SequenceModel, VanillaCell
from jaxrnn.convert import from_weights
from tests import numpy_reference as reference
from tests.numpy_reference import B, C, D, N, T

# Rounding of T steps of sums of N + D products of size one: at most 2e-15 over 100 seeds.
FLOAT64 = {"rtol": 0, "atol": 1e-14}


def random_model(rng, activation="tanh", **options):
    """A float64 model, its variables, and the same weights in NumPy."""
    weights = reference.random_weights(rng, activation)
    cell = VanillaCell(N, activation, param_dtype=jnp.float64)
    model = SequenceModel(cell, C, param_dtype=jnp.float64, **options)
    return model, {"params": from_weights(weights)}, weights


@pytest.mark.parametrize("activation", reference.ACTIVATIONS)
def test_outputs_and_carry_are_those_of_the_equations(rng, x64, activation):
    model, variables, weights = random_model(rng, activation)
    inputs, h_0 = rng.standard_normal((B, T, D)), rng.standard_normal((B, N))
    carry, outputs = model.apply(
        variables, jnp.asarray(inputs), initial_carry=jnp.asarray(h_0), return_carry=True
    )
    hidden = reference.hidden_states(weights, inputs, activation, h_0)
    np.testing.assert_allclose(outputs, reference.outputs(weights, hidden), **FLOAT64)
    np.testing.assert_allclose(carry, hidden[:, -1], **FLOAT64)


def test_last_only_reads_out_the_last_step(rng, x64):
    model, variables, weights = random_model(rng, last_only=True)
    inputs = rng.standard_normal((B, T, D))
    outputs = model.apply(variables, jnp.asarray(inputs))
    hidden = reference.hidden_states(weights, inputs)[:, -1]
    np.testing.assert_allclose(outputs, reference.outputs(weights, hidden), **FLOAT64)


def test_the_carry_continues_a_sequence(rng, x64):
    model, variables, _ = random_model(rng)
    inputs = jnp.asarray(rng.standard_normal((B, T, D)))
    whole = model.apply(variables, inputs)
    carry, first = model.apply(variables, inputs[:, :2], return_carry=True)
    rest = model.apply(variables, inputs[:, 2:], initial_carry=carry)
    np.testing.assert_allclose(np.concatenate([first, rest], axis=1), whole, **FLOAT64)


@pytest.mark.parametrize("cell_class", [nn.LSTMCell, nn.GRUCell])
def test_flax_cells_with_gates(rng, x64, cell_class):
    cell = cell_class(N, param_dtype=jnp.float64, bias_init=nn.initializers.normal())
    model = SequenceModel(
        cell, C, param_dtype=jnp.float64, bias_init=nn.initializers.normal(), last_only=True
    )
    inputs = jnp.asarray(rng.standard_normal((B, T, D)))
    variables = jax.jit(model.init)(jax.random.key(0), inputs)
    carry, outputs = model.apply(variables, inputs, return_carry=True)

    params = variables["params"]
    expected_carry = cell.initialize_carry(jax.random.key(0), (B, D))
    step = jax.jit(cell.apply)
    for t in range(T):
        expected_carry, h = step({"params": params["cell"]}, expected_carry, inputs[:, t])
    readout = params["readout"]
    expected = np.asarray(h) @ np.asarray(readout["kernel"]) + np.asarray(readout["bias"])
    np.testing.assert_allclose(outputs, expected, **FLOAT64)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **FLOAT64), carry, expected_carry)


def test_parameters_are_the_cells_and_the_readouts(rng):
    model = SequenceModel(
        VanillaCell(N),
        C,
        kernel_init=nn.initializers.constant(2.0),
        bias_init=nn.initializers.constant(3.0),
    )
    params = model.init(jax.random.key(0), jnp.zeros((B, T, D)))["params"]
    assert params.keys() == {"cell", "readout"}
    assert jax.tree.map(jnp.shape, params["cell"]) == {
        "i": {"kernel": (D, N), "bias": (N,)},
        "h": {"kernel": (N, N)},
    }
    np.testing.assert_array_equal(params["readout"]["kernel"], np.full((N, C), 2.0))
    np.testing.assert_array_equal(params["readout"]["bias"], np.full(C, 3.0))


def test_each_part_has_the_parameter_dtype_asked_for():
    cell = VanillaCell(N, "modrelu", param_dtype=jnp.float16)
    model = SequenceModel(cell, C, param_dtype=jnp.bfloat16)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((B, T, D), jnp.float16))
    cell, readout = (jax.tree.leaves(shapes["params"][part]) for part in ("cell", "readout"))
    assert all(leaf.dtype == jnp.float16 for leaf in cell)
    assert all(leaf.dtype == jnp.bfloat16 for leaf in readout)


def test_bfloat16_runs_with_float32_parameters(rng):
    weights = reference.random_weights(rng)
    inputs = rng.standard_normal((B, T, D))
    model = SequenceModel(VanillaCell(N, dtype=jnp.bfloat16), C, dtype=jnp.bfloat16)
    variables = {"params": jax.tree.map(jnp.float32, from_weights(weights))}
    carry, outputs = model.apply(variables, jnp.asarray(inputs, jnp.float32), return_carry=True)
    assert carry.dtype == outputs.dtype == jnp.bfloat16
    expected = reference.outputs(weights, reference.hidden_states(weights, inputs))
    # Each of T steps rounds sums of size one, by eps = 2^-7; at most 2.5 eps over 100 seeds.
    np.testing.assert_allclose(outputs.astype(jnp.float32), expected, rtol=0, atol=T * 2.0**-7)


@pytest.mark.parametrize("shape", ["b, 7, 4", "3, t, 4", "b, t, 4"])
@pytest.mark.parametrize("cell", [VanillaCell(5, "modrelu"), nn.GRUCell(5)], ids=["vanilla", "gru"])
def test_a_program_is_exported_for_any_batch_and_length(rng, cell, shape, unchecked):
    model, x = SequenceModel(cell, 2), jnp.asarray(rng.standard_normal((3, 7, 4)), jnp.float32)
    variables = model.init(jax.random.key(0), x)
    symbolic = jax.ShapeDtypeStruct(jax.export.symbolic_shape(shape), jnp.float32)
    exported = jax.export.export(jax.jit(lambda x: model.apply(variables, x)))(symbolic)
    # The same sums, perhaps by another path: some eps.
    expected = model.apply(variables, x)
    np.testing.assert_allclose(exported.call(x), expected, rtol=1e-5, atol=1e-6)
