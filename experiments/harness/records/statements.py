"""A claim's statements, each judged by the numbers beside it, and the verdict that they make.

drift of the spectral norm to 2.3: **holds**, it reaches 9.8; spikes of 10,000: **fails**
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

Finding = Literal["holds", "holds in part", "fails", "not shown"]


class Statement(NamedTuple):
    """One sentence of a claim, judged.

    Attributes:
      words: what is claimed.
      finding: what the numbers say of it.
      remark: why, or how far; itself put together from the numbers.
    """

    words: str
    finding: Finding
    remark: str = ""

    def __str__(self) -> str:
        return f"{self.words}: **{self.finding}**" + (f", {self.remark}" if self.remark else "")


def holds_if(condition: bool, in_part: bool = False) -> Finding:
    """Holds; else in part, if that much is so; else fails."""
    return "holds" if condition else "holds in part" if in_part else "fails"


def all_or_some(conditions: Iterable[bool]) -> Finding:
    """Holds where all are so, in part where some are, and fails where none is."""
    found = list(conditions)
    return holds_if(all(found), any(found))


def verdict(statements: Iterable[Statement]) -> str:
    """The statements in a row."""
    return "; ".join(map(str, statements))
