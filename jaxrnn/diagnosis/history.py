"""What only training shows, from the history of a run as results.json has it.

    stuck_at_baseline   the best loss never fell below 0.9 of what an answer without memory reaches
    unstable            the run diverged or was restarted, or a loss rose to twice what it had been
    crawling            the loss falls steadily, and at the rate of the last third of the run half
                        the baseline is more than three times the whole run away

A run is an entry of "runs": {"history": {"epoch": [...], "val_loss": [...], ...}, "steps": {...},
"final": {...}, "status": "completed"}; numbers that were not finite are null there.
"""

import math
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
      jump: least factor of a loss over the least one before it, of a run that is unstable.
      spike: least factor of a gradient norm over the run's median that is worth a word.
      goal: the share of the baseline that a crawling run is on its way to.
      budgets: least number of whole runs that it would need to get there.
      steady: least share of the mean fall per epoch, from the first third on, that the last third
        still has; what slows down more than that has arrived, and does not crawl.

    Raises:
      ValueError: a threshold that is not a positive number.
    """

    stuck: float = 0.9
    jump: float = 2.0
    spike: float = 1e3
    goal: float = 0.5
    budgets: float = 3.0
    steady: float = 0.5

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
    losses = _losses(run)
    if baseline is not None and not (math.isfinite(baseline) and baseline > 0):
        raise ValueError(f"baseline must be positive and finite, got {baseline}")
    limits = thresholds or HistoryThresholds()
    findings = []
    stuck = _stuck(losses, baseline, limits)
    for condition, numbers in (
        ("unstable", _unstable(run, losses, limits)),
        ("stuck_at_baseline", stuck),
        ("crawling", None if stuck else _crawling(losses, baseline, limits)),
    ):
        if numbers is not None:
            findings.append(finding(condition, None, **numbers, **_drift(run)))
    return tuple(findings)


def _losses(run: Mapping[str, Any]) -> list[float]:
    """The validation losses, else those of training; NaN for null."""
    expected = 'a run of results.json: {"history": {"val_loss": [...]}, "status": ...}'
    if not isinstance(run, Mapping) or not isinstance(run.get("history"), Mapping):
        found = ", ".join(map(str, run)) if isinstance(run, Mapping) else type(run).__name__
        raise ValueError(f"history must be {expected}, got {found or 'nothing'}")
    if run.get("status") not in ("completed", "diverged", "interrupted"):
        raise ValueError(f"history must be {expected}, got the status {run.get('status')!r}")
    history = run["history"]
    name = next((key for key in ("val_loss", "train_loss") if key in history), None)
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
    run: Mapping[str, Any], losses: list[float], limits: HistoryThresholds
) -> dict[str, Any] | None:
    what = []
    final = run.get("final") or {}
    if run["status"] == "diverged":
        what.append("the run diverged")
    if restarts := final.get("restarts"):
        what.append(f"the run was restarted {restarts} times")
    least, jump = math.inf, 0.0
    for loss in losses:
        jump = max(jump, loss / least) if math.isfinite(loss) else jump
        least = min(least, loss)
    if jump > limits.jump:
        what.append(f"the loss rose to {jump:.3g} times what it had been")
    if not what:
        return None
    spike = _spike(run)
    if spike > limits.spike:
        what.append(f"gradient norms rose to {spike:.2g} times their median")
    return {"what": ", ".join(what), "jump": jump, "spike": spike, "restarts": restarts or 0}


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
    first, before, last = finite[third - 1], finite[-1 - third], finite[-1]
    rate = (before - last) / third
    mean_rate = (first - last) / (len(finite) - third)
    if rate <= 0 or rate < limits.steady * mean_rate:
        return None
    budgets = (last - goal) / rate / len(finite)
    if budgets < limits.budgets:
        return None
    return {"epochs": len(finite), "before": before, "last": last, "budgets": budgets}


def _drift(run: Mapping[str, Any]) -> dict[str, float]:
    """The spectral norm of W_hh in the first epoch and in the last."""
    column = _finite(_numbers(run["history"].get("spectral_norm", []), "spectral_norm"))
    if not column:
        return {}
    return {"spectral_norm_first": column[0], "spectral_norm_last": column[-1]}
