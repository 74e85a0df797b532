"""python -m experiments.adding_task: see experiments/adding_task/__init__.py."""

from experiments.adding_task.command import execute
from experiments.adding_task.config import PRESETS, AddingTaskConfig
from experiments.harness.command import cli

if __name__ == "__main__":
    cli.run(AddingTaskConfig, execute, PRESETS)
