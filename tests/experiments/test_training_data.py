"""Fresh epochs, reordered fixed sets, and going back to an epoch."""

import json

import numpy as np
import pytest

from experiments.harness.method.recipe import Recipe
from experiments.harness.method.schedule import Schedule
from experiments.harness.training.training_data import TrainingData
from jaxrnn.tasks import AddingTask

RECIPE = Recipe(AddingTask(4), hidden=3)


def data(seed=7, **changes):
    return TrainingData(RECIPE, Schedule(4, 4, 5, val_samples=6, **changes), seed)


def rows(batch):
    """The sequences as a set of bytes."""
    return {sequence.tobytes() for sequence in batch.inputs.reshape(-1, 4, 2)}


def test_fresh_epochs_share_no_sequence():
    fresh = data()
    epochs = [rows(fresh.steps(0, 4)), (fresh.next_epoch(), rows(fresh.steps(0, 4)))[1]]
    assert [len(epoch) for epoch in epochs] == [20, 20]
    assert not epochs[0] & epochs[1]
    assert not rows(fresh.validation) & epochs[0]
    assert (fresh.known, fresh.test) == (None, None)


def test_a_fixed_set_comes_in_another_order():
    fixed = data(training_set=22, test_samples=9)
    first = fixed.steps(0, 4)
    fixed.next_epoch()
    second = fixed.steps(0, 4)
    whole = AddingTask(4).sample(np.random.default_rng([7, 0]), 22)
    assert rows(first) | rows(second) <= rows(whole)
    assert len(rows(first)) == len(rows(second)) == 20  # each once, except two that wait
    assert not np.array_equal(first.inputs, second.inputs)
    assert rows(fixed.known) <= rows(whole)
    assert len(fixed.known.targets) == len(fixed.validation.targets) == 6
    assert len(fixed.test.targets) == 9
    assert not (rows(fixed.test) | rows(fixed.validation)) & rows(whole)
    # Inputs and targets stay together.
    marked = (first.inputs[..., 0] * first.inputs[..., 1]).sum(axis=-1)
    np.testing.assert_array_equal(first.targets, marked)


def test_chunks_are_parts_of_the_epoch():
    for changes in ({}, {"training_set": 20}):
        source = data(**changes)
        parts = [source.steps(start, stop).inputs for start, stop in ((0, 1), (1, 3), (3, 4))]
        np.testing.assert_array_equal(np.concatenate(parts), source.steps(0, 4).inputs)


CHANGES = [{}, {"training_set": 20}, {"start_length": 2}, {"training_set": 20, "start_length": 2}]


@pytest.mark.parametrize("changes", CHANGES)
def test_rewinding_to_a_position_that_went_through_json(changes):
    source = data(**changes)
    source.next_epoch()
    position = json.loads(json.dumps(source.position))
    second = source.steps(0, 4)
    source.next_epoch()
    third = source.steps(0, 4)
    for other in (source, data(**changes)):
        other.rewind(position)
        np.testing.assert_array_equal(other.steps(0, 4).inputs, second.inputs)
        other.next_epoch()
        np.testing.assert_array_equal(other.steps(0, 4).inputs, third.inputs)


@pytest.mark.parametrize("training_set", [0, 22])
def test_sequences_start_short_and_grow(training_set):
    grown = data(training_set=training_set, test_samples=9, start_length=2)
    plain = data(training_set=training_set, test_samples=9)
    for name in ("validation", "test", "known"):
        whole, same = getattr(plain, name), getattr(grown, name)
        if whole is not None:
            np.testing.assert_array_equal(same.inputs, whole.inputs)
    lengths, epochs = [], []
    for _ in range(4):
        epochs.append(grown.steps(0, 4))
        lengths.append(epochs[-1].inputs.shape[2])
        assert epochs[-1].inputs.shape[:2] == (4, 5)
        grown.next_epoch()
    assert lengths == [2, 2, 4, 4]
    marked = (epochs[0].inputs[..., 0] * epochs[0].inputs[..., 1]).sum(axis=-1)
    np.testing.assert_array_equal(epochs[0].targets, marked)
    short, long = ({row.tobytes() for k in pair for row in epochs[k].inputs.reshape(20, -1)}
                   for pair in ((0, 1), (2, 3)))  # fmt: skip
    assert len(short) == len(long) == (22 if training_set else 40)
    if training_set:
        assert long == rows(AddingTask(4).sample(np.random.default_rng([7, 0]), 22))


def test_a_first_length_that_the_task_does_not_have():
    with pytest.raises(ValueError, match="from 1 to the last, 4, got 5"):
        data(start_length=5)
    with pytest.raises(ValueError, match="seq_len must be a whole number, 2 or more, got 1"):
        data(start_length=1)
