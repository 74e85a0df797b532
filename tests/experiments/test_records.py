"""Columns of steps, rows of epochs, and what a run says at its end."""

import numpy as np
import pytest

from experiments.harness.records import run_record as records
from experiments.harness.records.results import Run
from experiments.harness.records.run_record import HISTORY, MEASURED, STEPS, Record

EVALUATED = {"val_loss": 0.5, "val_accuracy": np.nan}


def new_record():
    return Record(Run("qr", "jax", 0, history={name: [] for name in HISTORY}))


def columns(rng, count):
    return {name: rng.standard_normal(count).astype(np.float32) for name in MEASURED}


def test_an_epoch_of_several_chunks_is_one_row(rng):
    record = new_record()
    parts = [columns(rng, count) for count in (5, 3, 4)]
    whole = {name: np.concatenate([part[name] for part in parts]) for name in MEASURED}
    for part in parts[:2]:
        record.add_steps(part)
    record.end_epoch(1, EVALUATED)
    record.add_steps(parts[2])
    record.end_epoch(2, EVALUATED)
    history = record.run.history
    assert tuple(history) == HISTORY
    assert history["epoch"] == [1, 2]
    assert history["train_loss"] == [whole["loss"][:8].mean(), whole["loss"][8:].mean()]
    assert history["grad_norm_max"] == [whole["grad_norm"][:8].max(), whole["grad_norm"][8:].max()]
    assert history["spectral_norm"] == [whole["spectral_norm"][7], whole["spectral_norm"][11]]
    run = record.finish()
    np.testing.assert_array_equal(run.steps["step"], np.arange(12))
    for name in STEPS:
        np.testing.assert_array_equal(run.steps[name], whole[name])


@pytest.mark.parametrize("chunks", [[7] * 9, [1] * 40, [50], [13, 6] * 5])
def test_long_runs_keep_the_maxima_of_equal_numbers_of_steps(monkeypatch, rng, chunks):
    monkeypatch.setattr(records, "MAX_POINTS", 10)
    record, whole = new_record(), []
    for count in chunks:
        part = columns(rng, count)
        part["spectral_norm"][1:] = np.nan  # not tracked
        whole.append(part)
        record.add_steps(part)
    count = sum(chunks)
    assert 5 <= len(record.points["step"]) <= 10
    starts = np.arange(0, count, record.width)
    np.testing.assert_array_equal(record.points["step"], starts)
    for name in STEPS:
        column = np.concatenate([part[name] for part in whole])
        np.testing.assert_array_equal(record.points[name], np.fmax.reduceat(column, starts))
    assert record.num_steps == count


def test_a_copy_stays_as_it_is(rng):
    record = new_record()
    record.add_steps(columns(rng, 4))
    record.end_epoch(1, EVALUATED)
    copy = record.copy()
    record.add_steps(columns(rng, 4))
    record.end_epoch(2, EVALUATED)
    record.run.status = "diverged"
    record.finish()
    assert (copy.num_steps, len(copy.points["step"]), copy.run.history["epoch"]) == (4, 4, [1])
    assert (copy.run.status, copy.run.final, copy.epoch) == ("completed", {}, {})


def test_a_run_without_steps_has_empty_columns():
    run = new_record().finish()
    assert {name: len(column) for name, column in run.steps.items()} == dict.fromkeys(
        ("step", *STEPS), 0
    )
    assert run.final == {}


def test_ctrl_c_while_an_epoch_is_added_leaves_no_half_row(rng):
    record = new_record()
    record.add_steps(columns(rng, 4))
    record.end_epoch(1, EVALUATED)
    record.add_steps(columns(rng, 4))

    class Interrupting(dict):
        def __getitem__(self, name):
            raise KeyboardInterrupt

    record.epoch = Interrupting(record.epoch)
    with pytest.raises(KeyboardInterrupt):
        record.end_epoch(2, EVALUATED)
    run = record.finish()
    assert {len(column) for column in run.history.values()} == {1}
    assert run.final["val_loss"] == 0.5
