"""python -m experiments.copy_task: see experiments/copy_task/__init__.py."""

from experiments.copy_task.command import execute
from experiments.copy_task.config import PRESETS, CopyTaskConfig
from experiments.harness.command import cli

if __name__ == "__main__":
    cli.run(CopyTaskConfig, execute, PRESETS)
