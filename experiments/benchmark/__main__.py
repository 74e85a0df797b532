"""python -m experiments.benchmark: see experiments/benchmark/__init__.py."""

from experiments.benchmark.command import execute
from experiments.benchmark.config import BenchmarkConfig
from experiments.harness.command import cli

if __name__ == "__main__":
    cli.run(BenchmarkConfig, execute)
