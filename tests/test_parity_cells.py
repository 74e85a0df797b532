"""Cells around cells, and projection gate by gate: both frameworks from the same weights."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import linen as nn

import jaxrnn
import torch_ref
from jaxrnn import SequenceModel, VanillaCell, convert
from jaxrnn.text import StreamBatch
from tests.numpy_reference import B, C, N, T
from tests.trees import assert_trees_close

CELLS = {
    "vanilla": (VanillaCell, torch_ref.VanillaCell),
    "gru": (nn.GRUCell, torch_ref.GRUCell),
    "lstm": (nn.OptimizedLSTMCell, torch_ref.LSTMCell),
}
# The same calls in both.
WRAPPERS = {
    "leaky": lambda side, cell: side.LeakyCell(cell, 0.3),
    "skip": lambda side, cell: side.SkipCell(cell, 3),
    "truncated": lambda side, cell: side.TruncatedCell(cell, 2),
    "all": lambda side, cell: side.TruncatedCell(side.SkipCell(side.LeakyCell(cell, 0.3), 3), 4),
    "none": lambda side, cell: cell,
}
CLIP, STEPS = 0.03, 50
# Rounding of sums of T (2 N + C) products and of Adam, step after step: at most 2e-15 after one
# step and 3e-14 after 50, over all cells and wrappers.
CLOSE = 1e-12


@pytest.fixture(params=CELLS)
def cell(request, x64):
    return request.param


@pytest.fixture(autouse=True)
def _one_torch_thread():
    """Beside JAX's threads, torch's wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class JaxSide:
    """A model of a wrapped cell, in training on streams."""

    def __init__(self, cell, wrapper, weights=None, retraction=None):
        inits = {name: nn.initializers.normal(0.4) for name in ("kernel_init", "bias_init")}
        options = inits | {"recurrent_kernel_init": nn.initializers.normal(0.4)}
        inner = CELLS[cell][0](N, param_dtype=jnp.float64, **options)
        self.model = SequenceModel(
            WRAPPERS[wrapper](jaxrnn, inner), C, param_dtype=jnp.float64, **inits
        )
        if weights is None:
            weights = convert.to_weights(
                self.model.init(jax.random.key(0), jnp.zeros((1, 1, C)))["params"]
            )
        self.optimizer = jaxrnn.optimizers.adam(1e-2, CLIP, recurrent_lr=5e-3)
        if retraction is not None:
            projection = jaxrnn.project_recurrent(retraction, every=2)
            self.optimizer = optax.chain(self.optimizer, projection)
        carry = self.model.cell.initialize_carry(jax.random.key(0), (B, C))
        params = convert.from_weights(weights)
        self.state = jaxrnn.TrainState.create(params, self.optimizer, carry)
        self.loss = jaxrnn.training.stream_loss(self.model, C)

    def weights(self):
        return convert.to_weights(self.state.params)

    def gradients(self, batch):
        grads, (_, carry) = jax.jit(jax.grad(self.loss, has_aux=True))(
            self.state.params, batch, self.state.carry
        )
        return convert.to_weights(grads), carry

    def train(self, batches):
        chunk = jaxrnn.training.make_train_chunk(self.loss, self.optimizer, devices=1)
        self.state, measured = jax.jit(chunk)(self.state, batches)
        return measured


class TorchSide:
    """The same model on torch_ref."""

    def __init__(self, cell, wrapper, weights, retraction=None):
        inputs = C + N if wrapper in ("skip", "all") else C
        inner = CELLS[cell][1](inputs, N, dtype=torch.float64)
        self.model = torch_ref.SequenceModel(WRAPPERS[wrapper](torch_ref, inner), C)
        torch_ref.convert.load_weights(self.model, weights)
        projection = None
        if retraction is not None:
            projection = torch_ref.project_recurrent(self.model, retraction, every=2)
        optimizer = torch_ref.optimizers.adam(self.model, 1e-2, recurrent_lr=5e-3)
        carry = self.model.cell.initialize_carry(B)
        self.state = torch_ref.TrainState(self.model, optimizer, CLIP, projection, carry=carry)
        self.loss = torch_ref.training.stream_loss(C)

    def weights(self):
        return torch_ref.convert.to_weights(self.model)

    def gradients(self, batch):
        self.model.zero_grad()
        batch = [torch.tensor(array) for array in batch]
        value, (_, carry) = self.loss(self.model, batch, self.state.carry)
        value.backward()
        return torch_ref.convert.to_gradients(self.model), carry

    def train(self, batches):
        return torch_ref.training.make_train_chunk(self.loss)(self.state, batches)


def differences(rng, cell, wrapper, retraction=None, steps=8):
    """The largest difference of each quantity: first gradients, then a chunk of training."""
    ours = JaxSide(cell, wrapper, retraction=retraction)
    weights = ours.weights()
    theirs = TorchSide(cell, wrapper, weights, retraction)
    tokens, classes = rng.integers(0, C, (2, steps, B, T))
    batches = StreamBatch(tokens, classes, rng.random((steps, B)) < 0.2)
    batch = tuple(array[0] for array in batches)
    found = {}

    def compare(name, a, b):
        a, b = (
            [np.asarray(leaf) for leaf in jax.tree.leaves(side)]
            for side in (a, jax.tree.map(lambda t: t.numpy(), b) if name == "carry" else b)
        )
        found[name] = max(np.abs(x - y).max() for x, y in zip(a, b, strict=True))

    (grads, _), (expected, _) = ours.gradients(batch), theirs.gradients(batch)
    for name in weights:
        compare(f"gradient of {name}", grads[name], expected[name])
    measured, expected = (side.train(batches) for side in (ours, theirs))
    assert (measured.grad_norm > CLIP).mean() > 0.5
    for name in weights:
        compare(name, ours.weights()[name], theirs.weights()[name])
    compare("carry", ours.state.carry, theirs.state.carry)
    for name in ("loss", "grad_norm", "spectral_norm", "orthogonality_error"):
        compare(name, getattr(measured, name), getattr(expected, name))
    return found


@pytest.mark.parametrize("wrapper", ["leaky", "skip", "truncated", "all"])
def test_wrapped_cells(rng, cell, wrapper):
    found = differences(rng, cell, wrapper)
    assert max(found.values()) < CLOSE, found


@pytest.mark.parametrize("steps", [1, STEPS])
@pytest.mark.parametrize("wrapper", ["none", "skip"])
def test_projected_gate_by_gate(rng, cell, wrapper, steps):
    found = differences(rng, cell, wrapper, "qr", steps)
    assert max(found.values()) < CLOSE, found


def planted_rate(monkeypatch):
    """A leak that mixes the wrong way round."""

    def step(self, carry, x):
        new = torch_ref.wrappers._step(self.cell, carry, x)
        leak = lambda old, new: self.rate * old + (1 - self.rate) * new  # noqa: E731
        return torch_ref.cells.map_carry(leak, carry, new)

    monkeypatch.setattr(torch_ref.LeakyCell, "step", step)


def planted_skip(monkeypatch):
    """A skip that is a step too short."""
    initialize_carry = torch_ref.SkipCell.initialize_carry

    def shorter(self, batch_size):
        past, inner = initialize_carry(self, batch_size)
        return past[:, 1:], inner

    monkeypatch.setattr(torch_ref.SkipCell, "initialize_carry", shorter)


def planted_truncation(monkeypatch):
    """Blocks that begin a step late."""
    initialize_carry = torch_ref.TruncatedCell.initialize_carry

    def late(self, batch_size):
        count, inner = initialize_carry(self, batch_size)
        return count + 1, inner

    monkeypatch.setattr(torch_ref.TruncatedCell, "initialize_carry", late)


@pytest.mark.parametrize(
    ("wrapper", "plant"),
    [("leaky", planted_rate), ("skip", planted_skip), ("truncated", planted_truncation)],
)
def test_planted_bugs_are_caught(rng, x64, monkeypatch, wrapper, plant):
    plant(monkeypatch)
    found = differences(rng, "gru", wrapper, steps=2)
    assert max(value for name, value in found.items() if "gradient" in name) > 1e-5, found


def test_projecting_the_transposed_gates_is_caught(rng, x64, monkeypatch):
    qr = torch_ref.orthogonal.RETRACTIONS["qr"]
    monkeypatch.setitem(torch_ref.orthogonal.RETRACTIONS, "qr", lambda W: qr(W.mT).mT)
    assert differences(rng, "lstm", "none", "qr", steps=1)["W_hf"] > 1e-2


def test_stacked_layers(rng, x64):
    ours = jaxrnn.StackedModel(
        [
            VanillaCell(N, param_dtype=jnp.float64),
            jaxrnn.SkipCell(nn.GRUCell(N + 1, param_dtype=jnp.float64), 2),
            nn.OptimizedLSTMCell(N + 2, param_dtype=jnp.float64),
        ],
        C,
        param_dtype=jnp.float64,
    )
    theirs = torch_ref.StackedModel(
        [
            torch_ref.VanillaCell(C, N, dtype=torch.float64),
            torch_ref.SkipCell(torch_ref.GRUCell(N + N + 1, N + 1, dtype=torch.float64), 2),
            torch_ref.LSTMCell(N + 1, N + 2, dtype=torch.float64),
        ],
        C,
    )
    shapes = jax.eval_shape(ours.init, jax.random.key(0), jnp.zeros((B, T, C)))
    variables = jax.tree.map(lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape) / 3), shapes)
    weights = convert.to_weights(variables["params"])
    torch_ref.convert.load_weights(theirs, weights)
    tokens, classes = rng.integers(0, C, (2, B, T))
    carry = ours.apply(variables, jax.nn.one_hot(tokens, C), return_carry=True)[0]
    carry = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape) / 2, carry)
    loss = jaxrnn.training.stream_loss(ours, C)
    (value, (_, last)), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(
        variables["params"], (tokens, classes), carry
    )
    expected, (_, their_last) = torch_ref.training.stream_loss(C)(
        theirs, [torch.tensor(tokens), torch.tensor(classes)], jax.tree.map(torch.tensor, carry)
    )
    expected.backward()
    np.testing.assert_allclose(value, expected.item(), rtol=CLOSE)
    their_gradients = torch_ref.convert.to_gradients(theirs)
    for name, gradient in convert.to_weights(grads).items():
        np.testing.assert_allclose(gradient, their_gradients[name], rtol=0, atol=CLOSE)
    assert_trees_close(last, jax.tree.map(lambda leaf: leaf.numpy(), their_last), atol=CLOSE)
