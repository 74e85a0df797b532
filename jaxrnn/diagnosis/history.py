"""What only training shows, from the history of a run as results.json has it.

    stuck_at_baseline   the best loss never fell below 0.9 of what an answer without memory reaches
    unstable            the run diverged or was restarted, or its loss rose to more than twice what
                        it had been, by a tenth of the baseline or more
    crawling            the loss falls steadily, and at the rate of the last third of the run half
                        the baseline is more than two whole runs away

A run is an entry of "runs": {"history": {"epoch": [...], "val_loss": [...], ...}, "steps": {...},
"final": {...}, "status": "completed"}; numbers that were not finite are null there.
"""

import dataclasses
import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from jaxrnn.diagnosis.findings import Finding, finding

MIN_EPOCHS = 6  # that thirds of a run are to be told by


@dataclass(frozen=True)
class HistoryThresholds:
    """Where the rules draw their lines.

    Attributes:
      stuck: least best loss, as a share of the baseline, of a run that has learnt nothing.
      jump: least factor of a training loss over the least one before it, of a run that is unstable.
      rise: least height of such a jump, as a share of the baseline (else of the first loss): a loss
        near zero may double and mean nothing.
      spike: least factor of a gradient norm over the run's median that is mentioned.
      drift: least factor by which the spectral norm of W_hh changes that is mentioned.
      goal: the share of the baseline that a crawling run is on its way to.
      budgets: least number of whole runs that it would need to get there.
      falling: least share of epochs, after the first third, in which a crawling loss falls.
      steady: least fall from the middle third to the last, as a share of that from the first third
        to the middle one; what slows down more than that has arrived, and does not crawl.
      least_fall: the least such fall, as a share of the baseline, that is any at all.

    Raises:
      ValueError: a threshold that is not a positive number.
    """

    stuck: float = 0.9
    jump: float = 2.0
    rise: float = 0.1
    spike: float = 1e3
    drift: float = 1.5
    goal: float = 0.5
    budgets: float = 2.0
    falling: float = 0.66
    steady: float = 0.5
    least_fall: float = 0.01

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"thresholds must be positive and finite, got {one.name}={value}")


def read_history(
    run: Mapping[str, Any],
    baseline: float | None = None,
    thresholds: HistoryThresholds | None = None,
) -> tuple[Finding, ...]:
    """What went wrong in a run; nothing, where it went well.

    Args:
      run: an entry of "runs" in a results.json.
      baseline: the loss of the best answer that remembers nothing, such as ``task.baseline``; None:
        it is not known, and the rules that need it are left out.
      thresholds: of the rules.

    Raises:
      ValueError: a run of another schema, a baseline that is not a positive number.
    """
    losses = _losses(run, "val_loss", "train_loss")
    if baseline is not None and not (math.isfinite(baseline) and baseline > 0):
        raise ValueError(f"baseline must be positive and finite, got {baseline}")
    limits = thresholds or HistoryThresholds()
    findings = []
    stuck = _stuck(losses, baseline, limits)
    for condition, numbers in (
        ("unstable", _unstable(run, baseline, limits)),
        ("stuck_at_baseline", stuck),
        ("crawling", None if stuck else _crawling(losses, baseline, limits)),
    ):
        if numbers is not None:
            findings.append(_with_drift(finding(condition, None, **numbers), run, limits))
    return tuple(findings)


def _losses(run: Mapping[str, Any], *names: str) -> list[float]:
    """The first of the columns that the history has; NaN for null."""
    expected = 'a run of results.json: {"history": {"val_loss": [...]}, "status": ...}'
    if not isinstance(run, Mapping) or not isinstance(run.get("history"), Mapping):
        found = ", ".join(map(str, run)) if isinstance(run, Mapping) else type(run).__name__
        raise ValueError(f"history must be {expected}, got {found or 'nothing'}")
    if run.get("status") not in ("completed", "diverged", "interrupted"):
        raise ValueError(f"history must be {expected}, got the status {run.get('status')!r}")
    history = run["history"]
    name = next((key for key in names if key in history), None)
    if name is None:
        raise ValueError(
            f"history must be {expected}, got a history of {', '.join(history) or 'nothing'}"
        )
    return _numbers(history[name], name)


def _numbers(column: Any, name: str) -> list[float]:
    if not isinstance(column, Sequence) or isinstance(column, str):
        raise ValueError(f"{name} of a history must be a list, got {type(column).__name__}")
    for value in column:
        if value is not None and not isinstance(value, int | float):
            raise ValueError(f"{name} of a history must hold numbers, got {value!r}")
    return [math.nan if value is None else float(value) for value in column]


def _finite(column: Sequence[float]) -> list[float]:
    return [value for value in column if math.isfinite(value)]


def _unstable(
    run: Mapping[str, Any], baseline: float | None, limits: HistoryThresholds
) -> dict[str, Any] | None:
    losses = _finite(_losses(run, "train_loss", "val_loss"))
    what = []
    final = run.get("final") or {}
    if run["status"] == "diverged":
        what.append("the run diverged")
    if restarts := final.get("restarts"):
        what.append(f"the run was restarted {restarts} time{'s' if restarts > 1 else ''}")
    least, highest = _jump(losses)
    if highest > limits.jump * least and highest - least > limits.rise * (baseline or losses[0]):
        what.append(f"the loss rose from {least:.3g} to {highest:.3g}")
    if not what:
        return None
    spike = _spike(run)
    if spike > limits.spike:
        what.append(f"gradient norms rose to {spike:.2g} times their median")
    numbers = {"least": least, "highest": highest, "spike": spike, "restarts": restarts or 0}
    return {"what": ", ".join(what), **numbers}


def _jump(losses: list[float]) -> tuple[float, float]:
    """The largest rise of the loss above the least before it: from, to."""
    least, jump = math.inf, (0.0, 0.0)
    for loss in losses:
        least = min(least, loss)
        jump = max(jump, (least, loss), key=lambda pair: pair[1] - pair[0])
    return jump


def _spike(run: Mapping[str, Any]) -> float:
    """The largest gradient norm over the median one; NaN without any."""
    steps = run.get("steps") or {}
    norms = sorted(_finite(_numbers(steps.get("grad_norm", []), "grad_norm")))
    if not norms or norms[len(norms) // 2] == 0:
        return math.nan
    return norms[-1] / norms[len(norms) // 2]


def _stuck(
    losses: list[float], baseline: float | None, limits: HistoryThresholds
) -> dict[str, Any] | None:
    finite = _finite(losses)
    if baseline is None or not finite or min(finite) < limits.stuck * baseline:
        return None
    return {
        "epochs": len(losses),
        "best": min(finite),
        "baseline": baseline,
        "of_baseline": min(finite) / baseline,
    }


def _crawling(
    losses: list[float], baseline: float | None, limits: HistoryThresholds
) -> dict[str, Any] | None:
    finite, goal = _finite(losses), limits.goal * (baseline or 0.0)
    third = len(finite) // 3
    if baseline is None or len(finite) < MIN_EPOCHS or finite[-1] <= goal:
        return None
    # Medians of thirds: neither the first epoch's fall nor a jump at the end decides.
    first, before, last = (
        statistics.median(part) for part in (finite[:third], finite[third:-third], finite[-third:])
    )
    fall = before - last
    changes = [new < old for old, new in itertools.pairwise(finite[third:])]
    is_steady = sum(changes) > limits.falling * len(changes) and fall > limits.steady * (
        first - before
    )
    if not is_steady or fall <= limits.least_fall * baseline:
        return None
    # The middles of the last two thirds are half of what follows the first third apart.
    epochs_apart = (len(finite) - third) / 2
    budgets = (last - goal) / fall * epochs_apart / len(finite)
    if budgets < limits.budgets:
        return None
    return {"epochs": len(finite), "before": before, "last": last, "budgets": budgets}


def _with_drift(found: Finding, run: Mapping[str, Any], limits: HistoryThresholds) -> Finding:
    """The finding, with the spectral norm of W_hh in the first epoch and in the last."""
    column = _finite(_numbers(run["history"].get("spectral_norm", []), "spectral_norm"))
    if not column:
        return found
    first, last = column[0], column[-1]
    cause = found.cause
    if max(first, last) > limits.drift * min(first, last):
        cause += f"; the spectral norm of W_hh went from {first:.3g} to {last:.3g}"
    numbers = {**found.numbers, "spectral_norm_first": first, "spectral_norm_last": last}
    return dataclasses.replace(found, cause=cause, numbers=numbers)
