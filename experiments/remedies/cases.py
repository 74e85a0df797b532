"""The symptoms, each as a case that fails untreated, and the remedies to try on them.

A remedy changes a recipe or a schedule in the same words for every case; a pair changes both.
"""

import functools
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from experiments.harness.method.recipe import Recipe
from experiments.harness.method.schedule import Schedule
from experiments.harness.text.language import corpus
from jaxrnn.tasks import AddingTask, CopyMemoryTask, CopyTask
from jaxrnn.text import CharacterTask

Symptom = Literal[
    "vanishing",
    "exploding",
    "saturated",
    "dead_units",
    "short_memory",
    "stuck_at_baseline",
    "unstable",
    "crawling",
]


@dataclass(frozen=True)
class Case:
    """A network that does not train.

    Attributes:
      setting: what is trained, in words.
      source: who reports that it fails.
      recipe, schedule: of the untreated network.
      solved: the largest loss of one that is cured, in baselines of the task.
    """

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
      optimizer: another one. Its rate is the case's if it is of the same kind, else its usual one.
      rate: what the learning rate is multiplied by.
      schedule: fields of the schedule.
      warms_up: whether the rate rises over the first tenth of the steps, and falls to zero.
    """

    recipe: dict[str, Any] = field(default_factory=dict)
    optimizer: Any = None
    rate: float = 1.0
    schedule: dict[str, Any] = field(default_factory=dict)
    warms_up: bool = False

    def __or__(self, other: "Remedy") -> "Remedy":
        """Both at once."""
        return Remedy(
            self.recipe | other.recipe,
            other.optimizer or self.optimizer,
            self.rate * other.rate,
            self.schedule | other.schedule,
            self.warms_up or other.warms_up,
        )


# Optimizers that scale each weight's step by its gradients, and the others.
USUAL_RATES = {"adam": 1e-3, "rmsprop": 1e-3, "sgd": 0.1, "momentum": 0.1}
SINGLE: dict[str, Remedy] = {
    "gru": Remedy({"cell": "gru"}),
    "lstm": Remedy({"cell": "lstm"}),
    "skip": Remedy({"skip": 10}),
    "leaky": Remedy({"leak": 0.1}),
    "relu": Remedy({"activation": "relu"}),
    "leaky_relu": Remedy({"activation": "leaky_relu"}),
    "modrelu": Remedy({"activation": "modrelu"}),
    "identity_init": Remedy({"recurrent_init": "identity", "identity_scale": 1.0}),
    "scaled_identity_init": Remedy({"recurrent_init": "identity", "identity_scale": 0.5}),
    "orthogonal_init": Remedy({"recurrent_init": "orthogonal"}),
    "henaff_init": Remedy({"recurrent_init": "henaff"}),
    "small_inputs": Remedy({"input_std": 0.001}),
    "projection": Remedy({"recurrent_init": "orthogonal", "retraction": "qr"}),
    "clip_norm": Remedy({"clip_norm": 1.0}),
    "clip_norm_5": Remedy({"clip_norm": 5.0}),
    "clip_value": Remedy({"clip_value": 0.01}),
    "clip_adaptive": Remedy({"clip_adaptive": 0.01}),
    "lower_rate": Remedy(rate=0.1),
    "higher_rate": Remedy(rate=10.0),
    "warm_up": Remedy(warms_up=True),
    "adam": Remedy(optimizer="adam"),
    "rmsprop": Remedy(optimizer="rmsprop"),
    "sgd": Remedy(optimizer="sgd"),
    "momentum": Remedy(optimizer="momentum"),
    "truncated_bptt": Remedy({"bptt_steps": 10}),
    "growing_length": Remedy(schedule={"start_length": 5}),
}
REMEDIES: dict[str, Remedy] = {
    **SINGLE,
    "irnn": SINGLE["relu"] | SINGLE["identity_init"] | SINGLE["small_inputs"],
    "henaff_modrelu": SINGLE["henaff_init"] | SINGLE["modrelu"],
    "projection_modrelu": SINGLE["projection"] | SINGLE["modrelu"],
    "gru_projected": SINGLE["gru"] | SINGLE["projection"],
    "lstm_projected": SINGLE["lstm"] | SINGLE["projection"],
    **{
        f"{one}+{other}": SINGLE[one] | SINGLE[other]
        for one, other in (
            ("relu", "identity_init"),
            ("leaky_relu", "orthogonal_init"),
            ("clip_norm", "lower_rate"),
            ("clip_norm", "orthogonal_init"),
            ("clip_norm", "gru"),
            ("higher_rate", "orthogonal_init"),
        )
    },
}
QUICK = (
    *("gru", "lstm", "skip", "leaky", "leaky_relu", "identity_init", "orthogonal_init"),
    *("projection", "clip_norm", "lower_rate", "higher_rate", "adam", "henaff_modrelu"),
)


def treated(case: Case, remedy: Remedy) -> tuple[Recipe, Schedule]:
    """How a case is trained with a remedy."""
    recipe, optimizer = replace(case.recipe, **remedy.recipe), remedy.optimizer
    if optimizer is not None:
        usual = USUAL_RATES[optimizer]
        if usual == USUAL_RATES[recipe.optimizer]:
            usual = recipe.lr
        recipe = replace(recipe, optimizer=optimizer, lr=usual)
    recipe = replace(recipe, lr=remedy.rate * recipe.lr)
    if remedy.warms_up:
        steps = case.schedule.epochs * case.schedule.steps_per_epoch
        recipe = replace(recipe, warmup_steps=steps // 10, decay_steps=steps)
    return recipe, replace(case.schedule, **remedy.schedule)


@functools.cache
def cases() -> dict[Symptom, Case]:
    """A network for each symptom.

    Raises:
      ValueError: Shakespeare's plays are not there.
    """
    text = corpus("shakespeare").text
    characters = CharacterTask(text)
    language = Recipe(characters, hidden=100, lr=3e-3, clip_norm=1.0, track_every=50)
    adding = Recipe(AddingTask(30), hidden=64, lr=3e-3, clip_norm=1.0, track_every=50)
    copy = replace(adding, task=CopyTask(10), lr=1e-3)
    copy_memory = replace(adding, task=CopyMemoryTask(10))
    bigrams = text.bigram_entropy() / characters.baseline  # what any language model gets below
    return {
        "vanishing": Case(
            "copy task of 10 symbols, tanh, weights in ±1/√N",
            "claim 1, with 64 units instead of 128; after Arjovsky et al. 2016",
            copy,
            _schedule(copy, 1500),
            solved=0.5,
        ),
        "exploding": Case(
            "adding 2 of 30 numbers, ReLU, W_hh = 1.5 I, no clipping",
            "after Le et al. 2015, with more than the identity; Pascanu et al. 2013",
            replace(
                adding,
                activation="relu",
                recurrent_init="identity",
                identity_scale=1.5,
                clip_norm=0.0,
            ),
            _schedule(adding, 1200),
            solved=0.12,
        ),
        "saturated": Case(
            "language model, tanh, W_hh = 5 I",
            "after Bengio et al. 1994",
            replace(language, recurrent_init="identity", identity_scale=5.0),
            _schedule(language, 500),
            solved=bigrams,
        ),
        "dead_units": Case(
            "adding 2 of 30 numbers, ReLU, Adam at 0.1",
            "after Maas et al. 2013",
            replace(adding, activation="relu", lr=0.1),
            _schedule(adding, 900),
            solved=0.12,
        ),
        "short_memory": Case(
            "adding 2 of 30 numbers, tanh, weights in ±1/√N",
            "after Hochreiter & Schmidhuber 1997 and Le et al. 2015, shorter",
            adding,
            _schedule(adding, 1200),
            solved=0.12,
        ),
        "stuck_at_baseline": Case(
            "copy memory over 10 steps, tanh, weights in ±1/√N",
            "after Arjovsky et al. 2016, shorter",
            copy_memory,
            _schedule(copy_memory, 900),
            solved=0.5,
        ),
        "unstable": Case(
            "language model, tanh, SGD at 2 without clipping",
            "after Pascanu et al. 2013",
            replace(language, optimizer="sgd", lr=2.0, clip_norm=0.0),
            _schedule(language, 500, epochs=6),
            solved=bigrams,
        ),
        "crawling": Case(
            "language model, tanh, SGD at 0.18, clipping at 1",
            "after Bengio et al. 2013",
            replace(language, optimizer="sgd", lr=0.18),
            _schedule(language, 500, epochs=12),
            solved=bigrams,
        ),
    }


def _schedule(recipe: Recipe, steps: int, epochs: int = 3) -> Schedule:
    """Epochs of batches of 32, each ended by a validation."""
    samples = 20 if recipe.streams else 500  # of 2000 characters, or of the task's length
    return Schedule(epochs, steps // epochs, 32, samples)
