"""The signals that end a command early: Ctrl-C and SIGTERM."""

import signal
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a run as Ctrl-C does."""


def stop(number: int, frame: FrameType | None = None) -> NoReturn:
    """A handler that ends the command at once."""
    raise Terminated if number == signal.SIGTERM else KeyboardInterrupt
