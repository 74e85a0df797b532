"""python -m experiments.remedies: see experiments/remedies/__init__.py."""

from experiments.harness.command import cli
from experiments.remedies.command import execute
from experiments.remedies.config import RemediesConfig

if __name__ == "__main__":
    cli.run(RemediesConfig, execute)
