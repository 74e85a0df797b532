"""The benchmark: ratios within a round, Ctrl-C, what is compared, and that every contender trains.

Nothing here is timed: the contenders that are measured do nothing.
"""

import itertools

import jax
import numpy as np
import pytest
from experiment_support import PNG, ctrl_c, load

from experiments.benchmark import command as benchmark
from experiments.benchmark import contenders
from experiments.benchmark.command import execute
from experiments.benchmark.config import BenchmarkConfig
from experiments.benchmark.contenders import Work
from experiments.harness.running import timing
from jaxrnn.tasks import AddingTask, CopyMemoryTask, CopyTask

COPY = Work(CopyTask(2), batch_size=16, hidden=5, steps=2)
ADDING = Work(AddingTask(6), batch_size=3, hidden=4, steps=3)
# How long a chunk takes by the clock of these tests; everybody else takes one second.
SECONDS = {
    "torch_ref, 1 thread": 3.0,
    "torch_ref, 2 threads": 2.0,
    "flax nn.RNN": 1.5,
    "qr": 1.25,
    "jaxrnn": 0.5,
    "floor": 0.25,
}
NAMES = ("torch_ref, 1 thread", "torch_ref, 2 threads", "flax nn.RNN", "jaxrnn", "floor")


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the contenders set, ten percent faster from call to call."""
    now, calls = [0.0], itertools.count()

    def chunk(name):
        def wait():
            now[0] += SECONDS.get(name, 1.0) * (1 + 0.1 * next(calls))

        return wait

    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(
        benchmark, "step_contenders", lambda work: {name: chunk(name) for name in NAMES}
    )
    for name in ("jaxrnn", "torch_ref", "flax"):
        made = "flax nn.RNN" if name == "flax" else name

        def make(work, *args, made=made, **changes):
            return chunk(changes.get("retraction", made))

        monkeypatch.setattr(benchmark, f"{name}_chunk", make)
    monkeypatch.setattr(benchmark, "peak_gflops", lambda: 100.0)
    monkeypatch.setattr(benchmark, "flax_gradient_bytes", lambda work: 7 * work.time_steps)
    monkeypatch.setattr(
        benchmark,
        "gradient_bytes",
        lambda work, recompute=False: work.time_steps ** (0.5 if recompute else 1.0),
    )
    monkeypatch.setattr(benchmark, "WORKS", {"copy": COPY, "adding": ADDING})
    monkeypatch.setattr(benchmark, "SCALING", {"T": [10, 40]})
    return now


def final_of(results, part):
    return {
        run["method"]: run["final"] for run in results["runs"] if run["settings"]["part"] == part
    }


@pytest.mark.usefixtures("clock")
def test_ratios_are_taken_within_a_round(tmp_path):
    execute(BenchmarkConfig(parts=("steps",), rounds=3, out=tmp_path))
    results = load(tmp_path)
    # The first two rounds warm up; a call is 0.1 slower than the one before it.
    start = 1 + 0.1 * (2 * len(NAMES) + len(NAMES) * np.arange(3))
    copy = [run for run in results["runs"] if run["settings"]["task"] == "copy"]
    expected = (2.0 * (start + 0.1)) / (0.5 * (start + 0.3))
    ours = copy[3]["final"]
    assert copy[3]["settings"] == {
        "part": "steps",
        "batch_size": 16,
        "hidden": 5,
        "time_steps": 5,
        "task": "copy",
        "fastest_torch_ref": "torch_ref, 2 threads",
    }
    for name, quantile in (("speed_up_low", 0.25), ("speed_up", 0.5), ("speed_up_high", 0.75)):
        assert ours[name] == pytest.approx(np.quantile(expected, quantile), rel=1e-6)
    over_flax = (1.5 * (start + 0.2)) / (0.5 * (start + 0.3))
    assert ours["speed_up_over_flax"] == pytest.approx(np.median(over_flax), rel=1e-6)
    over_floor = (0.5 * (start + 0.3)) / (0.25 * (start + 0.4))
    assert ours["over_floor"] == pytest.approx(np.median(over_floor), rel=1e-6)
    seconds = 0.5 * np.median(start + 0.3) / COPY.steps
    assert ours["ms_per_step"] == pytest.approx(1e3 * seconds, rel=1e-6)
    assert ours["gflops"] == pytest.approx(1e-9 * COPY.flops / seconds, rel=1e-6)
    assert copy[1]["final"]["speed_up"] == 1
    assert [run["backend"] for run in copy] == ["torch", "torch", "jax", "jax", "jax"]
    assert (tmp_path / "benchmark.png").read_bytes().startswith(PNG)


@pytest.mark.usefixtures("clock")
def test_all_parts(tmp_path):
    execute(BenchmarkConfig(rounds=1, out=tmp_path))
    results = load(tmp_path)
    cost = final_of(results, "projection")
    assert cost["never"]["cost"] == 0
    assert list(cost)[:3] == ["never", "qr, every 5", "qr"]
    assert cost["qr"]["cost"] > 1  # 1.25 seconds instead of 0.5, and later
    scaling = final_of(results, "scaling")
    assert scaling["jaxrnn"]["memory_exponent"] == pytest.approx(1.0)
    assert scaling["jaxrnn, recomputing"]["memory_exponent"] == pytest.approx(0.5)
    assert "memory_exponent" not in scaling["torch_ref"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "benchmark.png",
        "results.json",
        "scaling.png",
    ]


def test_torch_compile_is_left_out_where_it_does_not_run(monkeypatch, capsys):
    def no_compiler(*args, **kwargs):
        raise RuntimeError("no C++ compiler")

    monkeypatch.setattr(benchmark, "torch_ref_chunk", no_compiler)
    assert benchmark.compiled_torch_ref(COPY) == {}
    assert "torch.compile left out: RuntimeError: no C++ compiler" in capsys.readouterr().out


def test_the_exponent_of_a_power_law():
    assert benchmark.exponent([1, 10, 100], [3.0, 3.0 * 10**0.7, 3.0 * 10**1.4]) == (
        pytest.approx(0.7)
    )


@pytest.mark.usefixtures("clock")
def test_ctrl_c_keeps_the_parts_that_ended(monkeypatch, tmp_path):
    def interrupted(rounds):
        raise KeyboardInterrupt

    monkeypatch.setattr(benchmark, "measure_projection", interrupted)
    with ctrl_c():
        execute(BenchmarkConfig(rounds=1, out=tmp_path))
    assert len(load(tmp_path)["runs"]) == 2 * len(NAMES)


def test_flops_are_those_of_the_products():
    B, T, N, D = 3, 6, 4, 2
    forward = B * T * N * (D + N) + B * N
    # Back: every product twice, but none into the inputs.
    assert ADDING.flops == 2 * (forward + B * T * N * (D + 2 * N) + 2 * B * N)
    B, T, N, D, C = 16, 5, 5, 9, 9
    forward = B * T * N * (D + N + C)
    assert COPY.flops == 2 * (forward + B * T * N * (D + 2 * N + 2 * C))
    assert Work(CopyMemoryTask(1000), 1, 1, 1).time_steps == 1020


def test_contenders_train_the_same_recipe():
    plain = COPY.recipe()
    assert (plain.clip_norm, plain.retraction, plain.hidden) == (1.0, None, 5)
    assert plain.track_every == COPY.steps  # singular values are no part of a step
    assert COPY.recipe(retraction="qr", project_every=5).project_every == 5
    for ours, theirs in zip(COPY.batches(), COPY.batches(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.compile imports torch.jit
@pytest.mark.parametrize("work", [COPY, ADDING], ids=["copy", "adding"])
def test_every_contender_trains(work):
    found = benchmark.step_contenders(work)
    assert len(found) >= 10  # torch.compile does not run everywhere
    for name, chunk in found.items():
        first, second = chunk(), chunk()
        if name == "floor":
            assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(first))
        elif name == "torch.nn.RNN, bare loop":
            assert first != second
            assert np.isfinite([first, second]).all()
        else:
            losses = np.stack([np.ravel(first.loss), np.ravel(second.loss)])
            assert np.isfinite(losses).all()
            assert losses[0, 0] != losses[1, 0], f"{name} does not go on from where it was"


@pytest.mark.slow
def test_gradients_take_less_memory_where_they_recompute():
    work = Work(AddingTask(400), batch_size=4, hidden=32, steps=1)
    kept, recomputed = (contenders.gradient_bytes(work, recompute=flag) for flag in (False, True))
    assert recomputed < kept / 4
    assert kept < contenders.flax_gradient_bytes(work)
