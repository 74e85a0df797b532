"""The copy task's command: its settings, what it writes, and Ctrl-C, NaN and a full disk."""

import contextlib
import dataclasses
import errno
import signal
from pathlib import Path

import jax
import numpy as np
import pytest
from experiment_support import PNG, ctrl_c, load, small, without_timings

from experiments.copy_task import command as copy_task
from experiments.copy_task import figure as copy_task_figures
from experiments.copy_task.command import execute
from experiments.copy_task.config import PRESETS, CopyTaskConfig
from experiments.harness.backends.backend import load_backend
from experiments.harness.records import results as results_module
from experiments.harness.records.results import NotWritten, Run
from experiments.harness.records.run_record import HISTORY, STEPS
from jaxrnn.tasks import CopyMemoryTask, CopyTask


@pytest.mark.parametrize(
    ("changes", "folder"),
    [
        ({}, "copy_task"),
        ({"out": Path("x")}, "copy_task"),
        ({"backend": "torch"}, "copy_task/torch"),
        ({"backend": "both"}, "copy_task/both"),
        ({"backend": "both", "epochs": 3}, "copy_task/both/custom"),
        ({"seeds": 2}, "copy_task/seeds/custom"),
        ({"seeds": 5}, "copy_task/seeds"),
        ({"seeds": 5, "backend": "torch"}, "copy_task/torch/seeds"),
        ({"seed": 1}, "copy_task/custom"),
        ({"epochs": 3}, "copy_task/custom"),
        ({"methods": ("qr",)}, "copy_task/custom"),
        ({"hidden": 64, "seeds": 2}, "copy_task/seeds/custom"),
        (PRESETS["copy_memory"], "copy_task/copy_memory"),
        (PRESETS["no_clipping"], "copy_task/no_clipping"),
        (PRESETS["copy_memory"] | {"delay": 200}, "copy_task/copy_memory/custom"),
        (PRESETS["copy_memory"] | {"seeds": 5}, "copy_task/copy_memory/seeds"),
        (PRESETS["copy_memory"] | {"backend": "both"}, "copy_task/copy_memory/both"),
    ],
)
def test_only_the_defaults_go_to_the_folder_of_the_experiment(changes, folder):
    assert CopyTaskConfig(**changes).folder == Path(folder)


def test_each_method_adds_one_thing():
    recipes = {method: small().recipe(method) for method in small().methods}
    vanilla, orthogonal, qr = recipes.values()
    assert vanilla.recurrent_init == "uniform"
    assert orthogonal == dataclasses.replace(vanilla, recurrent_init="orthogonal")
    assert qr == dataclasses.replace(orthogonal, retraction="qr")
    changes = {"project_every": 5, "retraction": "polar", "clip_norm": 0.0, "recurrent_lr": 2e-3}
    recipe = small(**changes).recipe("qr")
    assert {name: getattr(recipe, name) for name in changes} == changes
    assert small(project_every=0).recipe("qr") == orthogonal
    assert small(recurrent_init="henaff").recipe("qr").recurrent_init == "henaff"


def test_the_task_and_the_schedule():
    assert small().task == CopyTask(3)
    assert small(delay=7).task == CopyMemoryTask(7)
    schedule = small().schedule
    assert schedule.steps_per_epoch == 4  # 60 samples in batches of 16
    assert (schedule.epochs, schedule.batch_size, schedule.val_samples) == (2, 16, 20)
    assert CopyTaskConfig().schedule.steps_per_epoch == 157


# Everything that a recipe can say, at values where leaving it out shows within eight steps.
RECIPE = {
    "activation": "modrelu",
    "recurrent_init": "henaff",
    "lr": 0.02,
    "recurrent_lr": 0.005,
    "clip_norm": 0.1,
    "project_every": 3,
    "retraction": "polar",
}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The folder of a run of both backends and two seeds, and the weights that they began with."""
    out = tmp_path_factory.mktemp("both")
    weights = {}
    with pytest.MonkeyPatch.context() as patch:
        for backend in ("jax", "torch"):
            library = load_backend(backend)
            make = library.make_trainer

            def record(recipe, initial, backend=backend, make=make):
                weights.setdefault(backend, []).append(initial)
                return make(recipe, initial)

            patch.setattr(library, "make_trainer", record)
        execute(small(out, backend="both", methods=("qr",), seeds=2, **RECIPE))
    return out, weights


def test_results_have_the_documented_layout(both):
    results = load(both[0])
    assert list(results) == ["experiment", "config", "environment", "runs"]
    assert results["experiment"] == "copy_task"
    fields = {field.name for field in dataclasses.fields(CopyTaskConfig)}
    assert set(results["config"]) == fields - {"session"}
    assert results["config"]["methods"] == ["qr"]
    assert {f"jax: {len(jax.devices())} x cpu", "torch: cpu"} == set(
        results["environment"]["device"].split(", ")
    )
    made = [(run["method"], run["backend"], run["seed"]) for run in results["runs"]]
    assert made == [("qr", backend, seed) for backend in ("jax", "torch") for seed in (0, 1)]
    for run in results["runs"]:
        assert list(run) == [field.name for field in dataclasses.fields(Run)]
        assert run["status"] == "completed"
        assert tuple(run["history"]) == HISTORY
        assert run["history"]["epoch"] == [1, 2]
        assert list(run["steps"]) == ["step", *STEPS]
        assert run["steps"]["step"] == [*range(8)]
        assert [norm is None for norm in run["steps"]["spectral_norm"]] == [True, False] * 4
        assert run["final"]["val_loss"] == run["history"]["val_loss"][-1]
        assert run["final"]["grad_norm_max"] == max(run["steps"]["grad_norm"])
        assert run["steps_per_second"] > 0
    assert (both[0] / "copy_task.png").read_bytes().startswith(PNG)


def test_both_backends_start_from_the_same_weights_and_stay_together(both):
    out, weights = both
    (of_jax,), (of_torch,) = weights["jax"], weights["torch"]
    for one, other in zip(of_jax, of_torch, strict=True):
        np.testing.assert_array_equal(one["W_hh"], other["W_hh"])
    assert not np.array_equal(of_jax[0]["W_hh"], of_jax[1]["W_hh"])
    runs = load(out)["runs"]
    for run, other in zip(runs[:2], runs[2:], strict=True):
        # Eight steps of float32, rounding 6e-8 at each of about 10³ additions in a product or mean.
        for name in ("train_loss", "val_loss", "spectral_norm", "grad_norm_max"):
            np.testing.assert_allclose(run["history"][name], other["history"][name], rtol=6e-5)
        for history in (run["history"], other["history"]):
            projected, strayed = history["orthogonality_error"]  # last at steps 3 and 6, of 0 to 7
            assert projected < 1e-6  # a few roundings
            assert strayed > 1e-3


def test_a_figure_is_redrawn_from_results_alone(both, tmp_path):
    copy_task_figures.draw(load(both[0]), tmp_path)
    assert (tmp_path / "copy_task.png").read_bytes() == (both[0] / "copy_task.png").read_bytes()


@pytest.mark.parametrize("backend", ["torch", pytest.param("jax", marks=pytest.mark.slow)])
def test_the_same_seed_gives_the_same_files(tmp_path, backend):
    written = []
    for _ in range(2):
        execute(small(tmp_path, backend=backend, methods=("qr",), seeds=2, seed=3))
        written.append((without_timings(load(tmp_path)), (tmp_path / "copy_task.png").read_bytes()))
    assert written[0] == written[1]
    first, second = written[0][0]["runs"]
    assert first["history"] != second["history"]


def test_a_method_that_diverges_ends_alone(tmp_path, capsys):
    """ReLU at a rate of 1000: the second step overflows without projection, never with it."""
    changes = {"activation": "relu", "lr": 1000.0, "clip_norm": 0.0, "seq_len": 20, "seeds": 2}
    execute(small(tmp_path, backend="torch", methods=("vanilla", "qr"), **changes))
    runs = load(tmp_path)["runs"]
    assert [run["status"] for run in runs] == ["diverged"] * 2 + ["completed"] * 2
    for run in runs[:2]:
        assert run["final"]["diverged_at_step"] == 1
        assert run["steps"]["step"] == [0]
        assert run["steps"]["grad_norm"][0] > 0
        assert run["history"]["epoch"] == []
    for run in runs[2:]:
        assert run["history"]["epoch"] == [1, 2]
    assert (tmp_path / "copy_task.png").read_bytes().startswith(PNG)
    assert "2 diverged" in capsys.readouterr().out


@pytest.mark.parametrize("place", ["initial_weights", "make_trainer"])
def test_ctrl_c_keeps_the_methods_that_ended(monkeypatch, tmp_path, capsys, place):
    library = load_backend("torch")
    original, calls = getattr(library, place), []

    def interrupted_later(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(library, place, interrupted_later)
    with ctrl_c():
        execute(small(tmp_path, backend="torch"))
    first, second = load(tmp_path)["runs"]
    assert (first["method"], first["status"]) == ("vanilla", "completed")
    assert first["history"]["epoch"] == [1, 2]
    assert (second["method"], second["status"]) == ("orthogonal_init", "interrupted")
    assert second["history"]["epoch"] == second["steps"]["step"] == []
    assert (tmp_path / "copy_task.png").read_bytes().startswith(PNG)
    assert "interrupted" in capsys.readouterr().out


def test_ctrl_c_before_anything_was_measured_leaves_the_old_files(monkeypatch, tmp_path):
    def interrupt(recipe, seed):
        raise KeyboardInterrupt

    (tmp_path / "results.json").write_text("old")
    monkeypatch.setattr(load_backend("jax"), "initial_weights", interrupt)
    with ctrl_c():
        execute(small(tmp_path, backend="both"))
    assert (tmp_path / "results.json").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_a_second_ctrl_c_does_not_lose_the_files(monkeypatch, tmp_path):
    written = results_module.write_atomically

    def write(path, writer):
        signal.raise_signal(signal.SIGINT)
        written(path, writer)

    monkeypatch.setattr(results_module, "write_atomically", write)
    with contextlib.suppress(KeyboardInterrupt):
        execute(small(tmp_path, backend="torch", methods=("qr",)))
    assert load(tmp_path)["runs"][0]["status"] == "completed"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_full_disk_still_shows_what_was_measured(monkeypatch, tmp_path, capsys):
    def full(self, text):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "results.json").write_bytes(b"old")
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(NotWritten, match=r"results\.json could not be written: No space left"):
        execute(small(tmp_path, backend="torch", methods=("qr",)))
    assert "qr (torch)" in capsys.readouterr().out.split("Copy task")[1]
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
    assert (tmp_path / "results.json").read_bytes() == b"old"


def test_a_run_says_each_epoch_the_table_and_the_paths(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    execute(small(tmp_path / "new", backend="torch", methods=("qr",)))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("qr (torch)  epoch 1/2  val loss ")
    assert lines[1].startswith("qr (torch)  epoch 2/2  val loss ")
    assert lines[-2:] == ["wrote new/results.json", "wrote new/copy_task.png"]
    assert not any("\x1b" in line for line in lines)


def test_differences_between_backends_are_printed(capsys):
    runs = [
        Run("qr", backend, seed, history={"val_loss": [0.5, 0.25 + shift]})
        for seed, shift in ((0, 0.0), (1, 0.125))
        for backend, shift in (("jax", shift), ("torch", 0.0))
    ]
    alone = Run("vanilla", "jax", 0, history={"val_loss": [0.5]})
    copy_task.print_differences(small(backend="both"), [*runs, alone])
    text = capsys.readouterr().out
    assert "qr: validation losses of the two backends differ by at most 1.2e-01" in text
    assert "vanilla:" not in text
    assert "chaotic" in text


@pytest.mark.slow
def test_projection_learns_what_a_vanilla_rnn_does_not(tmp_path):
    sizes = {"seq_len": 10, "hidden": 64, "batch_size": 32, "train_samples": 6400, "epochs": 3}
    rates = {"lr": 3e-3, "val_samples": 200, "track_every": 200}
    execute(small(tmp_path, methods=("vanilla", "qr"), **sizes, **rates))
    vanilla, qr = (run["final"] for run in load(tmp_path)["runs"])
    baseline = CopyTask(10).baseline
    # Measured: 0.992 and 0.311, at a baseline of 0.990.
    assert vanilla["val_loss"] > 0.9 * baseline
    assert qr["val_loss"] < 0.5 * baseline
    assert qr["val_accuracy"] > 0.9 > 0.7 > vanilla["val_accuracy"]
    assert qr["spectral_norm"] == pytest.approx(1, abs=1e-5)  # a few float32 roundings
    assert vanilla["spectral_norm"] > 1.5
