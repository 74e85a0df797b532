"""One thing that is wrong, where, why, and what to do about it."""

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jaxrnn.diagnosis.first_aid import FIRST_AID, REMEDIES, Aid

GATES = frozenset({"gru", "lstm"})


@dataclass(frozen=True)
class Finding:
    """One condition.

    Attributes:
      condition: a key of ``FIRST_AID``.
      layer: the path of the layer's cell; None: the whole model, or a run.
      cause: the likely one, with the numbers that speak for it.
      numbers: those by name.
      first_aid: names of remedies, the most promising first.

    Example:
      >>> run = {"history": {"val_loss": [0.9, 0.1, 0.9]}, "status": "completed"}
      >>> (finding,) = diagnosis.read_history(run, baseline=1.0)
      >>> finding.condition, finding.first_aid[0]
      ('unstable', 'clip_norm')
      >>> finding.cause
      'the loss rose from 0.1 to 0.9: steps are too long for the gradients that they meet'
    """

    condition: str
    layer: str | None
    cause: str
    numbers: Mapping[str, Any]
    first_aid: tuple[str, ...]

    def with_remarks(self, remarks: tuple[str, ...]) -> "Finding":
        """The same, with more said of its cause."""
        return replace(self, cause="; ".join([self.cause, *remarks]))


def conditions_of(findings: Sequence[Finding]) -> tuple[str, ...]:
    """Each condition once; ("healthy",) if there is none."""
    return tuple(dict.fromkeys(one.condition for one in findings)) or ("healthy",)


class _Known(dict):
    """Numbers for a text; one that could not be measured reads "?"."""

    def __missing__(self, name: str) -> "_Unknown":
        return _Unknown()


class _Unknown:
    def __format__(self, spec: str) -> str:
        return "?"


def finding(
    condition: str,
    layer: str | None,
    special: Aid | None = None,
    in_use: Collection[str] = (),
    **numbers: Any,
) -> Finding:
    """A finding, with its cause and first aid from the table, or from a special case of it.

    Args:
      condition: a key of ``FIRST_AID``.
      layer: of the finding.
      special: what stands in for the table's own entry.
      in_use: remedies that the model has already.
      numbers: for the cause.
    """
    aid = special or FIRST_AID[condition]
    known = {name: value for name, value in numbers.items() if value == value}  # not NaN
    advised = _advisable(aid.remedies, in_use)
    return Finding(condition, layer, aid.cause.format_map(_Known(known)), numbers, advised)


def _advisable(remedies: Sequence[str], in_use: Collection[str]) -> tuple[str, ...]:
    """Those not in use; beside gates, those that keep them and were measured to help more."""
    if gates := GATES.intersection(in_use):
        remedies = [*itertools.takewhile(lambda name: name not in gates, remedies)]
        remedies = [name for name in remedies if not _takes_gates_away(name)]
    return tuple(name for name in remedies if name not in in_use)


def _takes_gates_away(remedy: str) -> bool:
    return any(REMEDIES[part].is_for_vanilla_cell for part in remedy.split("+"))
