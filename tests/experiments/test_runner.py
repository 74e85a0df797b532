"""Training loops: data, divergence, Ctrl-C; on a backend of known numbers and the real ones."""

import numpy as np
import pytest
from experiment_support import FakeBackend, ctrl_c, small

from experiments.harness.backends.backend import load_backend
from experiments.harness.method.schedule import Schedule
from experiments.harness.records.run_record import HISTORY
from experiments.harness.training import runner
from experiments.harness.training.runner import Interrupted, Job, interruptible, train_runs

SCHEDULE = Schedule(epochs=3, steps_per_epoch=4, batch_size=5, val_samples=6)


@pytest.fixture
def fake(monkeypatch):
    """A function that trains on a FakeBackend made of its keywords; also returns the backend."""

    def train(method="qr", seeds=(0,), schedule=SCHEDULE, backend="jax", on_chunk=None, **spoilt):
        trainer = FakeBackend(len(seeds), **spoilt)
        monkeypatch.setattr(runner, "load_backend", lambda name: trainer)
        recipe = small().recipe(method)
        on_chunk = on_chunk or (lambda progress: None)
        job = Job(method, method, recipe, schedule)
        return train_runs(job, seeds, backend, on_chunk=on_chunk), trainer

    return train


def seeds(progress):
    return [live.run.seed for live in progress]


def lengths(columns):
    return {len(column) for column in columns.values()}


def test_history_steps_and_final_figures(fake):
    (run,), _ = fake()
    assert (run.method, run.backend, run.seed, run.status) == ("qr", "jax", 0, "completed")
    assert tuple(run.history) == HISTORY
    assert run.history["epoch"] == [1, 2, 3]
    np.testing.assert_allclose(run.history["train_loss"], [1, 1 / 2, 1 / 3], rtol=1e-15)
    np.testing.assert_allclose(run.history["val_loss"], [1 / 2, 1 / 4, 1 / 6], rtol=1e-15)
    assert run.history["train_accuracy"] == [0.25] * 3
    assert run.history["val_accuracy"] == [0.75] * 3
    assert run.history["grad_norm_max"] == [3, 7, 11]
    np.testing.assert_array_equal(run.steps["step"], np.arange(12))
    np.testing.assert_array_equal(run.steps["grad_norm"], np.arange(12))
    assert run.final["val_loss"] == run.final["best_val_loss"] == pytest.approx(1 / 6)
    assert run.final["val_accuracy"] == 0.75
    assert (run.final["grad_norm_max"], run.final["spectral_norm_max"]) == (11, 1.5)
    assert run.seconds > 0
    assert run.steps_per_second > 0


def test_a_seed_fixes_the_data_whatever_the_method_and_backend(fake):
    data = {}
    for method, backend, seeds in (
        ("qr", "jax", (3,)),
        ("vanilla", "torch", (3,)),
        ("qr", "jax", (4, 3)),
    ):
        trainer = fake(method=method, seeds=seeds, backend=backend)[1]
        data[method, seeds] = [
            array.tobytes()
            for epoch in (*trainer.batches, *trainer.validation)
            for array in epoch[seeds.index(3)]
        ]
    first, *others = data.values()
    assert all(other == first for other in others)
    assert len({*first[:6:2]}) == 3  # fresh inputs in every epoch
    assert len({*first[6::2]}) == 1  # one validation set
    assert trainer.batches[0][0].inputs.shape == (4, 5, 7)
    assert trainer.validation[0][0].inputs.shape == (6, 7)
    assert trainer.batches[0][0].inputs.tobytes() != trainer.batches[0][1].inputs.tobytes()
    overlap = trainer.batches[0][1].inputs.reshape(-1, 7)[:6] == trainer.validation[0][1].inputs
    assert not overlap.all()
    assert [weights["seed"] for weights in trainer.weights] == [4, 3]


@pytest.mark.parametrize("column", ["loss", "grad_norm"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_seed_that_diverges_stops_and_the_others_go_on(fake, column, value):
    def spoil(epoch, columns):
        if epoch == 2:
            getattr(columns, column)[1, 2:] = value

    shown = []
    runs, trainer = fake(seeds=(5, 6), spoil=spoil, on_chunk=lambda live: shown.append(seeds(live)))
    good, bad = runs
    assert (good.status, good.history["epoch"]) == ("completed", [1, 2, 3])
    assert "diverged_at_step" not in good.final
    assert (bad.status, bad.history["epoch"]) == ("diverged", [1])
    assert bad.final["diverged_at_step"] == 4 + 2
    np.testing.assert_array_equal(bad.steps["grad_norm"], np.arange(6))
    assert bad.final["val_loss"] == 0.5
    assert bad.final["grad_norm_max"] == 5
    assert trainer.epoch == 3
    assert shown == [[5, 6], [5, 6], [5]]


def test_training_ends_when_every_seed_has_diverged(fake):
    def spoil(epoch, columns):
        columns.loss[epoch - 1, 0] = np.nan

    shown = []
    runs, trainer = fake(seeds=(0, 1), spoil=spoil, on_chunk=lambda live: shown.append(seeds(live)))
    assert trainer.epoch == 2
    assert [run.final["diverged_at_step"] for run in runs] == [0, 4]
    assert [len(run.steps["step"]) for run in runs] == [0, 4]
    assert lengths(runs[0].history) == {0}
    assert "val_loss" not in runs[0].final
    assert shown == [[0, 1], [1]]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_validation_loss_that_is_not_finite_is_divergence(fake, value):
    (run,), trainer = fake(val_loss=lambda epoch: np.array([value if epoch == 2 else 0.5]))
    assert (run.status, trainer.epoch) == ("diverged", 2)
    assert run.final["diverged_at_step"] == 8
    assert run.history["epoch"] == [1, 2]
    assert run.final["best_val_loss"] == 0.5
    assert len(run.steps["step"]) == 8


@pytest.mark.parametrize(
    ("place", "epochs"),
    [("initial_weights", 0), ("make_trainer", 0), ("train", 1), ("evaluate", 1), ("on_chunk", 2)],
)
def test_ctrl_c_keeps_the_epochs_that_ended(fake, monkeypatch, place, epochs):
    def interrupt(run_or_self, *_):
        if place in ("initial_weights", "make_trainer") or count.append(place) or len(count) == 2:
            raise KeyboardInterrupt

    count = []
    options = {}
    if place == "on_chunk":
        options["on_chunk"] = interrupt
    else:
        original = getattr(FakeBackend, place)

        def method(self, *arguments):
            interrupt(self)
            return original(self, *arguments)

        monkeypatch.setattr(FakeBackend, place, method)
    with ctrl_c() as caught:
        fake(seeds=(0, 1), **options)
    for run in caught.value.runs:
        assert run.status == "interrupted"
        assert lengths(run.history) == {epochs}
        assert lengths(run.steps) == {4 * epochs}
        assert run.final.get("val_loss") == (0.5 / epochs if epochs else None)


def test_ctrl_c_leaves_a_diverged_seed_diverged(fake):
    def spoil(epoch, columns):
        columns.loss[0, 1] = np.nan
        if epoch == 2:
            raise KeyboardInterrupt

    with ctrl_c() as caught:
        fake(seeds=(0, 1), spoil=spoil)
    assert [run.status for run in caught.value.runs] == ["diverged", "interrupted"]


def test_interrupted_carries_earlier_runs_too():
    with ctrl_c() as caught, interruptible(["first"]):
        raise KeyboardInterrupt
    assert caught.value.runs == ["first"]
    with ctrl_c() as caught, interruptible(["first"]):
        raise Interrupted(["second"], KeyboardInterrupt())
    assert caught.value.runs == ["first", "second"]
    with pytest.raises(ValueError, match="a bug"), interruptible([]):
        raise ValueError("a bug")


@pytest.mark.parametrize("backend", ["torch", pytest.param("jax", marks=pytest.mark.slow)])
def test_several_seeds_are_as_many_single_runs(backend):
    """One of them starts from weights that overflow: it diverges at once, the others never know."""
    recipe = small(activation="relu", lr=1e-2).recipe("qr")
    weights = [load_backend(backend).initial_weights(recipe, seed) for seed in (0, 1, 2)]
    weights[1]["W_hh"] = 1e30 * weights[1]["W_hh"]
    schedule = Schedule(epochs=2, steps_per_epoch=6, batch_size=16, val_samples=20)
    job = Job("qr", "qr", recipe, schedule)
    together = train_runs(job, (0, 1, 2), backend, weights=weights)
    assert [run.status for run in together] == ["completed", "diverged", "completed"]
    assert together[1].final["diverged_at_step"] == 0
    (alone,) = train_runs(job, (2,), backend, weights=weights[2:])
    # 12 projected steps: XLA may sum in another order inside a loop over seeds, and float32
    # rounding (6e-8) grows no faster than the steps and the 7 time steps in them: 84 · 6e-8 < 1e-5.
    for name in ("train_loss", "val_loss", "spectral_norm"):
        np.testing.assert_allclose(together[2].history[name], alone.history[name], rtol=1e-5)
    np.testing.assert_allclose(together[2].steps["grad_norm"], alone.steps["grad_norm"], rtol=1e-4)


@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize("init", ["uniform", "orthogonal", "henaff", "identity"])
def test_initial_weights(backend, init):
    method = "vanilla" if init == "uniform" else "qr"
    changes = {} if init == "uniform" else {"recurrent_init": init}
    recipe = small(activation="modrelu", hidden=16, **changes).recipe(method)
    first, again, other = (load_backend(backend).initial_weights(recipe, s) for s in (1, 1, 2))
    shapes = {name: array.shape for name, array in first.items()}
    assert shapes == {
        "W_xh": (16, 9),
        "W_hh": (16, 16),
        "b_h": (16,),
        "b_modrelu": (16,),
        "W_hy": (9, 16),
        "b_y": (9,),
    }
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name])
        if name not in ("W_hh", "b_modrelu"):
            assert 0.15 < np.abs(array).max() <= 0.25  # up to 1/√16
            assert not np.array_equal(array, other[name])
    assert not first["b_modrelu"].any()
    W = first["W_hh"]
    if init == "uniform":
        assert 0.24 < np.abs(W).max() <= 0.25
    else:
        np.testing.assert_allclose(W.T @ W, np.eye(16), atol=1e-6)  # a few roundings of 6e-8
    assert np.count_nonzero(W) == {"identity": 16, "henaff": 32}.get(init, 256)
