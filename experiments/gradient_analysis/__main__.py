"""python -m experiments.gradient_analysis: see experiments/gradient_analysis/__init__.py."""

from experiments.gradient_analysis.command import execute
from experiments.gradient_analysis.config import GradientAnalysisConfig
from experiments.harness.command import cli

if __name__ == "__main__":
    cli.run(GradientAnalysisConfig, execute)
