"""The adding problem's settings, folders, recipes, and small true runs."""

import numpy as np
import pytest
from experiment_support import PNG, load, without_timings

from experiments.adding_task.command import execute, jobs
from experiments.adding_task.config import EXPLODED, METHODS, PRESETS, SWEEPS, AddingTaskConfig
from experiments.adding_task.figure import label
from experiments.harness.backends.backend import load_backend
from experiments.harness.command import cli

SMALL = {
    "seq_len": 6,
    "hidden": 8,
    "epochs": 2,
    "train_samples": 64,
    "val_samples": 20,
    "test_samples": 50,
    "batch_size": 16,
    "track_every": 2,
}


def small(out=None, **changes):
    return AddingTaskConfig(**{**SMALL, "out": out, **changes})


def parse(line):
    return cli.parse(AddingTaskConfig, PRESETS, line.split())


@pytest.mark.parametrize(
    ("line", "folder"),
    [
        ("", "adding_task"),
        ("--irnn", "adding_task/irnn"),
        ("--irnn --devices 1", "adding_task/irnn"),
        ("--irnn --checkpoint-dir x --log-dir y", "adding_task/irnn"),
        ("--irnn --backend torch", "adding_task/irnn/torch"),
        ("--irnn --preset sgd", "adding_task/irnn/sgd"),
        ("--irnn --preset adam --seq-len 200", "adding_task/irnn/adam/custom"),
        ("--sweep", "adding_task/sweep_length"),
        ("--sweep --seeds 1", "adding_task/sweep_length/custom"),
        ("--sweep-scale", "adding_task/sweep_scale"),
        ("--sweep-clip", "adding_task/sweep_clip"),
        ("--sweep-clip --epochs 2", "adding_task/sweep_clip/custom"),
        ("--methods irnn qr", "adding_task/custom"),
    ],
)
def test_only_the_defaults_go_to_their_own_folder(line, folder):
    assert str(parse(line).folder) == folder


def test_published_settings():
    sgd, adam = parse("--irnn --preset sgd --clip-norm 100"), parse("--irnn --preset adam")
    assert (sgd.optimizer, sgd.lr, sgd.clip_norm, sgd.epochs) == ("sgd", 0.01, 100.0, 440)
    assert (adam.optimizer, adam.lr, adam.clip_norm, adam.epochs) == ("adam", 1e-4, 1.0, 147)
    for config in (sgd, adam):
        assert (config.seq_len, config.hidden, config.batch_size) == (150, 100, 16)
        assert (config.train_samples, config.test_samples) == (100_000, 10_000)
        assert config.schedule.steps_per_epoch == 6250
    assert [settings["seq_len"] for settings in SWEEPS["sweep"]] == [150, 200, 300, 400]


def test_an_explosion_is_a_hundred_baselines_and_restarts_are_ten():
    schedule = AddingTaskConfig().schedule
    assert schedule.max_loss == pytest.approx(EXPLODED / 6)
    assert (schedule.max_restarts, schedule.rate_cut) == (10, 0.5)
    assert AddingTaskConfig(on_divergence="stop").schedule.max_restarts == 0


@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_the_irnn_starts_as_it_was_published(backend, scale):
    recipe = small(hidden=64).recipe("irnn", {"identity_scale": scale})
    weights = load_backend(backend).initial_weights(recipe, 0)
    np.testing.assert_array_equal(weights["W_hh"], np.float32(scale) * np.eye(64, dtype=np.float32))
    assert not weights["b_h"].any()
    assert not weights["b_y"].any()
    # The deviation of a standard deviation from n = 128 values is σ/√(2n) = σ/16; four of those.
    assert weights["W_xh"].std() == pytest.approx(1e-3, rel=0.25)
    assert 0.1 < np.abs(weights["W_hy"]).max() <= 0.125  # up to 1/√64
    other = load_backend(backend).initial_weights(recipe, 1)
    assert not np.array_equal(weights["W_xh"], other["W_xh"])


def test_recipes_of_the_methods():
    recipes = {method: small().recipe(method, {}) for method in METHODS}
    assert {method: recipe.activation for method, recipe in recipes.items()} == {
        "irnn": "relu",
        "vanilla": "tanh",
        "relu": "relu",
        "relu_orthogonal": "relu",
        "qr": "tanh",
    }
    assert [method for method, recipe in recipes.items() if recipe.retraction] == ["qr"]
    assert small(project_every=0).recipe("qr", {}).retraction is None
    assert recipes["vanilla"].input_std is None
    assert recipes["vanilla"].is_regression


def test_jobs():
    assert [job.method for job in jobs(AddingTaskConfig())] == list(METHODS)
    (job,) = jobs(AddingTaskConfig(irnn=True))
    assert (job.name, job.method, job.settings) == ("IRNN", "irnn", {})
    swept = list(jobs(AddingTaskConfig(sweep=True)))
    assert [job.recipe.task.seq_len for job in swept] == [150, 200, 300, 400]
    for name, settings in SWEEPS.items():
        config = AddingTaskConfig(**{name: True})
        names = [label("irnn", changed, vars(config)) for changed in settings]
        assert len(set(names)) == len(settings)
        assert [config.recipe("irnn", changed) for changed in settings]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--seq-len 1", "--seq-len must be from 2"),
        ("--seq-len 0", "--seq-len must be from 2"),
        ("--irnn --sweep", "only one of --irnn and the sweeps, got --irnn --sweep"),
        ("--sweep-clip --sweep-scale", "only one of --irnn and the sweeps"),
        ("--sweep --seq-len 200", "--sweep decides about --seq-len itself"),
        ("--sweep-clip --optimizer sgd", "--sweep-clip decides about --optimizer itself"),
        ("--sweep-scale --preset sgd", "--sweep-scale decides about"),
        ("--irnn --methods qr", "--irnn decides about --methods itself"),
        ("--lr nan", "--lr must be above 0"),
        ("--identity-scale 0", "--identity-scale must be above 0"),
        ("--input-std inf", "--input-std must be above 0"),
        ("--clip-norm -1", "--clip-norm must be 0 or more"),
        ("--batch-size 17 --train-samples 16", "--batch-size must be at most --train-samples 16"),
        ("--test-samples -1", "--test-samples must be from 0"),
        ("--methods irnn irnn", "--methods must not repeat itself"),
        ("--devices 3", "--devices must be auto or a divisor"),
        ("--devices 1 --backend torch", "--devices is for --backend jax or both"),
        ("--seq-len 100000000", "together need"),
        ("--checkpoint-every 0", "--checkpoint-every must be 1 or more"),
        ("--resume", "--resume needs --checkpoint-dir"),
        ("--methods irnn --project-every 3", "--project-every 3 changes nothing without --methods"),
        (
            "--methods relu qr --identity-scale 2",
            "--identity-scale 2.0 changes nothing without",
        ),
        (
            "--methods relu --input-std 0.1",
            "--input-std 0.1 changes nothing without --methods irnn",
        ),
        ("--optimizer rmsprop", "rmsprop"),
        ("--on-divergence never", "never"),
    ],
)
def test_bad_input(capsys, line, message):
    with pytest.raises(SystemExit) as caught:
        parse(line)
    assert caught.value.code == 2
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "both"])
def test_small_runs_are_the_same_every_time(tmp_path, backend):
    results = []
    for name in ("first", "second"):
        execute(small(tmp_path / name, backend=backend, methods=("irnn", "qr")))
        results.append(load(tmp_path / name))
        assert (tmp_path / name / "adding_task.png").read_bytes().startswith(PNG)
        results[-1]["config"]["out"] = None
    assert without_timings(results[0]) == without_timings(results[1])
    for run in results[0]["runs"]:
        assert run["status"] == "completed"
        assert run["history"]["epoch"] == [1, 2]
        assert len(run["history"]["training_set_loss"]) == 2
        assert 0 < run["final"]["test_loss"] < 10
    assert len(results[0]["runs"]) == (4 if backend == "both" else 2)


@pytest.mark.slow
def test_a_sweep_names_what_it_changes(tmp_path, monkeypatch):
    monkeypatch.setitem(SWEEPS, "sweep", [{"seq_len": 4}, {"seq_len": 5}])
    execute(small(tmp_path, sweep=True, seeds=2, seq_len=AddingTaskConfig().seq_len))
    runs = load(tmp_path)["runs"]
    assert [(run["settings"]["seq_len"], run["seed"]) for run in runs] == [
        (4, 0),
        (4, 1),
        (5, 0),
        (5, 1),
    ]
    assert {run["method"] for run in runs} == {"irnn"}


@pytest.mark.slow
def test_a_run_that_explodes_restarts_and_says_so(tmp_path, capsys):
    """ReLU with W_hh = 4·I over 60 steps overflows float32 whatever the learning rate."""
    config = small(tmp_path, irnn=True, seq_len=120, identity_scale=4.0, input_std=1.0)
    execute(config)
    (run,) = load(tmp_path)["runs"]
    assert run["status"] == "diverged"
    assert run["final"]["restarts"] == 10
    assert run["final"]["restarted_at_steps"] == [0] * 10
    assert run["final"]["learning_rate_factor"] == 2.0**-10
    assert "10 restarts" in capsys.readouterr().out
    assert (tmp_path / "adding_task.png").exists()
