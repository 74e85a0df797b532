"""The symptoms, each as a case that fails untreated, and the remedies to try on them.

A remedy changes a recipe or a schedule in the same words for every case; a pair changes both.
"""

import dataclasses
import functools
from dataclasses import dataclass, field
from typing import Any

from experiments.common.language import corpus
from experiments.common.recipe import Recipe
from experiments.common.schedule import Schedule
from jaxrnn.tasks import AddingTask, CopyMemoryTask, CopyTask
from jaxrnn.text import CharacterTask

MAX_LOSS = 100.0  # times the baseline; a median loss above has exploded


@dataclass(frozen=True)
class Case:
    """A network that does not train.

    Attributes:
      symptom: a condition that ``jaxrnn.diagnose`` knows.
      setting: what is trained, in words.
      source: who reports that it fails.
      recipe, schedule: of the untreated network.
      solved: the largest loss of one that is cured, in baselines of the task.
    """

    symptom: str
    setting: str
    source: str
    recipe: Recipe
    schedule: Schedule
    solved: float


@dataclass(frozen=True)
class Remedy:
    """What is changed of a case.

    Attributes:
      recipe: fields of the recipe and their new values.
      rate: what the learning rate is multiplied by.
      schedule: fields of the schedule.
      warms_up: whether the rate rises over the first tenth of the steps, and falls to zero.
    """

    recipe: dict[str, Any] = field(default_factory=dict)
    rate: float = 1.0
    schedule: dict[str, Any] = field(default_factory=dict)
    warms_up: bool = False

    def __or__(self, other: "Remedy") -> "Remedy":
        """Both at once."""
        return Remedy(
            self.recipe | other.recipe,
            self.rate * other.rate,
            self.schedule | other.schedule,
            self.warms_up or other.warms_up,
        )


SMALL_INPUTS = Remedy({"input_std": 0.001})
SINGLE: dict[str, Remedy] = {
    "gru": Remedy({"cell": "gru"}),
    "lstm": Remedy({"cell": "lstm"}),
    "skip": Remedy({"skip": 10}),
    "leaky": Remedy({"leak": 0.1}),
    "relu": Remedy({"activation": "relu"}),
    "leaky_relu": Remedy({"activation": "leaky_relu"}),
    "modrelu": Remedy({"activation": "modrelu"}),
    "identity_init": Remedy({"recurrent_init": "identity"}),
    "scaled_identity_init": Remedy({"recurrent_init": "identity", "identity_scale": 0.5}),
    "orthogonal_init": Remedy({"recurrent_init": "orthogonal"}),
    "henaff_init": Remedy({"recurrent_init": "henaff"}),
    "small_inputs": SMALL_INPUTS,
    "projection": Remedy({"recurrent_init": "orthogonal", "retraction": "qr"}),
    "clip_norm": Remedy({"clip_norm": 1.0}),
    "clip_norm_5": Remedy({"clip_norm": 5.0}),
    "clip_value": Remedy({"clip_value": 0.01}),
    "clip_adaptive": Remedy({"clip_adaptive": 0.01}),
    "lower_rate": Remedy(rate=0.1),
    "higher_rate": Remedy(rate=10.0),
    "warm_up": Remedy(warms_up=True),
    "adam": Remedy({"optimizer": "adam", "lr": 1e-3}),
    "rmsprop": Remedy({"optimizer": "rmsprop", "lr": 1e-3}),
    "momentum": Remedy({"optimizer": "momentum", "lr": 1e-2}),
    "truncated_bptt": Remedy({"bptt_steps": 10}),
    "growing_length": Remedy(schedule={"start_length": 5}),
}
PAIRS = (
    ("gru", "projection"),
    ("lstm", "projection"),
    ("relu", "identity_init"),
    ("henaff_init", "modrelu"),
    ("projection", "modrelu"),
    ("leaky_relu", "orthogonal_init"),
    ("clip_norm", "lower_rate"),
    ("clip_norm", "orthogonal_init"),
    ("clip_norm", "gru"),
    ("higher_rate", "orthogonal_init"),
)
REMEDIES: dict[str, Remedy] = {
    **SINGLE,
    **{f"{one}+{other}": SINGLE[one] | SINGLE[other] for one, other in PAIRS},
    "irnn": SINGLE["relu"] | SINGLE["identity_init"] | SMALL_INPUTS,
}


def treated(case: Case, remedy: Remedy) -> tuple[Recipe, Schedule]:
    """How a case is trained with a remedy."""
    recipe = dataclasses.replace(case.recipe, **remedy.recipe)
    recipe = dataclasses.replace(recipe, lr=remedy.rate * recipe.lr)
    if remedy.warms_up:
        steps = case.schedule.epochs * case.schedule.steps_per_epoch
        recipe = dataclasses.replace(recipe, warmup_steps=steps // 10, decay_steps=steps)
    return recipe, dataclasses.replace(case.schedule, **remedy.schedule)
