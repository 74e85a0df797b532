"""Cells around cells, and projection gate by gate: both frameworks from the same weights."""

import functools

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

pytestmark = pytest.mark.usefixtures("one_torch_thread")
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
# Each cell with all wrappers, gated ones with none (test_parity.py has the vanilla cell), and each
# wrapper alone. Compiling takes the time, so all pairs would take minutes.
CASES = [
    *[(cell, "all") for cell in CELLS],
    *[(cell, "none") for cell in ("gru", "lstm")],
    ("lstm", "leaky"),
    ("gru", "skip"),
    ("vanilla", "truncated"),
]
CLIP, STEPS = 0.03, 20
# Rounding of sums of T (2 N + C) products and of Adam, step after step: at most 2e-15 after one
# step and 3e-14 after 50.
CLOSE = 1e-12


def all_batches():
    """STEPS batches of streams, some of which are fresh."""
    rng = np.random.default_rng(1997)
    tokens, classes = rng.integers(0, C, (2, STEPS, B, T))
    return StreamBatch(tokens, classes, rng.random((STEPS, B)) < 0.2)


def jax_model(cell, wrapper):
    inner = CELLS[cell][0](N, param_dtype=jnp.float64)
    return SequenceModel(WRAPPERS[wrapper](jaxrnn, inner), C, param_dtype=jnp.float64)


def initial(cell, wrapper):
    """Random weights, biases too, in the letters of the equations."""
    rng = np.random.default_rng(3)
    shapes = jax.eval_shape(jax_model(cell, wrapper).init, jax.random.key(0), jnp.zeros((1, 1, C)))
    params = jax.tree.map(lambda leaf: 0.4 * rng.standard_normal(leaf.shape), shapes["params"])
    return convert.to_weights(params)


def remember_gradients():
    """An optimizer's first part that keeps the gradients, so that nothing else has to make them."""
    return optax.GradientTransformation(
        lambda params: jax.tree.map(jnp.zeros_like, params), lambda grads, *_: (grads, grads)
    )


@functools.cache
def in_jax(cell, wrapper):
    """What is compared, after the first step and after the last: name → arrays.

    Once for all tests: no bug is planted on this side.
    """
    model = jax_model(cell, wrapper)
    optimizer = optax.chain(
        remember_gradients(),
        jaxrnn.optimizers.adam(1e-2, CLIP, recurrent_lr=5e-3),
        jaxrnn.project_recurrent(every=2),
    )
    carry = model.cell.initialize_carry(jax.random.key(0), (B, C))
    state = jaxrnn.TrainState.create(convert.from_weights(initial(cell, wrapper)), optimizer, carry)
    loss = jaxrnn.training.stream_loss(model, C)
    # A step at a time, so that the first is the same program as the others.
    chunk = jax.jit(jaxrnn.training.make_train_chunk(loss, optimizer, devices=1))
    seen, measured = [], []
    for k in range(STEPS):
        state, new = chunk(state, jax.tree.map(lambda leaf, k=k: leaf[k : k + 1], all_batches()))
        measured.append(jax.tree.map(np.asarray, new))
        if k in (0, STEPS - 1):
            gradients = convert.to_weights(state.opt_state[0])
            weights, carry = convert.to_weights(state.params), jax.tree.leaves(state.carry)
            seen.append(named(weights, gradients, carry, measured))
    return seen


def in_torch(cell, wrapper, steps):
    """The same of torch_ref, after the first step and after ``steps``."""
    inputs = C + N if wrapper in ("skip", "all") else C
    inner = CELLS[cell][1](inputs, N, dtype=torch.float64)
    model = torch_ref.SequenceModel(WRAPPERS[wrapper](torch_ref, inner), C)
    torch_ref.convert.load_weights(model, initial(cell, wrapper))
    optimizer = torch_ref.optimizers.adam(model, 1e-2, recurrent_lr=5e-3)
    projection = torch_ref.project_recurrent(model, every=2)
    carry = model.cell.initialize_carry(B)
    state = torch_ref.TrainState(model, optimizer, CLIP, projection, carry=carry)
    loss = torch_ref.training.stream_loss(C)
    chunk = torch_ref.training.make_train_chunk(loss)
    seen, measured = [], []
    for k in range(steps):
        batch = [torch.tensor(array[k : k + 1]) for array in all_batches()]
        if k in (0, STEPS - 1):
            model.zero_grad()
            loss(model, [array[0] for array in batch], state.carry)[0].backward()
            gradients = torch_ref.convert.to_gradients(model)
        measured.append(chunk(state, batch))
        if k in (0, STEPS - 1):
            weights = torch_ref.convert.to_weights(model)
            carry = [leaf.numpy() for leaf in jax.tree.leaves(state.carry)]
            seen.append(named(weights, gradients, carry, measured))
    return seen


def named(weights, gradients, carry, measured):
    """All that is compared, by its name."""
    return {
        **{name: np.array(array) for name, array in weights.items()},
        **{f"gradient of {name}": np.array(array) for name, array in gradients.items()},
        **{f"carry {i}": np.array(leaf) for i, leaf in enumerate(carry)},
        **{
            name: np.stack([getattr(one, name) for one in measured])
            for name in ("loss", "grad_norm", "spectral_norm", "orthogonality_error")
        },
    }


def differences(cell, wrapper, steps=1):
    """The largest difference of each quantity, after one step and after ``steps``."""
    ours, theirs = in_jax(cell, wrapper), in_torch(cell, wrapper, steps)
    found = {}
    for after, a, b in zip((1, STEPS), ours, theirs, strict=steps == STEPS):
        assert a.keys() == b.keys()
        for name, array in a.items():
            assert array.shape == b[name].shape, name
            found[f"{name} after {after}"] = np.abs(array - b[name]).max()
    return found


@pytest.mark.parametrize(("cell", "wrapper"), CASES)
def test_training_step_by_step(x64, cell, wrapper):
    """Of gated cells, each gate's W_hh is projected."""
    found = differences(cell, wrapper, STEPS)
    assert all(value < CLOSE for value in found.values()), found
    first, last = in_jax(cell, wrapper)
    assert (last["grad_norm"] > CLIP).mean() > 0.5
    for name in first:
        if name.startswith("W_h") and name != "W_hy":  # projected in the first step
            np.testing.assert_allclose(first[name] @ first[name].T, np.eye(N), atol=1e-14)


def planted_rate(monkeypatch):
    """A leak that mixes the wrong way round."""

    def step(self, carry, x):
        new = torch_ref.wrappers._step(self.cell, carry, x)
        leak = lambda old, new: self.rate * old + (1 - self.rate) * new  # noqa: E731
        return torch_ref.cells.map_carry(leak, carry, new)

    monkeypatch.setattr(torch_ref.LeakyCell, "step", step)


def planted_skip(monkeypatch):
    """A skip that is a step too short."""

    def step(self, carry, x):
        past, inner = carry
        new = torch_ref.wrappers._step(self.cell, inner, torch.cat([x, past[:, 1]], -1))
        last = torch_ref.cells.state_of(inner)[:, None]
        return torch.cat([past[:, 1:], last], 1), new

    monkeypatch.setattr(torch_ref.SkipCell, "step", step)


def planted_truncation(monkeypatch):
    """Blocks that begin a step late."""
    initialize_carry = torch_ref.TruncatedCell.initialize_carry

    def late(self, batch_size):
        count, inner = initialize_carry(self, batch_size)
        return count + 1, inner

    monkeypatch.setattr(torch_ref.TruncatedCell, "initialize_carry", late)


@pytest.mark.parametrize(
    ("cell", "wrapper", "plant"),
    [
        ("lstm", "leaky", planted_rate),
        ("gru", "skip", planted_skip),
        ("vanilla", "truncated", planted_truncation),
    ],
)
def test_planted_bugs_are_caught(x64, monkeypatch, cell, wrapper, plant):
    plant(monkeypatch)
    found = differences(cell, wrapper)
    assert max(value for name, value in found.items() if "gradient" in name) > 1e-5, found


def test_projecting_the_transposed_gates_is_caught(x64, monkeypatch):
    qr = torch_ref.orthogonal.RETRACTIONS["qr"]
    monkeypatch.setitem(torch_ref.orthogonal.RETRACTIONS, "qr", lambda W: qr(W.mT).mT)
    assert differences("lstm", "none")["W_hf after 1"] > 1e-2


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
    inputs = rng.standard_normal((B, T, C))
    carry, _ = jax.eval_shape(lambda: ours.apply(variables, jnp.asarray(inputs), return_carry=True))
    carry = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape) / 2, carry)
    targets = rng.standard_normal((B, T, C))

    def loss(params, inputs, carry):
        last, outputs = ours.apply(
            {"params": params}, inputs, initial_carry=carry, return_carry=True
        )
        return jnp.sum((outputs - targets) ** 2), last

    (value, last), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(
        variables["params"], inputs, carry
    )
    their_last, outputs = theirs(
        torch.tensor(inputs), jax.tree.map(torch.tensor, carry), return_carry=True
    )
    expected = ((outputs - torch.tensor(targets)) ** 2).sum()
    expected.backward()
    np.testing.assert_allclose(value, expected.item(), rtol=CLOSE)
    their_gradients = torch_ref.convert.to_gradients(theirs)
    for name, gradient in convert.to_weights(grads).items():
        np.testing.assert_allclose(gradient, their_gradients[name], rtol=0, atol=CLOSE)
    their_last = jax.tree.map(lambda leaf: leaf.detach().numpy(), their_last)
    assert_trees_close(last, their_last, atol=CLOSE)
