"""What arguments have to be, said where they arrive."""

import operator
from typing import Any


def check_whole(name: str, value: Any, least: int = 1) -> None:
    """ValueError unless a value is a whole number, ``least`` or more."""
    try:
        is_allowed = operator.index(value) >= least
    except TypeError:
        is_allowed = False
    if not is_allowed:
        raise ValueError(f"{name} must be a whole number, {least} or more, got {value!r}")
