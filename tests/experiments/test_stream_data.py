"""A seed's way through a text."""

import dataclasses
import json

import numpy as np
import pytest

from experiments.harness.method.schedule import Schedule
from experiments.harness.training.stream_data import StreamData
from jaxrnn.text import CharacterTask, Text

TASK = CharacterTask(Text("to be or not to be, " * 60), seq_len=5, streams=3)
SCHEDULE = Schedule(epochs=3, steps_per_epoch=4, batch_size=3, val_samples=50, test_samples=50)


def test_batches_follow_each_other_across_epochs():
    data = StreamData(TASK, SCHEDULE, seed=7)
    first = data.position["character"]
    parts = [data.steps(0, 3), data.steps(3, 4)]
    data.next_epoch()
    parts.append(data.steps(0, 4))
    read = np.concatenate([part.inputs for part in parts])
    np.testing.assert_array_equal(read, TASK.batches(first, 8).inputs)
    assert StreamData(TASK, SCHEDULE, seed=8).position["character"] != first


def test_streams_go_on_where_they_ended_when_sequences_grow():
    schedule = dataclasses.replace(SCHEDULE, epochs=4, start_length=2)
    data, parts, lengths = StreamData(TASK, schedule, seed=7), [], []
    first = data.position["character"]
    for _ in range(4):
        for start, stop in ((0, 1), (1, 4)):
            batch = data.steps(start, stop)
            lengths.append(batch.inputs.shape[-1])
            parts.append(batch.inputs.swapaxes(0, 1).reshape(3, -1))
        data.next_epoch()
    assert lengths == [2, 2, 4, 4, 5, 5, 5, 5]
    read = np.concatenate(parts, axis=1)
    whole = TASK.batches(first, read.shape[1]).inputs.swapaxes(0, 1).reshape(3, -1)
    np.testing.assert_array_equal(read, whole[:, : read.shape[1]])
    np.testing.assert_array_equal(data.validation.inputs, TASK.sequences("validation").inputs)


@pytest.mark.parametrize("start_length", [0, 2])
def test_rewinding_to_a_position_that_went_through_json(start_length):
    schedule = dataclasses.replace(SCHEDULE, epochs=4, start_length=start_length)
    data = StreamData(TASK, schedule, seed=7)
    data.next_epoch()
    position = json.loads(json.dumps(data.position))
    expected = data.steps(1, 4).inputs
    data.next_epoch()
    following = data.steps(0, 2).inputs
    for other in (data, StreamData(TASK, schedule, seed=7)):
        other.next_epoch()
        other.rewind(position)
        np.testing.assert_array_equal(other.steps(1, 4).inputs, expected)
        other.next_epoch()
        np.testing.assert_array_equal(other.steps(0, 2).inputs, following)


def test_splits():
    data = StreamData(TASK, SCHEDULE, seed=7)
    for name, batch in (
        ("train", data.known),
        ("validation", data.validation),
        ("test", data.test),
    ):
        np.testing.assert_array_equal(batch.inputs, TASK.sequences(name).inputs)
