"""Recipes with a leak, a skip and truncated BPTT, and gated cells: the same in JAX and PyTorch."""

import dataclasses

import numpy as np
import pytest

from experiments.harness.backends.backend import load_backend
from experiments.harness.method.recipe import Recipe
from jaxrnn.tasks import AddingTask
from jaxrnn.text import CharacterTask, StreamBatch, Text

STREAMS = 4
TASK = CharacterTask(Text("the cat sat on the mat, " * 60), seq_len=6, streams=STREAMS)
WRAPPED = {"leak": 0.4, "skip": 3, "bptt_steps": 4}
RECIPES = {
    "streams": Recipe(TASK, hidden=7, lr=0.01, clip_norm=0.5, retraction="qr", **WRAPPED),
    "lstm": Recipe(TASK, hidden=7, cell="lstm", lr=0.01, clip_norm=0.5, **WRAPPED),
    "gru": Recipe(AddingTask(6), hidden=7, cell="gru", lr=0.01, retraction="qr", skip=2),
}


def stream_batches(rng, D, steps):
    """Tokens and classes of ``steps`` batches, and which of the streams are fresh."""
    tokens, classes = rng.integers(0, D, (2, steps, STREAMS, 6))
    return StreamBatch(tokens, classes, rng.random((steps, STREAMS)) < 0.2)


@pytest.mark.parametrize("name", RECIPES)
def test_training_is_the_same(name):
    recipe = RECIPES[name]
    backends = [load_backend(backend) for backend in ("jax", "torch")]
    weights = backends[1].initial_weights(recipe, 0)
    shapes = {key: array.shape for key, array in backends[0].initial_weights(recipe, 0).items()}
    assert shapes == {key: array.shape for key, array in weights.items()}
    rng = np.random.default_rng(5)
    if recipe.streams:
        D = recipe.task.num_inputs
        batches = [stream_batches(rng, D, 6) for _ in range(2)]
    else:
        batches = [recipe.task.sample(rng, 6, 4) for _ in range(2)]
    ours, theirs = (backend.make_trainer(recipe, [weights]) for backend in backends)
    for batch in batches:
        measured, expected = (trainer.train([batch]) for trainer in (ours, theirs))
        for column in ("loss", "grad_norm", "spectral_norm"):
            # float32: a few eps of 1.2e-7 a step.
            np.testing.assert_allclose(
                getattr(measured, column), getattr(expected, column), rtol=1e-4, err_msg=column
            )


@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize("name", ["streams", "lstm"])
def test_a_run_goes_on_from_its_state(backend, name):
    recipe, backend = RECIPES[name], load_backend(backend)
    weights = [backend.initial_weights(recipe, seed) for seed in range(2)]
    rng = np.random.default_rng(5)
    D = recipe.task.num_inputs
    chunks = [[stream_batches(rng, D, 3)] * 2 for _ in range(2)]
    trainer = backend.make_trainer(recipe, weights)
    trainer.train(chunks[0])
    kept = [trainer.state(seed) for seed in range(2)]
    expected = trainer.train(chunks[1]).loss
    other = backend.make_trainer(recipe, weights)
    for seed in range(2):
        other.restore(seed, kept[seed])
    np.testing.assert_array_equal(other.train(chunks[1]).loss, expected)


@pytest.mark.parametrize(("field", "value"), WRAPPED.items())
def test_numpy_knows_none_of_them(field, value):
    numpy_backend = load_backend("numpy")
    recipe = dataclasses.replace(Recipe(AddingTask(6), hidden=7), **{field: value})
    with pytest.raises(ValueError, match=f"knows the {field} None alone, got {value}"):
        numpy_backend.make_trainer(recipe, [numpy_backend.initial_weights(recipe, 0)])


def test_gates_are_initialised_like_w_hh():
    recipe = dataclasses.replace(RECIPES["gru"], recurrent_init="identity", input_std=1e-3)
    for backend in ("jax", "torch"):
        weights = load_backend(backend).initial_weights(recipe, 0)
        for gate in "rzn":
            np.testing.assert_array_equal(weights[f"W_h{gate}"], np.eye(7))
            np.testing.assert_array_equal(weights[f"b_{gate}"], np.zeros(7))
            assert np.abs(weights[f"W_x{gate}"]).max() < 1e-2
