"""The options of ``python -m experiments.gradient_analysis``, and what they decide."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from experiments.gradient_analysis.flow import FLOW_LENGTHS
from experiments.harness.command import options
from experiments.harness.method.recipe import Recipe
from experiments.harness.text.language import Corpus, corpus
from experiments.harness.text.texts import DATASETS
from jaxrnn.text import CharacterTask

ADAM_LR = 3e-3  # as in char_lm
CLIPPINGS: dict[str, dict[str, Any]] = {
    "none": {},
    "norm 10": {"clip_norm": 10.0},
    "norm 5": {"clip_norm": 5.0},
    "norm 1": {"clip_norm": 1.0},
    "norm 0.5": {"clip_norm": 0.5},
    "norm 0.1": {"clip_norm": 0.1},
    "value 0.1": {"clip_value": 0.1},
    "value 0.01": {"clip_value": 0.01},
}


@dataclass(frozen=True)
class Size:
    """How much of everything: the whole analysis, or enough to see that it works."""

    steps: int
    epochs: int
    lengths: tuple[int, ...]
    length_characters: int
    clippings: tuple[str, ...]
    flow_lengths: tuple[int, ...]
    sequences: int


WHOLE = Size(
    steps=3_000,
    epochs=20,
    lengths=(5, 10, 15, 20, 25, 30, 40, 60, 100),
    length_characters=1_000_000,
    clippings=tuple(CLIPPINGS),
    flow_lengths=FLOW_LENGTHS,
    sequences=256,
)
QUICK = Size(
    steps=60,
    epochs=3,
    lengths=(5, 20),
    length_characters=20_000,
    clippings=("none", "norm 1"),
    flow_lengths=(5, 25),
    sequences=16,
)


@dataclass(frozen=True)
class GradientAnalysisConfig(options.TrainingOptions):
    """Draw where the gradients of recurrent networks go, on text."""

    dataset: Annotated[str, options.one_of(DATASETS)] = "shakespeare"
    """Text; see experiments.char_lm."""
    quick: bool = False
    """A minute instead of seven: fewer lengths, steps and settings."""
    seq_len: options.Count = 35
    """T, characters that a gradient reaches back, where it is not what is varied."""
    hidden: options.Count = 100
    """N, hidden units."""
    batch_size: options.Count = 32
    """B, streams."""
    devices: options.Devices = "auto"
    seed: options.Seed = 0
    seeds: options.FewSeeds = 3
    out: Path | None = None
    """Folder to write to; default: figures/gradient_analysis, or a folder in it for other
    settings."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_devices(self.batch_size)
        numbers = self.batch_size * max(self.size.lengths) * self.hidden + 4 * self.hidden**2
        options.check_memory(self, self.seeds * numbers, "batch_size", "hidden", "seeds")

    @property
    def folder(self) -> Path:
        """Where below figures/ these settings are written, on any number of devices."""
        return self.folder_of("quick" if self.quick else None, apart_from=["devices", "quick"])

    @property
    def size(self) -> Size:
        """How much of everything."""
        return QUICK if self.quick else WHOLE

    @property
    def corpus(self) -> Corpus:
        """The text."""
        return corpus(self.dataset)

    @property
    def recipe(self) -> Recipe:
        """A vanilla network on the text.

        Raises:
          ValueError: a text that is too short.
        """
        longest = CharacterTask(self.corpus.text, max(self.size.lengths), self.batch_size)
        return Recipe(
            task=CharacterTask(longest.text, self.seq_len, self.batch_size),
            hidden=self.hidden,
            lr=ADAM_LR,
            clip_norm=1.0,
            track_every=100,
            devices=self.num_devices,
        )
