"""What only training shows, from the record of a run.

    non_finite          the loss of the last epoch is NaN or Inf
    stuck_at_baseline   the best loss never fell below 0.9 of what an answer without memory reaches
    unstable            the run diverged or was restarted, or its loss rose by a tenth of the
                        baseline or more, to twice what it had been, or in a run that ends above
                        twice the baseline
    crawling            the loss falls steadily, and at the rate of the last third of the run half
                        the baseline is more than two whole runs away

Spikes of the gradient norm and a spectral norm of W_hh that drifts are reported with them, and also
for a healthy run, but are no condition: networks that learnt have had both (see
``HistoryThresholds``).
"""

import itertools
import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from jaxrnn.diagnosis.findings import Finding, finding
from jaxrnn.diagnosis.run_record import LEAST_EPOCHS, RunRecord, finite, read_run_record
from jaxrnn.diagnosis.thresholds import HistoryThresholds, is_positive

MIN_EPOCHS = 6  # two for each third of a run
LEAST_LOSS = 0.01  # of a run without a baseline: next to nothing, of losses that begin around 1


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
      ValueError: a run of another schema, or one that has no loss; a baseline that is not a
        positive number.

    Example:
      >>> run = {"history": {"val_loss": [1.01, 1.0, 0.99]}, "status": "completed"}
      >>> findings = diagnosis.read_history(run, baseline=1.0)
      >>> [finding.condition for finding in findings]
      ['stuck_at_baseline']
    """
    check_baseline(baseline)
    if thresholds is not None and not isinstance(thresholds, HistoryThresholds):
        raise ValueError(f"thresholds must be HistoryThresholds, got {thresholds!r}")
    return judge(read_run_record(run), baseline, thresholds or HistoryThresholds())


def check_baseline(baseline: Any) -> None:
    """ValueError unless it is None or a positive number."""
    if baseline is not None and not is_positive(baseline):
        raise ValueError(f"baseline must be positive and finite, got {baseline!r}")


def judge(
    course: RunRecord,
    baseline: float | None,
    limits: HistoryThresholds,
    in_use: Collection[str] = (),
) -> tuple[Finding, ...]:
    """``read_history`` of a course, without advice of remedies that are in use."""
    unstable = _unstable(course, baseline, limits)
    crawling = _crawling(course.losses, baseline, limits)
    # A run far above the baseline that moves is not at it: it blew up, or is on its way down.
    is_elsewhere = _is_high(course, baseline, limits) and (unstable or crawling)
    stuck = None if is_elsewhere else _stuck(course.losses, baseline, limits)
    rules = {
        "non_finite": _not_finite(course),
        "unstable": unstable,
        "stuck_at_baseline": stuck,
        "crawling": None if stuck else crawling,
    }
    first, last = course.spectral_norms
    drift: dict[str, Any] = {
        "spectral_norm_first": first,
        "spectral_norm_last": last,
        "spike": course.spike,
    }
    return tuple(
        finding(condition, None, in_use=in_use, **numbers, **drift).with_remarks(
            course.remarks(limits)
        )
        for condition, numbers in rules.items()
        if numbers is not None
    )


def _not_finite(course: RunRecord) -> dict[str, Any] | None:
    """A run that diverged is called so."""
    if course.status == "diverged" or math.isfinite(course.losses[-1]):
        return None
    return {"place": f"the loss of epoch {len(course.losses)}"}


def _unstable(
    course: RunRecord, baseline: float | None, limits: HistoryThresholds
) -> dict[str, Any] | None:
    losses, restarts = finite(course.train_losses), course.restarts
    what = []
    if course.status == "diverged":
        what.append("the run diverged")
    if restarts:
        what.append(f"the run was restarted {restarts} time{'s' if restarts > 1 else ''}")
    least, highest = _jump(losses)
    rise = highest - least
    scale = baseline or max([LEAST_LOSS, *map(abs, losses[:1])])
    # A factor of a loss below zero, such as a log-density's, is one of its magnitude.
    is_jump = rise > (limits.jump - 1) * abs(least)
    if rise > limits.rise * scale and (is_jump or _is_high(course, baseline, limits)):
        what.append(f"the loss rose from {least:.3g} to {highest:.3g}")
    if not what:
        return None
    return {"what": ", ".join(what), "least": least, "highest": highest, "restarts": restarts}


def _is_high(course: RunRecord, baseline: float | None, limits: HistoryThresholds) -> bool:
    """Whether the training loss ends far above the baseline."""
    losses = finite(course.train_losses)
    if baseline is None or len(losses) < LEAST_EPOCHS:
        return False
    return losses[-1] > limits.jump * baseline


def _jump(losses: list[float]) -> tuple[float, float]:
    """The largest rise of the loss above the least before it: from, to."""
    least, jump = math.inf, (0.0, 0.0)
    for loss in losses:
        least = min(least, loss)
        jump = max(jump, (least, loss), key=lambda pair: pair[1] - pair[0])
    return jump


def _stuck(
    losses: Sequence[float], baseline: float | None, limits: HistoryThresholds
) -> dict[str, Any] | None:
    known = finite(losses)
    if baseline is None or len(known) < LEAST_EPOCHS or min(known) < limits.stuck * baseline:
        return None
    return {
        "epochs": len(losses),
        "best": min(known),
        "baseline": baseline,
        "of_baseline": min(known) / baseline,
    }


def _crawling(
    losses: Sequence[float], baseline: float | None, limits: HistoryThresholds
) -> dict[str, Any] | None:
    known, goal = finite(losses), limits.goal * (baseline or 0.0)
    third = len(known) // 3
    if baseline is None or len(known) < MIN_EPOCHS or known[-1] <= goal:
        return None
    # Medians of thirds: neither the first epoch's fall nor a jump at the end decides.
    first, before, last = (
        statistics.median(part) for part in (known[:third], known[third:-third], known[-third:])
    )
    fall = before - last
    changes = [new < old for old, new in itertools.pairwise(known[third:])]
    is_steady = sum(changes) > limits.falling * len(changes) and fall > limits.steady * (
        first - before
    )
    if not is_steady or fall <= limits.least_fall * baseline:
        return None
    # The middles of the last two thirds are half of what follows the first third apart.
    epochs_apart = (len(known) - third) / 2
    budgets = (last - goal) / fall * epochs_apart / len(known)
    if budgets < limits.budgets:
        return None
    return {"epochs": len(known), "before": before, "last": last, "budgets": budgets}
