"""python -m experiments.doctor_calibration: see experiments/doctor_calibration/__init__.py."""

from experiments.doctor_calibration.command import execute
from experiments.doctor_calibration.config import DoctorCalibrationConfig
from experiments.harness.command import cli

if __name__ == "__main__":
    cli.run(DoctorCalibrationConfig, execute)
