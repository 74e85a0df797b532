"""A seed's way through a text."""

import json

import numpy as np

from experiments.common.schedule import Schedule
from experiments.common.stream_data import StreamData
from jaxrnn.text import CharacterTask, Text

TASK = CharacterTask(Text("to be or not to be, " * 60), seq_len=5, streams=3)
SCHEDULE = Schedule(epochs=3, steps_per_epoch=4, batch_size=3, val_samples=50, test_samples=50)


def test_batches_follow_each_other_across_epochs():
    data = StreamData(TASK, SCHEDULE, seed=7)
    first = data.position["batch"]
    parts = [data.steps(0, 3), data.steps(3, 4)]
    data.next_epoch()
    parts.append(data.steps(0, 4))
    read = np.concatenate([part.inputs for part in parts])
    np.testing.assert_array_equal(read, TASK.batches(first, 8).inputs)
    assert StreamData(TASK, SCHEDULE, seed=8).position["batch"] != first


def test_rewinding_to_a_position_that_went_through_json():
    data = StreamData(TASK, SCHEDULE, seed=7)
    data.next_epoch()
    position = json.loads(json.dumps(data.position))
    expected = data.steps(1, 4).inputs
    for other in (data, StreamData(TASK, SCHEDULE, seed=7)):
        other.next_epoch()
        other.rewind(position)
        np.testing.assert_array_equal(other.steps(1, 4).inputs, expected)


def test_splits():
    data = StreamData(TASK, SCHEDULE, seed=7)
    for name, batch in (
        ("train", data.known),
        ("validation", data.validation),
        ("test", data.test),
    ):
        np.testing.assert_array_equal(batch.inputs, TASK.sequences(name).inputs)
