"""What a command prints, where nobody may be reading: a run is worth more than its lines.

``| head -1`` closes the pipe after a line, ``>&-`` gives no standard output at all, and a full disk
takes nothing more. The run goes on, and its files are written.
"""

import contextlib
import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any


class Printed:
    """Standard output until it fails; from then on nothing.

    Attributes:
      error: why it failed; None: it has not, or its reader has left, which is no failure.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.error: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """As of any text stream."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """As of any text stream."""
        self._try(self._stream.flush)

    def _try(self, act: Callable[[], Any]) -> None:
        try:
            act()
        except OSError as error:
            if error.errno != errno.EPIPE:
                self.error = OSError(error.errno, f"standard output: {error.strerror}")
            _to_nowhere(self._stream.fileno())  # with what is still in its buffer


@contextlib.contextmanager
def what_is_printed() -> Iterator[Printed]:
    """Within it standard output does not fail."""
    if sys.stdout is None:
        _to_nowhere(1)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 — for the rest of the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without "±" is no reason to stop
    whole = sys.stdout
    printed = Printed(whole)
    sys.stdout = printed
    try:
        yield printed
    finally:
        printed.flush()
        sys.stdout = whole


def _to_nowhere(descriptor: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    if nowhere != descriptor:
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
