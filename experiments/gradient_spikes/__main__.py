"""python -m experiments.gradient_spikes: see experiments/gradient_spikes/__init__.py."""

from experiments.gradient_spikes.command import execute
from experiments.gradient_spikes.config import GradientSpikesConfig
from experiments.harness.command import cli

if __name__ == "__main__":
    cli.run(GradientSpikesConfig, execute)
