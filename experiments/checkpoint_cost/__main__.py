"""python -m experiments.checkpoint_cost: see experiments/checkpoint_cost/__init__.py."""

from experiments.checkpoint_cost.command import execute
from experiments.checkpoint_cost.config import CheckpointCostConfig
from experiments.harness.command import cli

if __name__ == "__main__":
    cli.run(CheckpointCostConfig, execute)
