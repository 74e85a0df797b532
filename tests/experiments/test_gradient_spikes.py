"""The search for spikes: its settings, what it keeps after Ctrl-C, and one true small search."""

import dataclasses

import numpy as np
import pytest
from experiment_support import PNG, ctrl_c, load, words

from experiments.copy_task.config import METHODS, PRESETS, CopyTaskConfig
from experiments.gradient_spikes import command as gradient_spikes
from experiments.gradient_spikes import config, figure
from experiments.gradient_spikes.command import execute
from experiments.gradient_spikes.config import SETTINGS, GradientSpikesConfig
from experiments.harness.records.results import Run
from experiments.harness.running import jobs
from experiments.harness.training.runner import Interrupted


def train_nothing(job, seeds, backend, **more):
    """Stands for train_runs: the second seed has diverged before anything was measured."""
    finals = [{"grad_norm_max": 3.0, "spectral_norm_max": 2.0}, {"diverged_at_step": 0}]
    return [
        dataclasses.replace(run, final=final)
        for run, final in zip(job.new_runs(seeds, backend), finals, strict=False)
    ]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_changes_one_thing_and_trains_ten_epochs(name):
    config = GradientSpikesConfig(steps=300, seed=4, seeds=2).settings(name)
    default = CopyTaskConfig()
    for field, value in SETTINGS[name].items():
        if field not in ("train_samples", "val_samples"):  # which are the search's own
            assert getattr(config, field) == value != getattr(default, field)
    assert config.epochs * config.schedule.steps_per_epoch == 300
    assert (config.seed, config.seeds) == (4, 2)


def test_every_method_runs_under_every_setting(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(jobs, "train_runs", train_nothing)
    execute(GradientSpikesConfig(steps=10, seeds=2, out=tmp_path))
    runs = load(tmp_path)["runs"]
    made = [(run["settings"]["setting"], run["method"], run["seed"]) for run in runs]
    assert made == [(name, method, s) for name in SETTINGS for method in METHODS for s in (0, 1)]
    length = {"epochs": 10, "train_samples": 128, "val_samples": 500}
    assert runs[0]["settings"] == {"setting": "default", **length}
    assert runs[6]["settings"] == {"setting": "30 symbols", "seq_len": 30, **length}
    assert runs[-1]["settings"] == {
        **PRESETS["copy_memory"],
        "setting": "copy memory 100",
        **length,
    }
    assert (tmp_path / "gradient_spikes.png").read_bytes().startswith(PNG)
    table = [words(line) for line in capsys.readouterr().out.splitlines()]
    assert "default 3 3 3" in table


def test_the_table_shows_the_largest_of_all_seeds(capsys):
    runs = [
        Run("qr", "jax", 0, {"setting": "ReLU"}, final={"grad_norm_max": value})
        for value in (np.nan, 2.0, 5.0, 3.0)
    ]
    gradient_spikes.print_table(runs)
    assert "ReLU - - 5" in [words(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("position", [0, 4])
def test_ctrl_c_keeps_what_was_measured_and_under_which_setting(monkeypatch, tmp_path, position):
    calls = []

    def interrupted_later(*arguments, **more):
        calls.append(arguments)
        runs = train_nothing(*arguments, **more)
        if len(calls) > position:
            raise Interrupted(runs)
        return runs

    monkeypatch.setattr(jobs, "train_runs", interrupted_later)
    with ctrl_c():
        execute(GradientSpikesConfig(steps=10, seeds=1, out=tmp_path))
    runs = load(tmp_path)["runs"]
    assert len(runs) == position + 1
    assert runs[-1]["settings"]["setting"] == ("30 symbols" if position else "default")
    assert (tmp_path / "gradient_spikes.png").read_bytes().startswith(PNG)


@pytest.mark.slow
def test_a_small_search(monkeypatch, tmp_path):
    for module in (gradient_spikes, config, figure):
        monkeypatch.setattr(module, "SETTINGS", {"tiny": {"hidden": 8, "seq_len": 3}})
    for module in (gradient_spikes, figure):
        monkeypatch.setattr(module, "METHODS", {"vanilla": "vanilla", "qr": "QR"})
    execute(GradientSpikesConfig(steps=20, seeds=1, out=tmp_path))
    for run in load(tmp_path)["runs"]:
        assert run["settings"]["setting"] == "tiny"
        assert run["settings"]["hidden"] == 8
        assert len(run["steps"]["step"]) == 20
        assert run["final"]["grad_norm_max"] == max(run["steps"]["grad_norm"])
