"""The comparison of retractions: accuracy, single steps, training, and Ctrl-C in between."""

import numpy as np
import pytest
import torch
from experiment_support import PNG, ctrl_c, load, small

import torch_ref
from experiments.harness.backends import jax_backend, torch_backend
from experiments.harness.records.results import Run
from experiments.harness.running import jobs
from experiments.harness.training.runner import Interrupted
from experiments.retractions import command as retractions
from experiments.retractions.command import execute
from experiments.retractions.config import VARIANTS, RetractionsConfig
from jaxrnn.orthogonal import RETRACTIONS


@pytest.fixture
def tiny(monkeypatch):
    """Single steps and training on a copy task of eight units."""
    monkeypatch.setattr(RetractionsConfig, "copy_task", small(epochs=1))


def test_accuracy_against_the_condition_number():
    runs = retractions.measure_accuracy(RetractionsConfig(size=6, matrices=3))
    assert [run.method for run in runs] == list(RETRACTIONS)
    errors = {run.method: run.history["orthogonality_error"] for run in runs}
    for run in runs:
        assert run.history["condition"] == [10.0**n for n in range(9)]
        assert run.settings == {"part": "accuracy"}
        # An orthogonal matrix stays one: 6 units, a few roundings of 6e-8 in each entry.
        assert run.history["orthogonality_error"][0] < 2e-6
    # Householder and the polar factor do not see the condition number; the others lose it as they
    # subtract: classical Gram–Schmidt at its square, modified in proportion.
    assert max(errors["qr"]) < 2e-6
    assert max(errors["polar"]) < 2e-6
    assert errors["gram_schmidt"][4] > 10 * errors["modified_gram_schmidt"][4] > 1e-5


def test_accuracy_is_measured_on_matrices_of_that_condition_number(monkeypatch):
    """A "retraction" that leaves W = U Σ Vᵀ alone: ‖WᵀW − I‖_F = ‖Σ² − I‖_F."""
    monkeypatch.setattr(retractions, "RETRACTIONS", {"none": lambda W: W})
    (run,) = retractions.measure_accuracy(RetractionsConfig(size=6, matrices=2))
    for condition, error in zip(*run.history.values(), strict=True):
        squares = np.geomspace(1, 1 / condition, 6) ** 2
        # W enters in float32: six units, a few roundings of 6e-8 in each entry.
        expected = np.linalg.norm(squares - 1) / 6**0.5
        np.testing.assert_allclose(error, expected, rtol=1e-5, atol=2e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_single_steps():
    config = RetractionsConfig()
    run = retractions.compare_single_steps(config)
    assert run.settings == {"part": "single steps"}
    assert run.final.keys() == retractions.SINGLE_STEPS.keys()  # all of them are printed
    assert len(run.steps["step"]) == 16  # four epochs of four steps
    # The polar factor is the nearest orthogonal matrix; QR without signs is none near at all.
    assert (run.steps["polar_distance"] <= run.steps["qr_distance"] * (1 + 1e-5)).all()
    assert run.final["qr_unsigned_distance_median"] > 10 * run.final["qr_distance_median"]
    assert run.final["qr_sign_changes"] == run.final["polar_sign_changes"] == 0
    np.testing.assert_allclose(
        run.final["qr_to_polar_median"], np.median(run.steps["qr_to_polar"]), rtol=1e-12
    )
    # Moves of about 0.01 in matrices of norm √8, each the difference of two float32 matrices
    # (rounding 6e-8) that 16 steps have led to: 16 · 3 · 6e-8 / 0.01 < 1e-3.
    for name, expected in torch_distances(config).items():
        np.testing.assert_allclose(run.steps[f"{name}_distance"], expected, rtol=1e-3)


def torch_distances(config):
    """The same run by torch_ref: ‖Q − W‖ of each retraction where Adam had put W, at every step."""
    recipe, schedule = config.copy_task.recipe("qr"), config.copy_task.schedule
    trainer = torch_backend.TorchTrainer(recipe, [jax_backend.initial_weights(recipe, 0)])
    (state,) = trainer._states
    project, found = state.projection.step, {"qr": [], "polar": []}

    def measured_step():
        W = dict(state.model.named_parameters())["cell.weight_hh_l0"].detach().clone()
        for name, distances in found.items():
            distances.append(torch.linalg.norm(torch_ref.orthogonal.RETRACTIONS[name](W) - W))
        project()

    state.projection.step = measured_step
    rng = np.random.default_rng([0, 0])
    trainer.train([recipe.task.sample(rng, 4 * schedule.steps_per_epoch, schedule.batch_size)])
    return found


def parts(monkeypatch, interrupted=None):
    """Instant stand-ins of the three parts; the one named ``interrupted`` meets Ctrl-C."""

    def measure_accuracy(config):
        if interrupted == "accuracy":
            raise KeyboardInterrupt
        history = {"condition": [10.0**n for n in range(9)], "orthogonality_error": [1e-7] * 9}
        return [Run(name, "jax", 0, {"part": "accuracy"}, history=history) for name in RETRACTIONS]

    def compare_single_steps(config):
        if interrupted == "single steps":
            raise KeyboardInterrupt
        names = ("qr_to_polar", "qr_distance", "polar_distance", "qr_unsigned_distance")
        steps = {"step": np.arange(3)} | {name: np.ones(3) for name in names}
        return Run("qr", "jax", 0, {"part": "single steps"}, steps=steps)

    def train_runs(job, seeds, backend, **more):
        runs = job.new_runs(seeds, backend)
        recipes[job.method] = job.recipe
        for run in runs:
            run.history = {"epoch": [], "val_loss": []}
            run.steps = {"step": np.arange(0), "spectral_norm": np.arange(0.0)}
        if job.method == interrupted:
            raise Interrupted(runs)
        return runs

    recipes = {}
    for function in (measure_accuracy, compare_single_steps):
        monkeypatch.setattr(retractions, function.__name__, function)
    monkeypatch.setattr(jobs, "train_runs", train_runs)
    return recipes


@pytest.mark.usefixtures("tiny")
def test_all_parts_are_written(monkeypatch, tmp_path):
    recipes = parts(monkeypatch)
    execute(RetractionsConfig(seeds=2, out=tmp_path))
    runs = load(tmp_path)["runs"]
    first, trained = runs[: len(RETRACTIONS) + 1], runs[len(RETRACTIONS) + 1 :]
    assert [run["method"] for run in first] == [*RETRACTIONS, "qr"]
    assert [run["method"] for run in trained[::2]] == list(VARIANTS)
    assert [run["seed"] for run in trained] == [0, 1] * len(VARIANTS)
    assert trained[2]["settings"] == {"part": "training", "project_every": 5}
    assert (tmp_path / "retractions.png").read_bytes().startswith(PNG)
    for name, changes in VARIANTS.items():
        assert recipes[name].retraction == changes.get("retraction", "qr")
        assert recipes[name].project_every == changes.get("project_every", 1)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("interrupted", "kept"),  # beside the accuracy of each retraction
    [("single steps", 0), ("qr", 1 + 1), ("polar", 1 + 3)],
)
def test_ctrl_c_keeps_the_parts_that_ended(monkeypatch, tmp_path, interrupted, kept):
    parts(monkeypatch, interrupted)
    with ctrl_c():
        execute(RetractionsConfig(seeds=1, out=tmp_path))
    runs = load(tmp_path)["runs"]
    assert len(runs) == len(RETRACTIONS) + kept
    if interrupted in VARIANTS:
        assert runs[-1]["settings"] == {"part": "training", **VARIANTS[interrupted]}
    assert (tmp_path / "retractions.png").read_bytes().startswith(PNG)
