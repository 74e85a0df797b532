"""Where the rules of judge_network.py and judge_run.py draw their lines; all of them can be set."""

import math
from dataclasses import dataclass, field, fields
from numbers import Real
from typing import Any


def is_positive(value: Any) -> bool:
    """Whether it is a positive and finite number."""
    try:
        return isinstance(value, Real) and math.isfinite(value) and float(value) > 0
    except OverflowError:  # a whole number that is no float
        return False


def _check(limits: Any) -> None:
    for one in fields(limits):
        value = getattr(limits, one.name)
        if one.name != "history" and not is_positive(value):
            raise ValueError(f"thresholds must be positive and finite, got {one.name}={value!r}")


@dataclass(frozen=True)
class HistoryThresholds:
    """Of a run's history.

    Chosen by the 260 committed runs of figures/, most of 3 to 20 epochs: of the copy and adding
    tasks and of language models, which did or did not learn.

    Attributes:
      stuck: least best loss, as a share of the baseline, of a run that has learnt nothing. Runs
        known not to solve their task ended at 0.91 or more, the slowest of those on their way
        reached 0.84 and 0.89.
      jump: least factor of a training loss over the least one before it, of a run that is unstable.
        Near the baseline losses rise by up to 1.5, in noise; of those of runs that got further
        and fell back, by 2.4 and more (two by 1.9 and 2.0 are let pass). Also the least multiple
        of the baseline at which a run's end is far above it: none of those 260 ended above 1.2,
        language models trained by SGD at 2 without clipping end at 5 to 20.
      rise: least height of such a jump, as a share of the baseline; a loss near zero may grow
        fifteenfold and mean nothing, as in IRNNs that have learnt. Without a baseline it is a share
        of the first loss, but of 0.01 at least.
      spike: least factor of a gradient norm over the run's median that is mentioned. It is no
        fault: IRNNs whose norms rose by 1e3 to 6e13, clipped, have learnt to add.
      drift: least factor by which the spectral norm of W_hh changes, from the first epoch to the
        last, that is mentioned. No fault either: it grew twofold in IRNNs that learnt, and up to
        3.6-fold, to 10, in tanh networks that did not.
      goal: the share of the baseline that a crawling run is on its way to.
      budgets: least number of whole runs that it would need to get there; with fewer, training on
        is easier than changing the network.
      falling: least share of epochs, after the first third, in which a crawling loss falls: more
        than noise about a constant has, one half.
      steady: least fall from the middle third to the last, as a share of that from the first third
        to the middle one; what slows down more than that has arrived, and does not crawl.
      least_fall: the least such fall, as a share of the baseline, that is any at all.

    Raises:
      ValueError: a threshold that is not a positive number.

    Example:
      >>> run = {"history": {"val_loss": [1.0, 0.8, 0.7]}, "status": "completed"}
      >>> strict = diagnosis.HistoryThresholds(stuck=0.5)
      >>> [one.condition for one in diagnosis.read_history(run, baseline=1.0, thresholds=strict)]
      ['stuck_at_baseline']
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
        _check(self)


@dataclass(frozen=True)
class Thresholds:
    """Of a network, and of the run that it is from.

    Chosen on the 91 networks of experiments.doctor_calibration, whose labels come from their
    construction or from whether they learn to recall their first input; in the gap between the
    healthy and the faulty, as round numbers.

    Attributes:
      vanishing: least m_0. Healthy ones had 1.3e-4 or more (0.8 of an orthogonal matrix over 40
        steps, which still learns in 400 steps of Adam), vanishing ones 4.7e-5 or less (Flax's GRU
        as it comes over 30 steps, which does not).
      exploding: largest m_t. Healthy ones had 19 or less, exploding ones 1.9e5 or more; Adam with
        clipping copes with a thousandfold growth, so the line is in the upper part of the gap.
      saturated: largest share of saturated values. Healthy ones had none, saturated ones 0.95 or
        more; between them lies chaos, with 0.48 to 0.66, which may be called either.
      dead_units: largest share of dead units. Half of them dead is no harm to an IRNN that learns;
        faulty ones had 0.8 or more.
      short_memory: least s. Healthy ones had 0.01 or more, those of short memory rounding: 4e-8.
      history: those of the run.

    Raises:
      ValueError: a threshold that is not a positive number.

    Example:
      >>> lines = diagnosis.Thresholds(history=diagnosis.HistoryThresholds(stuck=0.8))
      >>> lines.vanishing, lines.history.stuck
      (0.0001, 0.8)
    """

    vanishing: float = 1e-4
    exploding: float = 1e4
    saturated: float = 0.6
    dead_units: float = 0.65
    short_memory: float = 1e-3
    history: HistoryThresholds = field(default_factory=HistoryThresholds)

    def __post_init__(self) -> None:
        _check(self)
        if not isinstance(self.history, HistoryThresholds):
            raise ValueError(f"history must be HistoryThresholds, got {self.history!r}")
