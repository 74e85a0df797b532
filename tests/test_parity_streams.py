"""Truncated BPTT on streams, and gated cells: both frameworks from the same weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen as nn

import jaxrnn
import torch_ref
from jaxrnn import SequenceModel, VanillaCell, convert
from jaxrnn.text import StreamBatch
from tests import numpy_reference as reference
from tests.numpy_reference import B, C, K, N, T

pytestmark = pytest.mark.usefixtures("one_torch_thread")
CELLS = {
    "vanilla": (VanillaCell, torch_ref.VanillaCell),
    "gru": (nn.GRUCell, torch_ref.GRUCell),
    "lstm": (nn.OptimizedLSTMCell, torch_ref.LSTMCell),
}
CLIP = 0.03
# Rounding of K training steps of gates, sums of N + C products and Adam: at most 4e-15 over the
# three cells and 12 seeds.
CLOSE = {"rtol": 0, "atol": 1e-13}


@pytest.fixture(params=CELLS)
def cell(request, x64):
    return request.param


def jax_model(cell):
    kind = CELLS[cell][0]
    inits = {name: nn.initializers.normal(0.4) for name in ("kernel_init", "bias_init")}
    options = inits | {"recurrent_kernel_init": nn.initializers.normal(0.4)}
    inner = kind(N, param_dtype=jnp.float64, **options)
    return SequenceModel(inner, C, param_dtype=jnp.float64, **inits)


def torch_model(cell, weights):
    model = torch_ref.SequenceModel(CELLS[cell][1](C, N, dtype=torch.float64), C)
    torch_ref.convert.load_weights(model, weights)
    return model


def initial(cell, seed=0):
    """Random weights, biases too, in the letters of the equations."""
    variables = jax_model(cell).init(jax.random.key(seed), jnp.zeros((1, 1, C)))
    return convert.to_weights(variables["params"])


def random_carry(cell, rng):
    parts = rng.standard_normal((2, B, N)) / 2
    return tuple(parts) if cell == "lstm" else parts[0]


def trained_in_jax(cell, weights, carry, batches):
    optimizer = jaxrnn.optimizers.adam(1e-2, CLIP)
    params, carry = convert.from_weights(weights), jax.tree.map(jnp.asarray, carry)
    state = jaxrnn.TrainState.create(params, optimizer, carry)
    loss = jaxrnn.training.stream_loss(jax_model(cell), C)
    state, measured = jax.jit(jaxrnn.training.make_train_chunk(loss, optimizer, devices=1))(
        state, batches
    )
    return convert.to_weights(state.params), state.carry, measured


def trained_in_torch(cell, weights, carry, batches):
    model = torch_model(cell, weights)
    optimizer = torch_ref.optimizers.adam(model, 1e-2)
    carry = jax.tree.map(torch.tensor, carry)
    state = torch_ref.TrainState(model, optimizer, CLIP, carry=carry)
    chunk = torch_ref.training.make_train_chunk(torch_ref.training.stream_loss(C))
    measured = chunk(state, batches)
    return torch_ref.convert.to_weights(model), state.carry, measured


def differences(rng, cell):
    """The largest difference of each quantity after a chunk of training in both frameworks."""
    tokens, is_fresh = rng.integers(0, C, (2, K, B, T)), rng.random((K, B)) < 0.3
    batches = StreamBatch(*tokens, is_fresh)
    carry, weights = random_carry(cell, rng), initial(cell)
    ours, theirs = (
        train(cell, weights, carry, batches) for train in (trained_in_jax, trained_in_torch)
    )
    assert (ours[2].grad_norm > CLIP).mean() > 0.5
    pairs = {name: (ours[0][name], theirs[0][name]) for name in weights}
    pairs["carry"] = tuple(np.stack(jax.tree.leaves(side[1])) for side in (ours, theirs))
    for name in ("loss", "accuracy", "grad_norm"):
        pairs[name] = tuple(getattr(side[2], name) for side in (ours, theirs))
    return {name: np.abs(a - b).max() for name, (a, b) in pairs.items()}


def test_training_on_streams(rng, cell):
    found = differences(rng, cell)
    found.pop("accuracy")  # float32 in JAX
    assert max(found.values()) < CLOSE["atol"], found


def test_outputs_and_carry(rng, cell):
    weights, carry = initial(cell), random_carry(cell, rng)
    inputs = rng.standard_normal((B, T, C))
    variables = {"params": convert.from_weights(weights)}
    ours = jax_model(cell).apply(
        variables, jnp.asarray(inputs), jax.tree.map(jnp.asarray, carry), True
    )
    theirs = torch_model(cell, weights)(
        torch.tensor(inputs), jax.tree.map(torch.tensor, carry), True
    )
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b.detach().numpy(), **CLOSE)


def test_a_dropped_carry_is_caught(rng, cell, monkeypatch):
    apply = SequenceModel.__call__

    def forgetful(self, inputs, initial_carry=None, return_carry=False, **options):
        return apply(self, inputs, None, return_carry, **options)

    monkeypatch.setattr(SequenceModel, "__call__", forgetful)
    assert differences(rng, cell)["loss"] > 1e-4


def test_a_fresh_stream_that_goes_on_is_caught(rng, cell, monkeypatch):
    stream_loss = jaxrnn.training.stream_loss

    def without_end(*arguments):
        loss = stream_loss(*arguments)
        return lambda params, batch, carry: loss(
            params, batch._replace(is_fresh=jnp.zeros_like(batch.is_fresh)), carry
        )

    monkeypatch.setattr(jaxrnn.training, "stream_loss", without_end)
    assert differences(rng, cell)["loss"] > 1e-4


def test_two_biases_are_caught(rng, x64, monkeypatch):
    # torch's own: a second bias that trains in every gate, and counts in the clipping norm.
    monkeypatch.setattr(torch_ref.GRUCell, "__init__", two_biases)
    assert differences(rng, "gru")["b_r"] > 1e-4


def two_biases(self, num_inputs, features, **options):
    torch.nn.GRU.__init__(self, num_inputs, features, batch_first=True, **options)
    torch.nn.init.zeros_(self.bias_hh_l0)


def test_streams_against_numpy(rng, x64):
    """A step's gradient reaches back to the carry and no further."""
    weights = reference.random_weights(rng) | {"W_xh": rng.standard_normal((N, C))}
    tokens, classes = rng.integers(0, C, (2, B, T))
    carry = rng.standard_normal((B, N)) / 2
    loss = jaxrnn.training.stream_loss(
        SequenceModel(VanillaCell(N, param_dtype=jnp.float64), C, param_dtype=jnp.float64), C
    )
    is_fresh = np.arange(B) == 1
    batch = jnp.asarray(tokens), jnp.asarray(classes), jnp.asarray(is_fresh)
    grads, (_, last) = jax.grad(loss, has_aux=True)(
        convert.from_weights(weights), batch, jnp.asarray(carry)
    )
    carry[is_fresh] = 0
    outputs, hidden = jaxrnn.numpy_rnn.forward(weights, np.eye(C)[tokens], carry)
    _, dy = jaxrnn.numpy_rnn.cross_entropy(outputs, classes)
    expected = jaxrnn.numpy_rnn.backward(weights, np.eye(C)[tokens], hidden, dy)
    np.testing.assert_allclose(last, hidden[:, -1], **CLOSE)
    for name, gradient in convert.to_weights(grads).items():
        np.testing.assert_allclose(gradient, expected[name], **CLOSE)
