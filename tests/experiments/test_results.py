"""results.json: thinned with its maxima, strict JSON, small, and written whole or not at all."""

import errno
import itertools
import json
import os
import re
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from experiment_support import load

from experiments.copy_task.config import PRESETS
from experiments.harness.records import results
from experiments.harness.records.results import (
    NotWritten,
    Run,
    plain,
    thin,
    thin_history,
    write_atomically,
)
from experiments.harness.records.run_record import HISTORY


@dataclass
class Config:
    """The least that write_results asks for."""

    seed: int = 0
    out: Path | None = None


def steps_of(count, rng):
    return {
        "step": np.arange(count),
        "grad_norm": rng.random(count),
        "spectral_norm": np.where(np.arange(count) % 10 == 9, rng.random(count), np.nan),
    }


def test_thinning_keeps_first_steps_and_maxima(rng):
    steps = steps_of(3140, rng)
    steps["grad_norm"][1234] = 9.0
    steps["spectral_norm"][2009] = 7.0
    thinned = thin(steps, 500, 3140)
    assert len(thinned["step"]) == 500
    assert thinned["step"][0] == 0
    assert max(thinned["grad_norm"]) == 9.0
    assert np.nanmax(thinned["spectral_norm"]) == 7.0
    edges = [*thinned["step"], 3140]
    for index, (low, high) in enumerate(itertools.pairwise(edges)):
        assert thinned["grad_norm"][index] == steps["grad_norm"][low:high].max()
        assert high - low in (6, 7)  # 3140 / 500


def test_a_short_run_is_not_thinned(rng):
    steps = steps_of(40, rng)
    thinned = thin(steps, 500, 40)
    for name, column in steps.items():
        np.testing.assert_array_equal(thinned[name], column)
    assert thin(steps_of(0, rng), 500, 0) == {"step": [], "grad_norm": [], "spectral_norm": []}


def test_a_run_that_diverged_shares_the_points_of_the_others(rng):
    """Otherwise their mean would be taken over different steps."""
    whole = thin(steps_of(1000, rng), 300, 1000)["step"]
    part = thin(steps_of(700, rng), 300, 1000)["step"]
    assert part == whole[: len(part)]
    assert whole[len(part)] >= 700


def test_runs_of_one_method_are_thinned_together(rng, tmp_path):
    runs = [
        Run("qr", "jax", seed, steps=steps_of(count, rng)) for seed, count in ((0, 2000), (1, 900))
    ]
    runs.append(Run("vanilla", "jax", 0, steps=steps_of(900, rng)))
    written = results.write_results(tmp_path, "x", Config(), runs, {})["runs"]
    first, second, alone = (run["steps"]["step"] for run in written)
    assert second == first[: len(second)]
    assert len(first) == len(alone) == 500


def test_a_long_history_keeps_its_last_epoch_and_maxima():
    history = {
        "epoch": list(range(1, 1001)),
        "val_loss": [1 / epoch for epoch in range(1, 1001)],
        "grad_norm_max": [0.0] * 495 + [8.0] + [0.0] * 504,
    }
    thinned = thin_history(history, 100)
    assert [len(column) for column in thinned.values()] == [100] * 3
    assert thinned["epoch"][-1] == 1000
    assert thinned["val_loss"][-1] == 1 / 1000
    assert thinned["grad_norm_max"].count(8.0) == 1
    assert thinned["epoch"][thinned["grad_norm_max"].index(8.0)] == 500
    assert thin_history(history, 1000) == history
    assert thin_history({}, 1) == {}


@pytest.mark.parametrize(("num_runs", "epochs"), [(1, 20000), (13, 5000), (330, 60)])
def test_a_file_stays_under_one_mebibyte(rng, tmp_path, num_runs, epochs):
    """The last is as many runs as any command line allows: 10 seeds of gradient_spikes."""
    # Numbers that take as many characters as any.
    history = {name: (-1.2345678e-10 * rng.random(epochs)).tolist() for name in HISTORY}
    steps = {"step": np.arange(10 * epochs)} | {
        name: -1.2345678e-10 * rng.random(10 * epochs)
        for name in ("grad_norm", "spectral_norm", "orthogonality_error")
    }
    final = dict.fromkeys([*HISTORY[1:]], -1.2345678e-10)
    settings = {"setting": "copy memory 100", **PRESETS["copy_memory"]}
    runs = [
        Run(
            "orthogonal_init",
            "torch",
            seed,
            settings,
            "completed",
            history,
            steps,
            final,
            1.2345678,
        )
        for seed in range(num_runs)
    ]
    written = results.write_results(tmp_path, "x", Config(), runs, {})
    assert (tmp_path / "results.json").stat().st_size < 2**20
    assert all(2 <= len(run["steps"]["step"]) <= 500 for run in written["runs"])


def test_numbers_that_are_not_finite_are_null(tmp_path):
    run = Run(
        "qr",
        "jax",
        0,
        history={"val_loss": [np.float32(0.1), np.inf, -np.inf, np.float64(np.nan)]},
        steps={"step": np.arange(2), "grad_norm": np.array([np.nan, 2.0])},
        final={"val_loss": float("nan"), "nested": {"deep": [np.nan]}},
        steps_per_second=float("inf"),
    )
    written = results.write_results(tmp_path, "x", Config(out=Path("a/b")), [run], {})
    assert load(tmp_path) == written
    (entry,) = written["runs"]
    assert entry["history"]["val_loss"] == [0.1, None, None, None]
    assert entry["steps"]["grad_norm"] == [None, 2.0]
    assert entry["final"] == {"val_loss": None, "nested": {"deep": [None]}}
    assert entry["steps_per_second"] is None
    assert written["config"] == {"seed": 0, "out": "a/b"}


def test_plain_keeps_seven_digits_and_the_types_of_json():
    value = {"a": (np.int64(3), np.float32(1 / 3), True, None, "text"), "b": np.eye(2, dtype=int)}
    assert plain(value) == {"a": [3, 0.33333334, True, None, "text"], "b": [[1, 0], [0, 1]]}
    assert json.dumps(plain(value), allow_nan=False)


def test_lists_of_numbers_stand_on_one_line(tmp_path):
    results.write_results(
        tmp_path, "x", Config(), [Run("qr", "jax", 0, history={"epoch": [1, 2]})], {}
    )
    assert '"epoch": [ 1, 2 ]' in (tmp_path / "results.json").read_text()


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), NotWritten),
        (ValueError("a bug"), ValueError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_a_write_that_fails_leaves_the_old_file(tmp_path, error, raised):
    path = tmp_path / "results.json"
    path.write_text("old")

    def write(temporary):
        temporary.write_text("half of the n")
        raise error

    with pytest.raises(raised, match="No space left" if raised is NotWritten else None):
        write_atomically(path, write)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_no_regular_file_is_not_replaced(tmp_path):
    """/dev/full, say, where root writes."""
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    with pytest.raises(NotWritten, match="not a regular file"):
        write_atomically(pipe, lambda path: path.write_text("{}"))
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_write_replaces_the_old_file_whole(tmp_path):
    path = tmp_path / "figure.png"
    path.write_text("old")
    seen = []

    def write(temporary):
        temporary.write_text("new")
        seen.append((temporary.suffix, temporary.parent, path.read_text()))

    write_atomically(path, write)
    assert path.read_text() == "new"
    assert seen == [(".png", tmp_path, "old")]  # the suffix decides the format
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_gone_is_named(tmp_path):
    path = tmp_path / "gone/results.json"
    with pytest.raises(NotWritten, match=re.escape(f"{path} could not be written: No such file")):
        write_atomically(path, lambda temporary: temporary.write_text("new"))


def test_the_environment_names_versions_and_the_devices_used():
    both = results.environment(["jax", "torch"])
    assert set(both) == {"python", "jax", "flax", "optax", "numpy", "torch", "device", "commit"}
    assert both["numpy"] == np.__version__
    assert re.fullmatch(r"jax: .+, torch: cpu", both["device"])
    assert results.environment(["torch"])["device"] == "torch: cpu"
    assert results._version("surely-not-installed") is None


def test_the_commit_is_that_of_the_code(monkeypatch, tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    monkeypatch.setattr(results, "ROOT", tmp_path)
    assert results._commit() is None
    for folder in ("jaxrnn", "torch_ref", "experiments", "figures"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").write_text("old")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "first")
    commit = git("rev-parse", "HEAD")
    assert re.fullmatch("[0-9a-f]{40}", commit)
    (tmp_path / "figures/file").write_text("new")
    assert results._commit() == commit
    (tmp_path / "jaxrnn/file").write_text("new")
    assert results._commit() == f"{commit}-dirty"


def test_committed_results_are_strict_json_and_small():
    paths = list((results.ROOT / "figures").rglob("results.json"))
    assert paths
    for path in paths:
        assert path.stat().st_size < 2**20
        written = load(path.parent)
        assert list(written) == ["experiment", "config", "environment", "runs"]
        for run in written["runs"]:
            assert run["status"] in ("completed", "diverged")
            assert len(run["steps"].get("step", [])) <= 500
