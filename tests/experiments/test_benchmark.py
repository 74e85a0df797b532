"""The benchmark: ratios within a round, Ctrl-C, and that every contender trains.

Nothing here is timed: the contenders that are measured do nothing.
"""

import itertools

import numpy as np
import pytest
from experiment_support import PNG, ctrl_c, load

from experiments import benchmark
from experiments.benchmark import BARE, BenchmarkConfig, execute
from jaxrnn.tasks import CopyTask

TINY = {"hidden": 4, "seq_len": 2, "batch_size": 3, "steps": 2}


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the contenders set: the second takes twice as long as the bare loop."""
    now = [0.0]
    monkeypatch.setattr(benchmark.time, "perf_counter", lambda: now[0])

    def contenders(config):
        def wait(seconds):
            now[0] += next(speeds) * seconds

        speeds = (1.0 + 0.1 * n for n in itertools.count())
        return {BARE: lambda batch: wait(1.0), "jaxrnn": lambda batch: wait(2.0)}

    monkeypatch.setattr(benchmark, "contenders", contenders)
    return now


def test_ratios_are_taken_within_a_round(clock, tmp_path):
    execute(BenchmarkConfig(**TINY, rounds=3, out=tmp_path))
    bare, jax = load(tmp_path)["runs"]
    # Calls slow down by 0.1 each; the first two rounds, four calls, warm up.
    expected = [2 * (1.5 / 1.4), 2 * (1.7 / 1.6), 2 * (1.9 / 1.8)]
    assert jax["final"]["ratio"] == pytest.approx(np.median(expected), rel=1e-7)
    assert jax["final"]["ratio_low"] == pytest.approx(np.quantile(expected, 0.25), rel=1e-7)
    assert jax["final"]["ms_per_step"] == pytest.approx(1e3 * 2 * 1.7 / 2, rel=1e-7)
    assert bare["final"]["ratio"] == 1
    assert (bare["backend"], jax["backend"]) == ("torch", "jax")
    assert bare["status"] == jax["status"] == "completed"
    assert (tmp_path / "benchmark.png").read_bytes().startswith(PNG)


def interrupt_at(monkeypatch, call):
    made = benchmark.contenders
    calls = itertools.count()

    def contenders(config):
        def counted(chunk):
            def count(batch):
                if next(calls) == call:
                    raise KeyboardInterrupt
                return chunk(batch)

            return count

        return {name: counted(chunk) for name, chunk in made(config).items()}

    monkeypatch.setattr(benchmark, "contenders", contenders)


@pytest.mark.usefixtures("clock")
def test_ctrl_c_keeps_whole_rounds(monkeypatch, tmp_path):
    interrupt_at(monkeypatch, 9)  # the second contender of the third measured round
    with ctrl_c():
        execute(BenchmarkConfig(**TINY, rounds=100, out=tmp_path))
    _, jax = load(tmp_path)["runs"]
    assert jax["status"] == "interrupted"
    expected = [2 * (1.5 / 1.4), 2 * (1.7 / 1.6)]
    assert jax["final"]["ratio"] == pytest.approx(np.mean(expected), rel=1e-7)


@pytest.mark.usefixtures("clock")
def test_ctrl_c_while_warming_up_has_nothing_to_keep(monkeypatch, tmp_path):
    interrupt_at(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        execute(BenchmarkConfig(**TINY, rounds=100, out=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_contenders_differ_in_their_projection_only():
    config = BenchmarkConfig(**TINY)
    plain, every, fifth = (
        config.recipe(),
        config.recipe(retraction="qr"),
        config.recipe(retraction="qr", project_every=5),
    )
    assert (plain.retraction, every.retraction, fifth.project_every) == (None, "qr", 5)
    assert plain.hidden == 4
    assert plain.track_every == config.steps  # singular values are no part of a step
    assert plain.clip_norm == 1.0


@pytest.mark.slow
def test_every_contender_trains():
    config = BenchmarkConfig(**TINY)
    batch = CopyTask(2).sample(np.random.default_rng(0), 2, 3)
    found = benchmark.contenders(config)
    assert next(iter(found)) == BARE
    assert len(found) == 8
    for name, chunk in found.items():
        measured = chunk(batch)
        loss = measured if name == BARE else measured.loss
        assert np.isfinite(loss).all()
