"""python -m experiments.retractions: see experiments/retractions/__init__.py."""

from experiments.harness.command import cli
from experiments.retractions.command import execute
from experiments.retractions.config import RetractionsConfig

if __name__ == "__main__":
    cli.run(RetractionsConfig, execute)
