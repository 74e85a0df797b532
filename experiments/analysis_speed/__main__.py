"""python -m experiments.analysis_speed: see experiments/analysis_speed/__init__.py."""

from experiments.analysis_speed.command import execute
from experiments.analysis_speed.config import AnalysisSpeedConfig
from experiments.harness.command import cli

if __name__ == "__main__":
    cli.run(AnalysisSpeedConfig, execute)
