"""What checkpoints cost: shares of true chunks, written and printed."""

import dataclasses

import pytest
from experiment_support import load

from experiments.adding_task.config import AddingTaskConfig
from experiments.checkpoint_cost import command as checkpoint_cost
from experiments.checkpoint_cost.command import execute
from experiments.checkpoint_cost.config import CheckpointCostConfig


@pytest.mark.slow
def test_the_share_of_a_save_in_the_training_before_it(tmp_path, monkeypatch, capsys):
    def small(**fields):
        return dataclasses.replace(
            AddingTaskConfig(**fields), seq_len=4, hidden=8, train_samples=16_000, val_samples=50
        )

    monkeypatch.setattr(checkpoint_cost, "AddingTaskConfig", small)
    execute(CheckpointCostConfig(chunks=2, out=tmp_path))
    runs = load(tmp_path)["runs"]
    assert [run["backend"] for run in runs] == ["jax", "torch"]
    for run in runs:
        final = run["final"]
        assert 0 < final["share_low"] <= final["share"] <= final["share_high"]
        assert final["save_ms"] > 0
        assert final["train_ms"] > 0
    assert capsys.readouterr().out.count("a checkpoint takes") == 2
