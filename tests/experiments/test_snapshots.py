"""Snapshots and runs, through the arrays and JSON of a checkpoint and back."""

import json

import numpy as np

from experiments.harness.records.results import Run
from experiments.harness.records.run_record import HISTORY, MEASURED, STEPS, Record
from experiments.harness.saving.snapshots import (
    Snapshot,
    Snapshots,
    pack,
    pack_run,
    unpack,
    unpack_run,
)


def random_run(rng, seed):
    history = {name: list(rng.standard_normal(3).astype(np.float32)) for name in HISTORY}
    final = {"restarts": 2, "restarted_at_steps": [5, 7]}
    return Run("irnn", "jax", seed, {"seq_len": 200}, history=history, final=final, seconds=1.5)


def random_snapshot(rng, seed, steps):
    record = Record(random_run(rng, seed))
    record.add_steps({name: rng.standard_normal(steps).astype(np.float32) for name in MEASURED})
    state = {"a": rng.standard_normal((2, 3)), "b": rng.integers(0, 9, (), np.int32)}
    return Snapshot(state, record, {"state": {"inc": 2**126 + seed}}, seed, steps)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


def test_snapshots_come_back_to_the_bit(rng):
    snapshots = [
        Snapshots(random_snapshot(rng, seed, 6 + seed), random_snapshot(rng, seed, 4))
        for seed in (0, 1, 2)
    ]
    state, columns, info = pack(snapshots)
    assert {name: array.shape for name, array in state.items()} == {"a": (3, 2, 2, 3), "b": (3, 2)}
    text = json.dumps(info, default=lambda scalar: scalar.item())
    for two, expected in zip(unpack(state, columns, json.loads(text)), snapshots, strict=True):
        for found, right in zip(two, expected, strict=True):
            assert_same(found.state, right.state)
            assert found[2:] == right[2:]
            assert found.record.run == right.record.run
            assert (found.record.num_steps, found.record.width) == (right.record.num_steps, 1)
            assert_same(found.record.points, right.record.points)
            assert_same(found.record.epoch, right.record.epoch)


def test_no_snapshots():
    assert unpack(*pack([])) == []


def test_runs_come_back_with_their_steps(rng):
    run, columns = random_run(rng, 3), {}
    run.steps = {name: rng.standard_normal(4) for name in ("step", *STEPS)}
    info = json.dumps(pack_run(run, "done/1", columns), default=lambda scalar: scalar.item())
    columns = {name: columns[name] for name in sorted(columns)}  # as safetensors has them
    found = unpack_run(json.loads(info), columns, "done/1")
    assert list(found.steps) == list(run.steps)  # results.json has them in this order
    assert_same(found.steps, run.steps)
    run.steps = found.steps
    assert found == run
