"""The NumPy backend trains as PyTorch does, from the same weights on the same batches."""

import dataclasses

import numpy as np
import pytest

from experiments.harness.backends import numpy_backend
from experiments.harness.backends.backend import load_backend
from experiments.harness.method.recipe import Recipe
from jaxrnn.tasks import AddingTask, CopyTask
from jaxrnn.training import Measurements

COPY = Recipe(CopyTask(3), hidden=7, lr=0.01, clip_norm=0.1, retraction="qr", track_every=2)
ADDING = Recipe(AddingTask(6), hidden=7, activation="relu", recurrent_init="identity", lr=0.01)
MODRELU = dataclasses.replace(
    COPY, activation="modrelu", recurrent_init="orthogonal", project_every=3
)


def train(name, recipe, weights, seeds=2):
    """Measurements of six steps and the evaluation after them, of each seed."""
    rng = np.random.default_rng(5)
    batches = [recipe.task.sample(rng, 6, 4) for _ in range(seeds)]
    trainer = load_backend(name).make_trainer(recipe, weights)
    measured = trainer.train(batches)
    return measured, trainer.evaluate([recipe.task.sample(rng, 9) for _ in range(seeds)])


@pytest.mark.parametrize("recipe", [COPY, ADDING, MODRELU], ids=["copy", "adding", "modrelu"])
def test_training_is_that_of_torch(recipe):
    weights = [numpy_backend.initial_weights(recipe, seed) for seed in range(2)]
    (ours, our_end), (theirs, their_end) = (
        train(name, recipe, weights) for name in ("numpy", "torch")
    )
    assert ours._fields == Measurements._fields
    for name, mine, other in zip(ours._fields, ours, theirs, strict=True):
        assert mine.shape == (2, 6)
        # PyTorch in float32: a few eps of 1.2e-7 a step, an orthogonality error nothing but that.
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(our_end, their_end, rtol=1e-4)


@pytest.mark.parametrize("recurrent_init", ["uniform", "orthogonal", "identity"])
def test_initial_weights(recurrent_init):
    recipe = dataclasses.replace(MODRELU, recurrent_init=recurrent_init)
    weights = numpy_backend.initial_weights(recipe, 3)
    again, other = (numpy_backend.initial_weights(recipe, seed) for seed in (3, 4))
    np.testing.assert_equal(weights, again)
    assert not np.array_equal(weights["W_xh"], other["W_xh"])
    gram = weights["W_hh"].T @ weights["W_hh"]
    is_orthogonal = np.allclose(gram, np.eye(7), rtol=0, atol=1e-14)
    assert is_orthogonal == (recurrent_init != "uniform")
    assert np.array_equal(weights["W_hh"], np.eye(7)) == (recurrent_init == "identity")
    np.testing.assert_array_equal(weights["b_modrelu"], np.zeros(7))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("optimizer", "momentum"),
        ("clip_value", 0.5),
        ("clip_adaptive", 0.1),
        ("warmup_steps", 5),
        ("decay_steps", 9),
    ],
)
def test_what_it_does_not_know_is_refused(name, value):
    recipe = dataclasses.replace(COPY, **{name: value})
    with pytest.raises(ValueError, match=f"knows the {name} (adam|0.0|0) alone, got {value}"):
        numpy_backend.make_trainer(recipe, [])


def test_a_step_that_is_not_finite_is_not_applied():
    recipe = dataclasses.replace(ADDING, lr=1e-3, track_every=1)
    weights = numpy_backend.initial_weights(recipe, 0)
    batch = recipe.task.sample(np.random.default_rng(0), 5, 4)
    batch.inputs[2] = np.nan
    trainer = numpy_backend.make_trainer(recipe, [weights])
    measured = trainer.train([batch])
    np.testing.assert_array_equal(np.isfinite(measured.loss[0]), [True, True, False, True, True])
    norms = measured.spectral_norm[0]
    assert norms[0] != norms[1]
    np.testing.assert_array_equal(norms[1:], norms[1])  # nor is any step after it
