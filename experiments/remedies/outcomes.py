"""What the remedies did: verdicts from the losses of treated and untreated networks.

    cured       at least four of five seeds end with the loss of a network that is well, or less
    helped      every seed ends better than every untreated one, by CLEAR or more
    harmed      the same for the worse
    no effect   anything else

That all of five seeds are better than all of five others happens by chance once in 252 times.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.harness.records.figures import by_setting

UNTREATED = "untreated"
CLEAR = 0.05  # baselines: smaller differences are no effect, however consistent
CURED_SHARE = 0.8  # of the seeds
VERDICTS = ("cured", "helped", "no effect", "harmed")


@dataclass(frozen=True)
class Outcome:
    """What a remedy did to a symptom.

    Attributes:
      verdict: one of VERDICTS.
      losses: of each seed, in baselines of its task; infinite where it diverged.
      solved: the largest loss of a network that is well.
    """

    verdict: str
    losses: np.ndarray
    solved: float

    @property
    def cured(self) -> int:
        """How many seeds were cured."""
        return int(np.count_nonzero(self.losses <= self.solved))

    @property
    def median(self) -> float:
        """Of the losses."""
        return float(np.median(self.losses))


def judge(losses: np.ndarray, untreated: np.ndarray, solved: float) -> Outcome:
    """The verdict on a remedy, from the losses with and without it."""
    verdict = "no effect"
    if np.count_nonzero(losses <= solved) >= CURED_SHARE * len(losses):
        verdict = "cured"
    elif losses.max() < untreated.min() - CLEAR:
        verdict = "helped"
    elif losses.min() > untreated.max() + CLEAR:
        verdict = "harmed"
    return Outcome(verdict, losses, solved)


def outcomes(results: dict[str, Any]) -> dict[str, dict[str, Outcome]]:
    """By symptom and remedy, the untreated network's first, from the contents of results.json."""
    found: dict[str, dict[str, Outcome]] = {}
    for symptom, runs in by_setting(results["runs"], "symptom").items():
        losses = {name: _losses(group) for name, group in by_setting(runs, "remedy").items()}
        solved = runs[0]["settings"]["solved"]
        found[symptom] = {
            name: judge(values, losses[UNTREATED], solved) for name, values in losses.items()
        }
    return found


def best_first(by_remedy: dict[str, Outcome]) -> list[str]:
    """Remedies that cured or helped, in the order of what they promise."""
    useful = [
        name
        for name, outcome in by_remedy.items()
        if name != UNTREATED and outcome.verdict in ("cured", "helped")
    ]
    return sorted(useful, key=lambda name: (-by_remedy[name].cured, by_remedy[name].median))


def _losses(runs: list[dict[str, Any]]) -> np.ndarray:
    """In baselines; infinite where a run diverged."""
    values = [run["final"].get("score") for run in runs]
    return np.array([np.inf if value is None else value for value in values], float)
