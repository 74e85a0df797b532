"""python -m experiments.char_lm: see experiments/char_lm/__init__.py."""

from experiments.char_lm.command import execute
from experiments.char_lm.config import PRESETS, CharLMConfig
from experiments.harness.command import cli

if __name__ == "__main__":
    cli.run(CharLMConfig, execute, PRESETS)
