"""Tasks: every token in its place, and baselines that are what the best memoryless answer loses."""

import numpy as np
import pytest

from jaxrnn.tasks import (
    AddingTask,
    CopyMemoryTask,
    CopyTask,
    growing_length,
    length_of,
    with_length,
)

TASKS = [CopyTask(4), CopyMemoryTask(6), AddingTask(9)]


def memoryless_cross_entropy(targets, num_blanks):
    """Of the answer that is sure of the blanks and guesses evenly among the eight symbols after."""
    probabilities = np.zeros((*targets.shape, 9))
    probabilities[:, :num_blanks, 8] = 1
    probabilities[:, num_blanks:, :8] = 1 / 8
    return -np.log(np.take_along_axis(probabilities, targets[..., None], -1)).mean()


def test_copy_task_places_every_token(rng):
    inputs, targets = CopyTask(4).sample(rng, 300)
    assert inputs.shape == targets.shape == (300, 9)
    np.testing.assert_array_equal(inputs[:, 4:], 8)
    np.testing.assert_array_equal(targets[:, :5], 8)
    np.testing.assert_array_equal(targets[:, 5:], inputs[:, :4])
    assert set(np.unique(inputs[:, :4])) == set(range(8))


def test_copy_memory_task_places_every_token(rng):
    inputs, targets = CopyMemoryTask(6).sample(rng, 300)
    assert inputs.shape == targets.shape == (300, 26)
    np.testing.assert_array_equal(inputs[:, 10:15], 8)
    # The marker is the step before the first answer: the answers are the last ten steps.
    np.testing.assert_array_equal(inputs[:, 15], 9)
    np.testing.assert_array_equal(inputs[:, 16:], 8)
    np.testing.assert_array_equal(targets[:, :16], 8)
    np.testing.assert_array_equal(targets[:, 16:], inputs[:, :10])
    assert set(np.unique(inputs[:, :10])) == set(range(8))


@pytest.mark.parametrize("T", [2, 9, 10])
def test_adding_task_marks_one_number_in_each_half(rng, T):
    inputs, targets = AddingTask(T).sample(rng, 400)
    assert inputs.shape == (400, T, 2)
    assert targets.shape == (400,)
    numbers, markers = inputs[..., 0], inputs[..., 1]
    assert set(np.unique(markers)) <= {0, 1}
    half = T // 2
    np.testing.assert_array_equal(markers[:, :half].sum(axis=1), 1)
    np.testing.assert_array_equal(markers[:, half:].sum(axis=1), 1)
    assert markers.any(axis=0).all()  # every place is marked some time
    marked = [row[place == 1].sum() for row, place in zip(numbers, markers, strict=True)]
    np.testing.assert_array_equal(targets, np.asarray(marked, np.float32))
    # 400·T numbers uniform in [0, 1): mean within 5 deviations, extremes within 15/n of the ends.
    n = numbers.size
    assert abs(numbers.mean() - 0.5) < 5 * np.sqrt(1 / 12 / n)
    assert 0 <= numbers.min() < 15 / n
    assert 1 - 15 / n < numbers.max() < 1


def test_copy_baselines_are_the_memoryless_cross_entropy(rng):
    # Exact for any sample, so rounding alone: sums of about 2000 terms.
    copy, memory = CopyTask(4), CopyMemoryTask(6)
    for task, num_blanks in ((copy, 5), (memory, 16)):
        loss = memoryless_cross_entropy(task.sample(rng, 50).targets, num_blanks)
        np.testing.assert_allclose(task.baseline, loss, rtol=1e-12)
    # L ln 8 / (2L + 1) and its like, worked out by hand.
    assert round(CopyTask().baseline, 3) == 0.990
    np.testing.assert_allclose(CopyMemoryTask(100).baseline, 10 * np.log(8) / 120, rtol=1e-15)


def test_adding_baseline_is_the_error_of_always_answering_one(rng):
    task = AddingTask(6)
    errors = (task.sample(rng, 20000).targets.astype(np.float64) - 1) ** 2
    # Five standard deviations of the mean.
    assert abs(errors.mean() - task.baseline) < 5 * errors.std() / np.sqrt(errors.size)
    assert task.baseline == 1 / 6


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
def test_a_chunk_has_its_leading_axes_and_fresh_sequences(rng, task):
    inputs, targets = task.sample(rng, 5, 3)
    one = task.sample(rng, 3)
    assert inputs.shape == (5, *one.inputs.shape)
    assert targets.shape == (5, *one.targets.shape)
    assert inputs.dtype == (np.float32 if isinstance(task, AddingTask) else np.int32)
    assert targets.dtype == inputs.dtype
    flat = inputs.reshape(15, -1)
    assert len(np.unique(flat, axis=0)) == 15


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
def test_the_generator_alone_decides(task):
    first, again, other = (task.sample(np.random.default_rng(seed), 2, 3) for seed in (5, 5, 6))
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
def test_sizes_match_the_data(rng, task):
    inputs, targets = task.sample(rng, 200)
    if isinstance(task, AddingTask):
        assert (task.num_inputs, task.num_outputs) == (inputs.shape[-1], 1)
    else:
        assert (task.num_inputs, task.num_outputs) == (inputs.max() + 1, targets.max() + 1)


@pytest.mark.parametrize(
    ("task", "name", "least"),
    [(CopyTask, "seq_len", 1), (CopyMemoryTask, "delay", 1), (AddingTask, "seq_len", 2)],
)
def test_lengths_that_are_too_short_are_refused(unchecked, rng, task, name, least):
    for value in (least - 1, -3, least + 0.5, float("nan")):
        message = f"{name} must be a whole number, {least} or more, got {value}"
        with pytest.raises(ValueError, match=message):
            task(value)
    task(least).sample(rng, 2)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: type(task).__name__)
def test_the_same_task_at_another_length(rng, task):
    longer = with_length(task, 12)
    assert type(longer) is type(task)
    before, steps = {CopyTask: (4, 25), CopyMemoryTask: (6, 32), AddingTask: (9, 12)}[type(task)]
    assert (length_of(task), length_of(longer)) == (before, 12)
    assert longer.sample(rng, 3).inputs.shape[1] == steps


def lengths(first, last, epochs):
    return [growing_length(first, last, epoch, epochs) for epoch in range(1, epochs + 1)]


def test_growing_lengths():
    # Two short lengths in the first half, evenly; then the last.
    assert lengths(10, 40, 8) == [10, 10, 20, 20, 40, 40, 40, 40]
    assert lengths(10, 35, 4) == [10, 20, 35, 35]
    assert lengths(10, 10, 3) == [10, 10, 10]
    assert lengths(3, 100, 1) == [100]  # too few epochs for all, but never for the last
    # Too few for all those between, but never for the first and the last.
    assert lengths(1, 9, 2) == [1, 9]
    assert lengths(5, 35, 2) == [5, 35]
    assert lengths(1, 100, 4) == [1, 32, 100, 100]


def test_after_the_last_epoch_the_length_stays():
    assert [growing_length(3, 30, epoch, 4) for epoch in (4, 5, 99)] == [30, 30, 30]


@pytest.mark.parametrize("epochs", [1, 2, 7, 20])
@pytest.mark.parametrize("last", [1, 2, 31, 32, 33, 1000])
@pytest.mark.parametrize("first", [1, 3, 30])
def test_lengths_grow_to_the_last_by_the_middle(first, last, epochs):
    if first > last:
        with pytest.raises(ValueError, match=f"must be from 1 to the last, {last}, got {first}"):
            growing_length(first, last, 1, epochs)
        return
    found = lengths(first, last, epochs)
    assert found == sorted(found)
    assert found[0] == (first if epochs > 1 else last)
    assert set(found[(epochs + 1) // 2 :]) <= {last} == {found[-1]}
    assert len(set(found)) <= 2 + np.log2(last / first)
