"""Checkpoints in time, signals, and what a resumed command passes over and refuses."""

import os
import signal

import numpy as np
import pytest
from experiment_support import SMALL, FakeBackend, load, small

from experiments.copy_task.config import CopyTaskConfig
from experiments.harness.method.schedule import Schedule
from experiments.harness.records.results import NotWritten, Run
from experiments.harness.saving import checkpoints, session
from experiments.harness.saving.session import Session, SessionOptions
from experiments.harness.saving.signals import Terminated
from experiments.harness.training import runner
from experiments.harness.training.runner import Interrupted, Job, train_runs

SCHEDULE = Schedule(epochs=4, steps_per_epoch=6, batch_size=5, val_samples=6, chunk_steps=2)


@pytest.fixture
def fake(monkeypatch):
    """A FakeBackend that stands for all of them."""
    backend = FakeBackend()
    monkeypatch.setattr(runner, "load_backend", lambda name: backend)
    return backend


def options(folder, **changes):
    return SessionOptions(**{"checkpoint_dir": folder, "checkpoint_every": 1, **changes})


def open_session(folder, config=None, experiment="copy_task", **changes):
    config = config or small()
    fields = {name: getattr(config, name) for name in SMALL}
    return Session(experiment, CopyTaskConfig(**fields, session=options(folder, **changes)), [])


def train(session, method="qr", on_chunk=lambda progress: None):
    job = Job(method, method, small().recipe("qr"), SCHEDULE)
    return train_runs(job, [3], "torch", session=session, on_chunk=on_chunk)


def number_of(folder):
    return max(int(path.name.partition("-")[2]) for path in folder.glob("checkpoint-*"))


@pytest.mark.parametrize(("every", "saved"), [(1, 12), (2, 12), (3, 6), (4, 6), (100, 0)])
def test_checkpoints_come_where_a_chunk_ends(tmp_path, fake, every, saved):
    with open_session(tmp_path, checkpoint_every=every) as opened:
        train(opened)
    assert number_of(tmp_path) == saved + 1  # and one when the job is done


def interrupt_at(step, number):
    def on_chunk(progress):
        if progress[0].step == step:
            os.kill(os.getpid(), number)

    return on_chunk


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [2, 6, 8])
def test_a_signal_saves_and_a_resumed_run_is_the_same(tmp_path, fake, number, step):
    expected = train(None)[0]
    with open_session(tmp_path, checkpoint_every=1000) as first:
        train(first, "vanilla")
        with pytest.raises(Interrupted) as caught:
            train(first, on_chunk=interrupt_at(step, number))
    assert isinstance(caught.value.cause, Terminated) == (number == signal.SIGTERM)
    assert [run.status for run in caught.value.runs] == ["interrupted"]
    assert len(caught.value.runs[0].steps["step"]) == step
    fake.batches = []
    with open_session(tmp_path, resume=True) as second:
        assert train(second, "vanilla")[0].history == expected.history
        assert fake.batches == []  # done before
        (run,) = train(second)
    assert len(fake.batches) == (24 - step) / 2
    assert run.status == "completed"
    assert run.history == expected.history
    for name, column in expected.steps.items():
        np.testing.assert_array_equal(run.steps[name], column)
    assert run.final == expected.final
    assert run.seconds > caught.value.runs[0].seconds


def test_the_second_signal_does_not_wait(tmp_path, fake, monkeypatch):
    def train_slowly(batches):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("still training")

    fake.train = train_slowly
    with open_session(tmp_path) as opened, pytest.raises(Interrupted) as caught:
        train(opened)
    assert isinstance(caught.value.cause, Terminated)
    assert not list(tmp_path.glob("checkpoint-*"))


def test_without_checkpoints_a_signal_does_not_wait(fake):
    def train_slowly(batches):
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("still training")

    fake.train = train_slowly
    before = signal.getsignal(signal.SIGTERM)
    with Session("copy_task", small(), []) as opened, pytest.raises(Interrupted) as caught:
        train(opened)
    assert isinstance(caught.value.cause, Terminated)
    assert signal.getsignal(signal.SIGTERM) is before
    assert issubclass(Terminated, KeyboardInterrupt)


@pytest.mark.parametrize("is_last", [False, True])
def test_a_signal_between_training_and_the_end_of_a_job(tmp_path, fake, monkeypatch, is_last):
    """While the test set is measured, say: the job ends, is saved, and nothing follows it."""
    monkeypatch.setattr(runner.TrainingLoop, "test", lambda loop: os.kill(os.getpid(), 15))
    with open_session(tmp_path) as opened, pytest.raises(Interrupted) as caught:
        train(opened)
    assert isinstance(caught.value.cause, Terminated)
    (run,) = caught.value.runs
    assert run.status == "completed"
    with open_session(tmp_path, resume=True) as opened:
        assert train(opened)[0].history == run.history
        assert fake.epoch == 12  # trained once


def test_a_checkpoint_that_cannot_be_written_keeps_what_was_measured(tmp_path, fake, monkeypatch):
    def full(path):
        if number_of(tmp_path) == 3:
            raise OSError(28, "No space left on device")
        checksums(path)

    checksums = checkpoints._write_checksums
    with open_session(tmp_path) as opened:
        opened._folder.save(1, checkpoints.Checkpoint({}, {}, {}), by_orbax=False)
        monkeypatch.setattr(checkpoints, "_write_checksums", full)
        opened._number = 1
        with pytest.raises(Interrupted, match="No space left on device") as caught:
            train(opened)
    assert isinstance(caught.value.cause, NotWritten)
    assert len(caught.value.runs[0].steps["step"]) == 6
    assert number_of(tmp_path) == 3
    with open_session(tmp_path, resume=True) as opened:
        monkeypatch.undo()
    # What was measured is written, and the command ends with 1.


def test_nothing_stays_of_a_session_that_cannot_begin(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="--log-dir"):
        open_session(tmp_path / "new/checkpoints", log_dir=tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_other_settings_are_refused_field_by_field(tmp_path, fake):
    with open_session(tmp_path) as opened:
        train(opened)
    other = small(hidden=9, batch_size=4)
    with pytest.raises(ValueError, match="made with --batch-size 16, not 4; --hidden 8, not 9"):
        open_session(tmp_path, other, resume=True)
    with pytest.raises(ValueError, match="is of copy_task, not of adding_task"):
        open_session(tmp_path, experiment="adding_task", resume=True)
    # What is refused lets go of the folder; where to write and how often to save is free.
    with open_session(tmp_path, resume=True, checkpoint_every=7):
        pass


def test_another_environment_is_a_warning(tmp_path, fake, monkeypatch, capsys):
    with open_session(tmp_path) as opened:
        train(opened)
    versions = session.environment([])
    monkeypatch.setattr(session, "environment", lambda backends: {**versions, "numpy": "9.9"})
    with open_session(tmp_path, resume=True):
        pass
    warning = capsys.readouterr().err
    assert f"numpy {versions['numpy']}, now 9.9: not bit for bit the same" in warning


def test_a_job_is_known_by_all_that_it_is(tmp_path, fake):
    with open_session(tmp_path) as opened:
        train(opened)
    with open_session(tmp_path, resume=True) as opened:
        same = Run("qr", "torch", 3)
        assert opened.recall([same]) is not None
        for other in (
            Run("vanilla", "torch", 3),
            Run("qr", "jax", 3),
            Run("qr", "torch", 4),
            Run("qr", "torch", 3, {"lr": 1.0}),
        ):
            assert opened.recall([other]) is None
            assert opened.begin([other]) is None
        assert opened.recall([same, Run("qr", "torch", 4)]) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checkpoint_every": 0}, "--checkpoint-every must be 1 or more, got 0"),
        ({"checkpoint_dir": None, "resume": True}, "--resume needs --checkpoint-dir"),
        ({"checkpoint_dir": None, "checkpoint_every": 7}, "--checkpoint-every 7 needs --check"),
    ],
)
def test_options_that_cannot_be(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        options(tmp_path, **changes)


def test_the_session_is_no_part_of_results(tmp_path, fake):
    from experiments.harness.records.results import write_results

    opened = open_session(tmp_path / "checkpoints")
    with opened:
        write_results(tmp_path, "copy_task", opened.config, [], {})
    assert "session" not in load(tmp_path)["config"]
