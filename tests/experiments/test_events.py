"""TensorBoard's event files, written and read back."""

import sys

import numpy as np
import pytest
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event

from experiments.harness.records.results import Run
from experiments.harness.records.run_record import Progress
from experiments.harness.saving.events import EventFiles


def read(folder):
    """(step, name) → value of every scalar in the folder's files, by the format of TFRecord."""
    scalars = {}
    for path in sorted(folder.glob("*.tfevents.*")):
        data, place = path.read_bytes(), 0
        while place < len(data):
            length = int.from_bytes(data[place : place + 8], "little")
            event = Event.FromString(data[place + 12 : place + 12 + length])
            place += 12 + length + 4
            for value in event.summary.value:
                scalars[event.step, value.tag] = value.simple_value
    return scalars


def progress(seed, step, loss, epoch_ended=False, **settings):
    history = {"epoch": [1], "val_loss": [0.25], "val_accuracy": [np.nan]}
    history |= {"spectral_norm": [1.5], "orthogonality_error": [0.125]}
    run = Run("irnn", "jax", seed, settings, history=history, final={"restarts": 2})
    return Progress(run, step, loss, 3.0, 100.0, epoch_ended)


def test_what_was_written_is_read_back(tmp_path):
    files = EventFiles(tmp_path / "new/logs")
    files.add([progress(0, 500, 0.5), progress(1, 500, 0.75, seq_len=200)])
    files.add([progress(0, 1000, 0.25, epoch_ended=True)])
    files.close()
    first = read(tmp_path / "new/logs/irnn-jax-seed=0")
    assert first[500, "loss"] == 0.5
    assert first[1000, "loss"] == 0.25
    assert first[1000, "grad_norm"] == 3.0
    assert first[1000, "restarts"] == 2
    assert first[1000, "steps_per_second"] == 100.0
    assert first[1000, "val_loss"] == 0.25
    assert first[1000, "spectral_norm"] == 1.5
    assert (500, "val_loss") not in first
    assert (1000, "val_accuracy") not in first  # a regression has none
    assert read(tmp_path / "new/logs/irnn-jax-seq_len=200-seed=1")[500, "loss"] == 0.75


def test_a_full_disk_is_reported_once_and_training_goes_on(tmp_path, monkeypatch, capsys):
    def full(self, event):
        raise OSError(28, "No space left on device")

    files = EventFiles(tmp_path)
    files.add([progress(0, 500, 0.5)])
    monkeypatch.setattr(EventsWriter, "write_event", full)
    for step in (1000, 1500):
        files.add([progress(0, step, 0.5)])
    files.close()
    assert capsys.readouterr().err.count("No space left on device") == 1


def test_without_tensorboardx_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ValueError, match=r"--log-dir needs .*jaxrnn\[experiments\]"):
        EventFiles(tmp_path / "logs")
    assert not (tmp_path / "logs").exists()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"--log-dir .*file cannot be used"):
        EventFiles(tmp_path / "file")
