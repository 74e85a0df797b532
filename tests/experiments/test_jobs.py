"""Jobs on several backends start from the same weights, and end where they are interrupted."""

import pytest
from experiment_support import FakeBackend, ctrl_c, small

from experiments.harness.running import jobs as jobs_module
from experiments.harness.running.jobs import train_jobs
from experiments.harness.saving.session import Session
from experiments.harness.training import runner
from experiments.harness.training.runner import Job


@pytest.fixture
def backends(monkeypatch):
    """A FakeBackend under every name; the JAX one draws other weights."""
    fakes = {name: FakeBackend(num_seeds=2) for name in ("jax", "torch")}
    fakes["jax"].initial_weights = lambda recipe, seed: {"drawn by jax": seed}
    for module in (runner, jobs_module):
        monkeypatch.setattr(module, "load_backend", fakes.__getitem__)
    return fakes


def two_jobs():
    config = small()
    for method in ("vanilla", "qr"):
        settings = {"hidden": 3} if method == "qr" else {}
        yield Job(method, method, config.recipe(method), config.schedule, settings)


def train(backends, names):
    return train_jobs(two_jobs(), names, [4, 5], Session.without_options())


def test_every_job_on_every_backend(backends, capsys):
    runs = train(backends, ["jax", "torch"])
    assert [(run.method, run.backend, run.seed) for run in runs] == [
        (method, backend, seed)
        for method in ("vanilla", "qr")
        for backend in ("jax", "torch")
        for seed in (4, 5)
    ]
    assert [run.settings for run in runs[::4]] == [{}, {"hidden": 3}]
    for fake in backends.values():
        assert fake.weights == [{"drawn by jax": 4}, {"drawn by jax": 5}]
    assert "qr (torch)" in capsys.readouterr().out


def test_one_backend_draws_its_own_weights(backends):
    train(backends, ["torch"])
    assert backends["torch"].weights == [{"seed": 4}, {"seed": 5}]


def test_an_interruption_carries_what_was_measured(backends):
    def spoil(epoch, columns):
        if backends["jax"].weights and len(backends["jax"].batches) == 3:
            raise KeyboardInterrupt

    backends["jax"].spoil = spoil
    with ctrl_c() as caught:
        train(backends, ["jax"])
    statuses = [(run.method, run.status) for run in caught.value.runs]
    assert statuses == [("vanilla", "completed")] * 2 + [("qr", "interrupted")] * 2


def test_what_is_measured_at_the_end_joins_the_final_figures(backends):
    backends["torch"].weights_of = lambda recipe, state: {"epoch": state["epoch"]}
    config = small()
    job = Job(
        "a",
        "qr",
        config.recipe("qr"),
        config.schedule,
        measure=lambda run, weights: {"seen": (run.seed, int(weights["epoch"]))},
    )
    runs = train_jobs([job], ["torch"], [4, 5], Session.without_options())
    assert [run.final["seen"] for run in runs] == [(4, 2), (5, 2)]
