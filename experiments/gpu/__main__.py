"""python -m experiments.gpu: see experiments/gpu/__init__.py."""

import sys

from experiments.gpu.command import run

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
