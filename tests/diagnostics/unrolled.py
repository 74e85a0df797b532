"""Flax models, and the same again as plain loops with ε_t added to every state."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxrnn import LeakyCell, SequenceModel, SkipCell, VanillaCell
from jaxrnn.activations import ACTIVATIONS
from tests.numpy_reference import B, C, D, N, T

LENGTHS = np.array([4, 2, 5])  # of B sequences of T steps
WIDE = {"param_dtype": jnp.float64}
CARRY = np.linspace(-0.7, 0.9, B * N).reshape(B, N)  # any h_0


def layer(cell, params, x, eps, h_0=None, stays_after=None):
    """h_0 … h_T with ε and h_1 … h_T as the cell emits them, from inputs (B, T, D).

    ``stays_after`` (B,) is the step of each sequence after which its state (B, N) stays.
    """
    h = cell.initialize_carry(jax.random.key(0), x[:, 0].shape) if h_0 is None else h_0
    states, outputs = [], []
    for t in range(x.shape[1] + 1):
        before = h
        if t > 0:
            h, _ = cell.apply({"params": params}, h, x[:, t - 1])
        h = jax.tree.map(lambda leaf, zeros, t=t: leaf + zeros[t], h, eps)
        if stays_after is not None:
            h = jnp.where((t <= stays_after)[:, None], h, before)
        states.append(h)
        outputs.append(jax.tree.leaves(h)[-1])  # h of an LSTM's (c, h)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    return stacked, jnp.stack(outputs[1:], axis=1)


def flip(x, lengths):
    """Each sequence (T, ...) of a batch reversed in its valid part, the padding reversed behind."""
    return jnp.stack(
        [
            jnp.concatenate([row[:length][::-1], row[length:][::-1]])
            for row, length in zip(x, lengths, strict=True)
        ]
    )


def dense(params, x):
    return x @ params["kernel"] + params["bias"]


def valid(outputs):
    """Without the padding."""
    return outputs * (np.arange(T) < LENGTHS[:, None])[..., None]


class Calls(nn.Module):
    """A model that calls another with options."""

    inner: nn.Module
    call: Callable[..., Any]

    @nn.compact
    def __call__(self, inputs):
        return self.call(self.inner, inputs)


class Stacked(nn.Module):
    """Two layers of different kinds and sizes, then a readout."""

    @nn.compact
    def __call__(self, inputs):
        hidden = nn.RNN(VanillaCell(N, **WIDE), name="first")(inputs)
        hidden = nn.RNN(nn.OptimizedLSTMCell(N + 2, **WIDE), name="second")(hidden)
        return nn.Dense(C, **WIDE)(hidden)


@dataclass
class Case:
    """A model, and (params, inputs, ε by layer) → (outputs, states by layer) in plain loops."""

    model: nn.Module
    unrolled: Callable[..., Any]


def one_layer(cell, model=None, read=None, path="cell", flipped=None, **options):
    """A case of one layer; ``read`` takes (params, states, outputs) → outputs."""

    def unrolled(params, x, eps):
        own = params
        for name in path.split("/"):
            own = own[name]
        x = x if flipped is None else flip(x, flipped)
        states, outputs = layer(cell, own, x, eps[path], **options)
        outputs = outputs if flipped is None else flip(outputs, flipped)
        return (outputs if read is None else read(params, states, outputs)), {path: states}

    return Case(nn.RNN(cell) if model is None else model, unrolled)


def stacked(params, x, eps):
    first, hidden = layer(VanillaCell(N), params["VanillaCell_0"], x, eps["VanillaCell_0"])
    lstm = "OptimizedLSTMCell_0"
    second, hidden = layer(nn.OptimizedLSTMCell(N + 2), params[lstm], hidden, eps[lstm])
    return dense(params["Dense_0"], hidden), {"VanillaCell_0": first, lstm: second}


def bidirectional(params, x, eps):
    gru, vanilla = "forward_rnn/cell", "backward_rnn/cell"
    forward, y = layer(nn.GRUCell(N), params["forward_rnn"]["cell"], x, eps[gru])
    back, z = layer(VanillaCell(N), params["backward_rnn"]["cell"], x[:, ::-1], eps[vanilla])
    return jnp.concatenate([y, z[:, ::-1]], axis=-1), {gru: forward, vanilla: back}


def twice(params, x, eps):
    cell, params = nn.GRUCell(D), params["inner"]["cell"]
    first, y = layer(cell, params, x, eps["inner/cell"])
    second, y = layer(cell, params, y, eps["inner/cell#2"])
    return y, {"inner/cell": first, "inner/cell#2": second}


def read_all(params, states, outputs):
    return dense(params["readout"], outputs)


def read_last(params, states, outputs):
    return dense(params["readout"], states[-1])


def sequence_model(cell, **options):
    return SequenceModel(cell, C, **WIDE, **options)


def with_options(cell, read, **options):
    """A SequenceModel inside another module, called with options."""

    def call(model, inputs):
        return read(model(inputs, **options))

    return Calls(sequence_model(cell), call)


VANILLA = VanillaCell(N, **WIDE)
CASES = {
    **{
        f"fused {name}": one_layer(
            VanillaCell(N, name, **WIDE), sequence_model(VanillaCell(N, name, **WIDE)), read_all
        )
        for name in ACTIVATIONS
    },
    **{
        cell.__name__: one_layer(cell(N, **WIDE))
        for cell in (nn.SimpleCell, nn.GRUCell, nn.LSTMCell, nn.OptimizedLSTMCell, nn.MGUCell)
    },
    **{
        f"{wrapper.__name__} around {kind.__name__}": one_layer(wrapper(kind(N, **WIDE), option))
        for wrapper, option, kind in (
            (LeakyCell, 0.3, VanillaCell),  # itself observed by observed_bptt.py
            (LeakyCell, 0.3, nn.OptimizedLSTMCell),  # of which c leaks too
            (SkipCell, 3, nn.GRUCell),
        )
    },
    "SequenceModel of a GRU": one_layer(
        nn.GRUCell(N, **WIDE), sequence_model(nn.GRUCell(N, **WIDE)), read_all
    ),
    "last_only": one_layer(VANILLA, sequence_model(VANILLA, last_only=True), read_last),
    "recompute": one_layer(VANILLA, sequence_model(VANILLA, recompute=True), read_all),
    "time_major": one_layer(
        VANILLA,
        Calls(
            nn.RNN(VANILLA, time_major=True),
            lambda rnn, x: rnn(x.swapaxes(0, 1)).swapaxes(0, 1),
        ),
        path="inner/cell",
    ),
    "the carry": one_layer(
        nn.GRUCell(N, **WIDE),
        Calls(
            nn.RNN(nn.GRUCell(N, **WIDE), return_carry=True),
            lambda rnn, x: rnn(x, initial_carry=jnp.asarray(CARRY))[0],
        ),
        lambda params, states, outputs: states[-1],
        path="inner/cell",
        h_0=CARRY,
    ),
    "seq_lengths": one_layer(
        VANILLA,
        Calls(
            nn.RNN(VANILLA, return_carry=True),
            lambda rnn, x: rnn(x, seq_lengths=jnp.asarray(LENGTHS))[0],
        ),
        lambda params, states, outputs: states[LENGTHS, np.arange(B)],
        path="inner/cell",
    ),
    "reverse and seq_lengths": one_layer(
        VANILLA,
        with_options(VANILLA, valid, reverse=True, seq_lengths=jnp.asarray(LENGTHS)),
        lambda params, states, outputs: valid(dense(params["inner"]["readout"], outputs)),
        path="inner/cell",
        flipped=LENGTHS,
        stays_after=LENGTHS,
    ),
    "reverse, not in order": one_layer(
        nn.GRUCell(N, **WIDE),
        nn.RNN(nn.GRUCell(N, **WIDE), reverse=True),
        lambda params, states, outputs: outputs[:, ::-1],
        flipped=[T] * B,
    ),
    "stacked": Case(Stacked(), stacked),
    "bidirectional": Case(
        nn.Bidirectional(nn.RNN(nn.GRUCell(N, **WIDE)), nn.RNN(VANILLA)), bidirectional
    ),
    "one cell run twice": Case(
        Calls(nn.RNN(nn.GRUCell(D, **WIDE)), lambda rnn, x: rnn(rnn(x))), twice
    ),
}


def random_problem(rng, model):
    """Variables, all of them random, and inputs (B, T, D), in float64."""
    inputs = jnp.asarray(rng.standard_normal((B, T, D)))
    shapes = jax.eval_shape(model.init, jax.random.key(0), inputs)
    variables = jax.tree.map(
        lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape) / np.sqrt(N)), shapes
    )
    return variables, inputs
