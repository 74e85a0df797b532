"""python -m experiments.doctor: see experiments/doctor/__init__.py."""

from experiments.doctor.command import execute
from experiments.doctor.config import DoctorConfig
from experiments.harness.command import cli

if __name__ == "__main__":
    cli.run(DoctorConfig, execute)
