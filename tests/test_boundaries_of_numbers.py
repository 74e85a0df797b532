"""The arguments of retractions, initialisers, measures, tasks, texts and the network in NumPy."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import (
    CharacterTask,
    Text,
    VanillaCell,
    diagnosis,
    diagnostics,
    initializers,
    numpy_rnn,
    orthogonal,
    tasks,
    text,
)
from tests.boundaries import Target, try_each_argument

HOME = Path(jaxrnn.__file__).parent
B, T, D, N, C = 2, 4, 3, 5, 2

rng = np.random.default_rng(0)
MATRIX = rng.standard_normal((N, N)).astype(np.float32)
INPUTS = rng.standard_normal((B, T, D)).astype(np.float32)
STATES = rng.standard_normal((T + 1, B, N)).astype(np.float32)
CELL = VanillaCell(N)
CELL_VARIABLES = CELL.init(jax.random.key(0), jnp.zeros(N), jnp.zeros(D))
PARAMS = {"h": {"kernel": MATRIX}}
LAYER = diagnostics.LayerObservation(STATES, STATES, "VanillaCell", "tanh")
TEXT = Text("to be or not to be, that is the question " * 9)
TOKENS = TEXT.tokens[:20]
CHARACTERS = CharacterTask(TEXT, seq_len=3, streams=2)
V = len(TEXT.vocabulary)
WEIGHTS = numpy_rnn.initial_weights(np.random.default_rng(0), D, N, C)
TALKING = numpy_rnn.initial_weights(np.random.default_rng(0), D, N, D)
OUTPUTS, HIDDEN = numpy_rnn.forward(WEIGHTS, INPUTS)


def shaped(init):
    return lambda shape: init(jax.random.key(0), shape)


def with_weights(call, weights):
    """The function, and each of the weights as an argument of its own."""

    def called(**arguments):
        own = {name: arguments.pop(name) for name in weights}
        return call(own, **arguments)

    return called


TARGETS = {
    **{
        f"orthogonal.{name}": Target(retract, {"W": MATRIX})
        for name, retract in orthogonal.RETRACTIONS.items()
    },
    **{
        f"diagnostics.{measure.__name__}": Target(measure, {"W": MATRIX})
        for measure in (
            diagnostics.spectral_norm,
            diagnostics.spectral_radius,
            diagnostics.orthogonality_error,
        )
    },
    "diagnostics.recurrent_diagnostics": Target(
        diagnostics.recurrent_diagnostics, {"params": PARAMS, "where": None}, ("params",)
    ),
    "initializers.uniform": Target(initializers.uniform, {"num_units": 4}),
    "initializers.normal": Target(initializers.normal, {"stddev": 0.1}),
    "initializers.orthogonal": Target(initializers.orthogonal, {"scale": 1.0}),
    "initializers.identity": Target(initializers.identity, {"scale": 1.0}),
    "initializers.identity()": Target(shaped(initializers.identity()), {"shape": (4, 4)}),
    "initializers.henaff()": Target(shaped(initializers.henaff()), {"shape": (4, 4)}),
    "initializers.rotations": Target(
        initializers.rotations, {"least": -1.0, "most": 1.0}, also={"least": ("most",)}
    ),
    "initializers.special_orthogonal()": Target(
        shaped(initializers.special_orthogonal()), {"shape": (4, 4)}
    ),
    "orthogonal.spectral_band": Target(orthogonal.spectral_band, {"margin": 0.1}),
    "tasks.CopyTask": Target(tasks.CopyTask, {"seq_len": 3}),
    "tasks.CopyMemoryTask": Target(tasks.CopyMemoryTask, {"delay": 3}),
    "tasks.AddingTask": Target(tasks.AddingTask, {"seq_len": 3}),
    "tasks.growing_length": Target(
        tasks.growing_length, {"first": 2, "last": 9, "epoch": 1, "epochs": 3}
    ),
    "usable_horizon": Target(
        diagnostics.usable_horizon, {"profile": np.ones(4, np.float32), "factor": 9.0}
    ),
    "decay_rate": Target(diagnostics.decay_rate, {"profile": np.ones(4, np.float32)}),
    "lyapunov_spectrum": Target(
        lambda **options: diagnostics.lyapunov_spectrum(
            CELL, CELL_VARIABLES, np.zeros(N, np.float32), **options
        ),
        {"inputs": INPUTS[0], "warm_up": 1},
        also={"inputs": ("warm_up", "carry")},
    ),
    "Text": Target(Text, {"characters": "to be or not to be"}),
    "Text.split": Target(TEXT.split, {"name": "train"}),
    "CharacterTask": Target(CharacterTask, {"text": TEXT, "seq_len": 3, "streams": 2}),
    "numpy_rnn.initial_weights": Target(
        numpy_rnn.initial_weights,
        {"rng": np.random.default_rng(0), "num_inputs": 3, "num_units": 4, "num_outputs": 2},
    ),
    "numpy_rnn.clip_by_global_norm": Target(
        numpy_rnn.clip_by_global_norm, {"gradients": {"W": MATRIX}, "max_norm": 1.0}, ("gradients",)
    ),
    **{
        f"{type(task).__name__}.sample": Target(
            lambda rng, count, batch, task=task: task.sample(rng, count, batch),
            {"rng": np.random.default_rng(0), "count": 2, "batch": 3},
            also={"count": ("shape",), "batch": ("shape",)},
        )
        for task in (
            tasks.CopyTask(3),
            tasks.CopyMemoryTask(2),
            tasks.AddingTask(4),
            CHARACTERS,
        )
    },
    "tasks.length_of": Target(tasks.length_of, {"task": tasks.CopyTask(3)}),
    "tasks.with_length": Target(
        tasks.with_length, {"task": tasks.CopyTask(3), "length": 4}, also={"length": ("seq_len",)}
    ),
    "jacobian_singular_values": Target(
        lambda **options: diagnostics.jacobian_singular_values(CELL, CELL_VARIABLES, **options),
        {"carry": np.zeros((B, N), np.float32), "inputs": INPUTS},
        also={"inputs": ("carry",)},
    ),
    "gradient_profile": Target(diagnostics.gradient_profile, {"layer": LAYER}),
    "layer_saturation": Target(diagnostics.layer_saturation, {"layer": LAYER, "threshold": 0.1}),
    "valid_steps": Target(diagnostics.valid_steps, {"layer": LAYER}),
    "saturated_share": Target(
        diagnostics.saturated_share,
        {
            "states": STATES,
            "threshold": 0.1,
            "valid": np.ones((T + 1, B), bool),
            "activation": "relu",
        },
        also={"states": ("valid",)},
    ),
    "dead_share": Target(
        diagnostics.dead_share,
        {"states": STATES, "valid": np.ones((T, B), bool)},
        also={"states": ("valid",)},
    ),
    "gradient_norms": Target(diagnostics.gradient_norms, {"gradients": {"W": MATRIX}}),
    "update_ratios": Target(
        diagnostics.update_ratios,
        {"updates": {"W": MATRIX}, "params": {"W": MATRIX}},
        also={"params": ("updates",)},
    ),
    "Thresholds": Target(diagnosis.Thresholds, vars(diagnosis.Thresholds())),
    "HistoryThresholds": Target(diagnosis.HistoryThresholds, vars(diagnosis.HistoryThresholds())),
    "Text.encode": Target(TEXT.encode, {"characters": "be"}, also={"characters": ("the text",)}),
    "Text.decode": Target(TEXT.decode, {"tokens": TOKENS}),
    "Text.unigram_entropy": Target(TEXT.unigram_entropy, {"split": "test"}),
    "Text.bigram_entropy": Target(TEXT.bigram_entropy, {"split": "test"}),
    "CharacterTask.batches": Target(CHARACTERS.batches, {"start": 0, "count": 2}),
    "CharacterTask.sequences": Target(CHARACTERS.sequences, {"split": "test"}),
    "text.frequencies": Target(
        text.frequencies,
        {"tokens": TOKENS, "num_tokens": V, "order": 2},
        also={"num_tokens": ("tokens",)},
    ),
    "text.frequency_distance": Target(
        text.frequency_distance,
        {"tokens": TOKENS, "others": TOKENS[3:], "num_tokens": V, "order": 2},
        also={"num_tokens": ("tokens",)},
    ),
    "text.share_of_known_words": Target(
        text.share_of_known_words, {"characters": "to be or so", "text": "to be or not"}
    ),
    "numpy_rnn.forward": Target(
        with_weights(numpy_rnn.forward, WEIGHTS),
        {**WEIGHTS, "inputs": INPUTS, "h0": np.zeros((B, N)), "activation": "tanh"},
        also={"inputs": ("h0",)},
    ),
    "numpy_rnn.backward": Target(
        with_weights(numpy_rnn.backward, WEIGHTS),
        {**WEIGHTS, "inputs": INPUTS, "hidden": HIDDEN, "dy": OUTPUTS, "activation": "tanh"},
        also={"inputs": ("hidden", "dy")},
    ),
    "numpy_rnn.cross_entropy": Target(
        numpy_rnn.cross_entropy,
        {"outputs": OUTPUTS, "classes": np.zeros((B, T), int)},
        also={"outputs": ("classes",)},
    ),
    "numpy_rnn.squared_error": Target(
        numpy_rnn.squared_error,
        {"outputs": OUTPUTS[..., :1], "targets": np.zeros(B)},
        also={"outputs": ("targets",)},
    ),
    "numpy_rnn.Adam": Target(
        lambda lr: numpy_rnn.Adam(WEIGHTS, lr).update(WEIGHTS, WEIGHTS), {"lr": 0.1}
    ),
    "numpy_rnn.project": Target(numpy_rnn.project, {"W_hh": MATRIX}),
    "numpy_rnn.sample": Target(
        with_weights(
            numpy_rnn.sample,
            TALKING,
        ),
        {
            **TALKING,
            "rng": np.random.default_rng(0),
            "length": 2,
            "prompt": [0, 1],
            "temperature": 0.5,
            "activation": "tanh",
        },
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_an_argument_is_taken_or_named(target, unchecked):
    try_each_argument(HOME, TARGETS[target])
