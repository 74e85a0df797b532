"""How a command ends: its exit status, and what it says on standard error.

0    done               2    a wrong option, path or value: one message, nothing written
130  Ctrl-C             1    anything else that fails
143  SIGTERM
"""

import sys
from typing import NoReturn

from experiments.harness.records.input_files import harmless
from experiments.harness.records.results import NotWritten
from experiments.harness.saving.signals import Terminated

# What XLA and PyTorch say where an array does not fit.
OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "out of memory", "enough memory", "can't allocate memory")


def fail(message: str) -> NoReturn:
    """One line on standard error, then exit status 2."""
    print(f"error: {harmless(message)}", file=sys.stderr)
    sys.exit(2)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an array did not fit into memory."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)


def ended(stop: BaseException | None) -> int:
    """Say what ended a command early; its exit status."""
    if isinstance(stop, NotWritten):
        print(f"error: {harmless(str(stop))}", file=sys.stderr)
        return 1
    if isinstance(stop, MemoryError | RuntimeError):
        reason = str(stop).partition("\n")[0]
        print(f"error: out of memory: {harmless(reason)}", file=sys.stderr)
        return 1
    if isinstance(stop, OSError):
        print(f"error: {stop.strerror}", file=sys.stderr)
        return 1
    by_sigterm = isinstance(stop, Terminated)
    print("terminated" if by_sigterm else "interrupted", file=sys.stderr)
    return 143 if by_sigterm else 130
