"""How a command ends: its exit status, and what it says on standard error.

0    done               2    a wrong option, path or value: one message, nothing written
130  Ctrl-C             1    anything else that fails
143  SIGTERM
"""

import sys
from typing import NoReturn

from experiments.harness.records.results import NotWritten
from experiments.harness.saving.signals import Terminated


def fail(message: str) -> NoReturn:
    """One line on standard error, then exit status 2."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


def ended(stop: BaseException | None) -> int:
    """Say what ended a command early; its exit status."""
    if isinstance(stop, NotWritten):
        print(f"error: {stop}", file=sys.stderr)
        return 1
    by_sigterm = isinstance(stop, Terminated)
    print("terminated" if by_sigterm else "interrupted", file=sys.stderr)
    return 143 if by_sigterm else 130
