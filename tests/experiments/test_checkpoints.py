"""Checkpoints on disk: round trips, damage, strange folders, a lock, a full disk."""

import json
import resource
import shutil
import signal

import numpy as np
import pytest

from experiments.harness.records.results import NotWritten
from experiments.harness.saving import checkpoints
from experiments.harness.saving.checkpoints import Checkpoint, CheckpointFolder, Damaged, verify


def random_checkpoint(rng):
    state = {
        "params/cell/h/kernel": rng.standard_normal((1, 2, 5, 3)).astype(np.float32),
        "opt_state/0/mu/kernel": rng.standard_normal((1, 2, 4)),
        "opt_state/0/count": rng.integers(0, 9, (1, 2), np.int32),
        "diverged": np.array([[True, False]]),
        "zeros": np.zeros((1, 2, 3), np.float32),
    }
    records = {"loss": rng.standard_normal(7), "step": np.arange(7), "none": np.empty(0)}
    progress = {"position": {"state": 2**127 + 1}, "loss": np.float32(0.1), "nan": np.nan}
    return Checkpoint(state, records, progress)


def assert_same(found, expected):
    for part, other in zip(found[:2], expected[:2], strict=True):
        assert part.keys() == other.keys()
        for name, array in other.items():
            np.testing.assert_array_equal(part[name], array)
            assert part[name].dtype == array.dtype
    assert found.progress["position"] == expected.progress["position"]
    assert np.float32(found.progress["loss"]) == expected.progress["loss"]
    assert np.isnan(found.progress["nan"])


@pytest.fixture
def folder(tmp_path):
    folder = CheckpointFolder(tmp_path / "new/folder", to_resume=False)
    yield folder
    folder.release()


@pytest.mark.parametrize("by_orbax", [False, True])
def test_what_was_saved_comes_back_to_the_bit(rng, folder, by_orbax):
    first, second, third = (random_checkpoint(rng) for _ in range(3))
    folder.save(1, first, by_orbax)
    number, found = folder.load()
    assert number == 1
    assert_same(found, first)
    folder.save(2, second, by_orbax)
    folder.save(10, third, by_orbax)
    assert folder.numbers() == [10, 2]  # by number, not by name, and no more than two
    assert_same(folder.load()[1], third)
    assert sorted(path.name for path in folder.folder.iterdir()) == [
        "checkpoint-10",
        "checkpoint-2",
        "lock",
    ]


@pytest.mark.parametrize("by_orbax", [False, True])
def test_every_flipped_bit_and_every_truncation_is_detected(rng, folder, capsys, by_orbax):
    old, new = random_checkpoint(rng), random_checkpoint(rng)
    folder.save(1, old, by_orbax)
    folder.save(2, new, by_orbax)
    path = folder.folder / "checkpoint-2"
    files = [file for file in path.rglob("*") if file.is_file() and file.stat().st_size]
    assert len(files) >= 4
    trials = 0
    for file in files:
        good = file.read_bytes()
        places = {0, len(good) - 1, *rng.integers(0, len(good), 8).tolist()}
        bad = [
            good[:k] + bytes([good[k] ^ (1 << int(rng.integers(8)))]) + good[k + 1 :]
            for k in places
        ]
        bad += [good[:k] for k in {0, len(good) // 2, len(good) - 1}]
        for content in [*bad, good + b"\n"]:
            file.write_bytes(content)
            with pytest.raises(Damaged):
                verify(path)
            trials += 1
        file.unlink()
        with pytest.raises(Damaged):
            verify(path)
        file.write_bytes(good)
        verify(path)
    assert trials >= 50
    (path / "progress.json").write_text("{}")
    number, found = folder.load()
    assert number == 1
    assert_same(found, old)
    assert folder.numbers() == [2, 1]  # nothing has changed yet
    folder.set_damaged_aside(number)
    assert f"warning: checkpoint {path} is damaged: progress.json" in capsys.readouterr().err
    assert (folder.folder / "damaged-2").is_dir()
    folder.save(2, new, by_orbax)  # the number is free again
    assert_same(folder.load()[1], new)
    (folder.folder / "checkpoint-2/records.safetensors").unlink()
    (folder.folder / "checkpoint-1/checksums.json").unlink()
    with pytest.raises(ValueError, match=r"none of its 2 checkpoints is whole"):
        folder.load()


def test_a_checkpoint_of_a_newer_version_is_not_passed_over(rng, folder, monkeypatch):
    folder.save(1, random_checkpoint(rng), False)
    monkeypatch.setattr(checkpoints, "FORMAT", 2)
    folder.save(2, random_checkpoint(rng), False)
    monkeypatch.setattr(checkpoints, "FORMAT", 1)
    with pytest.raises(ValueError, match="has format 2, of a newer version; this one reads 1"):
        folder.load()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "holds no checkpoint to resume"),
        (lambda path: path.mkdir(), "holds no checkpoint to resume"),
        (lambda path: path.write_text(""), "holds no checkpoint to resume"),
        (lambda path: (path / "checkpoint-x").mkdir(parents=True), "holds no checkpoint"),
        (lambda path: (path / "photos").mkdir(parents=True), "holds no checkpoint"),
    ],
    ids=["nothing", "empty", "a file", "foreign", "photos"],
)
def test_a_folder_with_nothing_to_resume_from_is_left_alone(tmp_path, make, message):
    path = tmp_path / "folder"
    make(path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=message):
        CheckpointFolder(path, to_resume=True)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["checkpoint-3", "photos", "file"])
def test_a_run_does_not_begin_in_a_folder_that_is_used(tmp_path, name):
    (tmp_path / name).mkdir() if name != "file" else (tmp_path / name).touch()
    with pytest.raises(ValueError, match="is not empty: add --resume, or name another"):
        CheckpointFolder(tmp_path, to_resume=False)
    (tmp_path / "a file").touch()
    with pytest.raises(ValueError, match="cannot be used"):
        CheckpointFolder(tmp_path / "a file", to_resume=False)


def test_one_run_at_a_time(rng, folder):
    folder.save(1, random_checkpoint(rng), False)
    with pytest.raises(ValueError, match="another run is writing to"):
        CheckpointFolder(folder.folder, to_resume=True)
    folder.release()
    folder.__init__(folder.folder, to_resume=True)
    assert folder.load()[0] == 1


def test_a_folder_in_use_is_called_so_before_anything_else(rng, folder):
    """Also where it is not empty, or there is nothing to resume yet."""
    for number, to_resume in ((1, True), (2, False)):
        with pytest.raises(ValueError, match="another run is writing to --checkpoint-dir"):
            CheckpointFolder(folder.folder, to_resume)
        folder.save(number, random_checkpoint(rng), by_orbax=False)


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_only_has_the_name_of_a_checkpoint_is_passed_over(rng, folder, tmp_path, kind):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.txt").write_text("kept")
    expected = random_checkpoint(rng)
    folder.save(12, expected, by_orbax=False)

    def put(name):
        if kind == "file":
            (folder.folder / name).write_text("a plain file")
        else:
            (folder.folder / name).symlink_to(elsewhere)

    for name in ("checkpoint-500", checkpoints.UNFINISHED, checkpoints.REMOVED, "damaged-500"):
        put(name)
    assert folder.numbers() == [12]
    assert_same(folder.load()[1], expected)
    folder.set_damaged_aside(12)
    for number in (499, 500, 501):
        folder.save(number, expected, by_orbax=False)
    assert folder.numbers() == [501, 500]
    assert (elsewhere / "mine.txt").read_text() == "kept"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda lock, other: lock.symlink_to(other), "Too many levels of symbolic links"),
        (lambda lock, other: lock.mkdir(), "Is a directory"),
    ],
)
def test_a_lock_that_is_none(tmp_path, make, reason):
    (tmp_path / "other").write_text("")
    (tmp_path / "folder").mkdir()
    make(tmp_path / "folder/lock", tmp_path / "other")
    with pytest.raises(ValueError, match=rf"cannot be used \({reason}\)"):
        CheckpointFolder(tmp_path / "folder", to_resume=False)


def test_what_a_killed_process_left_is_no_obstacle(rng, folder):
    (folder.folder / "unfinished/state").mkdir(parents=True)
    folder.release()
    folder.__init__(folder.folder, to_resume=False)  # killed before its first checkpoint
    folder.save(1, random_checkpoint(rng), False)
    assert not (folder.folder / "unfinished").exists()


@pytest.mark.parametrize("by_orbax", [False, True])
def test_a_full_disk_loses_no_checkpoint(rng, folder, by_orbax):
    """No file may grow: as on a full disk, writing fails in Python as it does in orbax's C++."""
    old = random_checkpoint(rng)
    folder.save(1, old, by_orbax)
    folder.save(2, old, by_orbax)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16, limits[1]))
        with pytest.raises(NotWritten, match=r"checkpoint-3 not written: .+"):
            folder.save(3, random_checkpoint(rng), by_orbax)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, previous)
    assert folder.numbers() == [2, 1]
    assert not (folder.folder / "unfinished").exists()
    assert_same(folder.load()[1], old)


def test_a_checkpoint_that_vanishes_while_it_is_read_is_damaged(rng, folder):
    folder.save(1, random_checkpoint(rng), False)
    shutil.rmtree(folder.folder / "checkpoint-1")
    with pytest.raises(Damaged, match=r"checksums.json is missing"):
        verify(folder.folder / "checkpoint-1")


def test_nothing_is_pickled(rng, folder):
    folder.save(1, random_checkpoint(rng), True)
    for file in (folder.folder / "checkpoint-1").rglob("*"):
        if file.suffix == ".json":
            json.loads(file.read_bytes().partition(b"\n")[2] or file.read_bytes())
        assert file.suffix not in (".pkl", ".pickle", ".pt", ".npy")
