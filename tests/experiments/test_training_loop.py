"""Explosions and what follows, seeds apart from each other, test sets; on known numbers."""

import dataclasses

import numpy as np
import pytest
from experiment_support import FakeBackend

from experiments.harness.backends.backend import load_backend
from experiments.harness.method.recipe import Recipe
from experiments.harness.method.schedule import Schedule
from experiments.harness.records.results import Run
from experiments.harness.saving.snapshots import pack, unpack
from experiments.harness.training.training_loop import TrainingLoop
from jaxrnn.tasks import AddingTask
from jaxrnn.text import CharacterTask, Text

RECIPE = Recipe(AddingTask(6), hidden=4, activation="relu", recurrent_init="identity")
# Two epochs of chunks of 3, 3 and 2 steps.
SCHEDULE = Schedule(
    2, 8, 5, val_samples=6, training_set=40, max_loss=10.0, max_restarts=2, chunk_steps=3
)


class Counting(FakeBackend):
    """Each seed has its own state: its number of chunks, and its learning rate."""

    def __init__(self, num_seeds, explodes):
        super().__init__(num_seeds)
        self.chunks, self.rates = [0] * num_seeds, [1.0] * num_seeds
        self.explodes = explodes

    def train(self, batches):
        columns = super().train(batches)
        for i, batch in enumerate(batches):
            if batch is not None:
                self.chunks[i] += 1
                self.explodes(i, self.chunks[i], self.rates[i], columns)
        return columns

    def state(self, seed):
        return {"chunks": np.array(self.chunks[seed]), "rate": np.array(self.rates[seed])}

    def restore(self, seed, state):
        self.chunks[seed], self.rates[seed] = int(state["chunks"]), float(state["rate"])

    def cut_learning_rate(self, seed, factor):
        self.rates[seed] *= factor


def run_loop(explodes, num_seeds=1, **changes):
    trainer = Counting(num_seeds, explodes)
    schedule = dataclasses.replace(SCHEDULE, **changes)
    loop = TrainingLoop(RECIPE, schedule, [Run("irnn", "jax", seed) for seed in range(num_seeds)])
    loop.begin(trainer)
    progress = []
    while loop.is_unfinished:
        progress.append(loop.advance())
    loop.test()
    return loop.finish(), trainer, progress


def never(seed, chunk, rate, columns):
    pass


def nan_at(chunk, step, below=0.5, only=0):
    """A step that is not finite, as long as the rate is above ``below``."""

    def explodes(seed, now, rate, columns):
        if (seed, now) == (only, chunk) and rate > below:
            columns.loss[seed, step:] = np.nan

    return explodes


def test_chunks_are_the_same_whatever_an_epoch_is_cut_into():
    (whole,), *_ = run_loop(never, chunk_steps=8)
    (cut,), trainer, progress = run_loop(never)
    assert trainer.chunks == [6]
    assert [live[0].step for live in progress] == [3, 6, 8, 11, 14, 16]
    assert [live[0].epoch_ended for live in progress] == [False, False, True] * 2
    assert list(cut.history) == list(whole.history)
    np.testing.assert_array_equal(cut.steps["step"], whole.steps["step"])
    assert "restarts" not in cut.final


def test_it_goes_back_to_where_a_whole_chunk_was_trained_from():
    # The fifth chunk explodes at its second step, the thirteenth of all: the fourth was trained
    # well, so that it is from where that began, after eight steps, that it goes on.
    (run,), trainer, progress = run_loop(nan_at(chunk=5, step=1))
    assert [live[0].step for live in progress] == [3, 6, 8, 11, 12, 11, 14, 16]
    assert [live[0].epoch_ended for live in progress] == [False, False, True, *[False] * 4, True]
    assert trainer.rates == [0.5]
    assert run.status == "completed"
    assert run.final["restarts"] == 1
    assert run.final["restarted_at_steps"] == [12]
    assert run.final["learning_rate_factor"] == 0.5
    assert run.history["epoch"] == [1, 2]
    np.testing.assert_array_equal(run.steps["step"], np.arange(16))
    assert np.isfinite(run.steps["grad_norm"]).all()
    for first, again in ((3, 5), (4, 6)):
        before, after = (trainer.batches[k][0] for k in (first, again))
        np.testing.assert_array_equal(before.inputs, after.inputs)


def test_the_first_chunk_goes_back_to_the_beginning():
    (run,), _, progress = run_loop(nan_at(chunk=1, step=0))
    assert [live[0].step for live in progress][:2] == [0, 3]
    assert (run.status, run.final["restarted_at_steps"]) == ("completed", [0])


def test_a_bounded_number_of_times():
    (run,), *_ = run_loop(nan_at(chunk=2, step=2, below=0.0))
    assert run.status == "diverged"
    assert run.final["restarts"] == 2
    assert run.final["diverged_at_step"] == 5
    assert run.final["learning_rate_factor"] == 0.25
    np.testing.assert_array_equal(run.steps["step"], np.arange(5))
    assert "test_loss" not in run.final
    (run,), *_ = run_loop(nan_at(chunk=2, step=2, below=0.0), max_restarts=0)
    assert (run.status, run.final["diverged_at_step"]) == ("diverged", 5)
    assert "restarts" not in run.final


@pytest.mark.parametrize(("steps", "restarts"), [(2, 1), (1, 0)])
def test_a_chunk_has_exploded_when_most_of_its_losses_have(steps, restarts):
    def explodes(seed, chunk, rate, columns):
        if chunk == 2 and rate == 1.0:
            columns.loss[seed, :steps] = 1e6

    (run,), *_ = run_loop(explodes)
    assert run.final.get("restarts", 0) == restarts


def test_one_seed_goes_back_and_the_other_waits_for_it():
    (restarted, undisturbed), trainer, progress = run_loop(nan_at(chunk=5, step=1), num_seeds=2)
    alone = run_loop(nan_at(chunk=5, step=1))[0][0]
    assert [[live.run.seed for live in round] for round in progress] == [
        *[[0, 1]] * 5,
        *[[0]] * 2,  # again, while the other waits
        [0, 1],
    ]
    assert trainer.rates == [0.5, 1.0]
    assert trainer.chunks == [6, 6]
    assert restarted.final["restarts"] == 1
    assert "restarts" not in undisturbed.final
    assert restarted.history["epoch"] == undisturbed.history["epoch"] == [1, 2]
    np.testing.assert_array_equal(restarted.steps["step"], alone.steps["step"])


def test_the_test_set_is_measured_once_in_parts_of_equal_weight_a_sequence():
    trainer = Counting(1, never)
    trainer.evaluate = lambda batches: (np.array([batches[0].targets.mean()]), np.array([np.nan]))
    schedule = dataclasses.replace(SCHEDULE, test_samples=20)  # 6 + 6 + 6 + 2
    loop = TrainingLoop(RECIPE, schedule, [Run("irnn", "jax", 3)])
    loop.begin(trainer)
    while loop.is_unfinished:
        loop.advance()
    loop.test()
    (run,) = loop.finish()
    test = RECIPE.task.sample(np.random.default_rng([3, 3]), 20)
    # Sums of float32 numbers in another order.
    assert run.final["test_loss"] == pytest.approx(test.targets.mean(), rel=1e-6)


TEXT = CharacterTask(Text("to be or not to be, " * 60), seq_len=6, streams=5)


@pytest.mark.parametrize(
    ("backend", "task"), [("torch", AddingTask(6)), ("torch", TEXT), ("jax", TEXT)]
)
def test_sequences_that_grow_are_gone_on_with_bit_for_bit(backend, task):
    """From the middle of the second epoch; the sequences have 2, 4, 6 and 6 steps in the four."""
    recipe = dataclasses.replace(RECIPE, task=task, lr=1e-2, optimizer="momentum", warmup_steps=9)
    schedule = dataclasses.replace(SCHEDULE, epochs=4, start_length=2, max_loss=np.inf)
    schedule = dataclasses.replace(schedule, training_set=0, test_samples=0)
    library = load_backend(backend)
    weights = [library.initial_weights(recipe, 0)]

    def begin(snapshots=None):
        loop = TrainingLoop(recipe, schedule, [Run("irnn", backend, 3)])
        loop.begin(library.make_trainer(recipe, weights), snapshots)
        return loop

    whole, middle = begin(), None
    while whole.is_unfinished:
        whole.advance()
        if whole.snapshots[0].latest[3:] == (2, 6):
            middle = unpack(*pack(whole.snapshots))
    again = begin(middle)
    while again.is_unfinished:
        again.advance()
    (expected,), (found,) = whole.finish(), again.finish()
    assert expected.history["epoch"] == [1, 2, 3, 4]
    for name, column in expected.steps.items():
        np.testing.assert_array_equal(found.steps[name], column, err_msg=name)
    np.testing.assert_array_equal(found.history["val_loss"], expected.history["val_loss"])


SCHEDULED = {"clip_adaptive": 0.1, "warmup_steps": 5, "decay_steps": 30}
REMEDIES = [{"optimizer": name, **SCHEDULED} for name in ("momentum", "rmsprop")]


@pytest.mark.parametrize(
    ("backend", "remedies"),
    [
        *[(backend, {}) for backend in ("numpy", "torch", "jax")],
        *[(backend, remedies) for backend in ("torch", "jax") for remedies in REMEDIES],
    ],
)
def test_a_snapshot_is_gone_back_to_bit_for_bit(backend, remedies):
    """On the real trainers: state, then steps, then back, then the same steps again."""
    recipe = dataclasses.replace(
        RECIPE,
        retraction="qr",
        project_every=3,
        lr=1e-2,
        devices=1 if backend == "jax" else None,
        **remedies,
    )
    library = load_backend(backend)
    trainer = library.make_trainer(recipe, [library.initial_weights(recipe, s) for s in (0, 1)])
    rng = np.random.default_rng(5)
    batches = [RECIPE.task.sample(rng, 4, 5) for _ in range(2)]
    trainer.train(batches)
    states = [trainer.state(0), trainer.state(1)]
    first = trainer.train(batches)
    after = [trainer.state(0), trainer.state(1)]
    trainer.restore(0, states[0])
    again = trainer.train([batches[0], None])
    np.testing.assert_array_equal(again.loss[0], first.loss[0])
    for seed in (0, 1):
        now = trainer.state(seed)
        assert now.keys() == after[seed].keys()
        for name, array in after[seed].items():
            np.testing.assert_array_equal(now[name], array, err_msg=name)
            assert now[name].dtype == array.dtype
    # A lower rate changes that seed's weights and nothing of the other's.
    trainer.restore(0, states[0])
    trainer.cut_learning_rate(0, 0.5)
    trainer.train([batches[0], None])
    now = trainer.state(0)
    different = [name for name, array in after[0].items() if (array != now[name]).any()]
    assert any("W_hh" in name or "kernel" in name or "weight" in name for name in different)
    for name, array in trainer.state(1).items():
        np.testing.assert_array_equal(array, after[1][name], err_msg=name)
