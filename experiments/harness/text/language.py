"""What language models are measured by: losses in bits, and the quality of what they write."""

import functools
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.harness.backends.backend import load_backend
from experiments.harness.method.recipe import Recipe, Weights
from experiments.harness.records.results import Run, plain
from experiments.harness.text import texts
from jaxrnn.text import Text, frequencies, frequency_distance, share_of_known_words

MEASURED_CHARACTERS = 5_000  # of generated text, whatever was asked for
KEPT_CHARACTERS = 300  # of it in results.json
SHOWN_CHARACTERS = 25  # the most frequent ones, in the figure


@dataclass(frozen=True)
class Corpus:
    """A text to learn.

    Attributes:
      characters: the text.
      text: as tokens.
      hash: the first half of its SHA-256.
    """

    characters: str
    text: Text
    hash: str


@functools.cache
def corpus(dataset: str, path: Path | None = None) -> Corpus:
    """A dataset by its name, or a file.

    Raises:
      ValueError: it cannot be read, or is too short.
    """
    characters = texts.DATASETS[dataset]() if path is None else texts.read_file(path)
    try:
        text = Text(characters)
    except ValueError as error:
        raise ValueError(f"--text-file {path}: {error}") from None
    return Corpus(characters, text, hashlib.sha256(characters.encode()).hexdigest()[:32])


def first_prompt(text: Text, prompt: str) -> np.ndarray:
    """The tokens of a prompt; of an empty one, a new line or else the first character.

    A prompt's line ends are read as those of a file are.

    Raises:
      ValueError: the text lacks a character of it.
    """
    prompt = prompt.replace("\r\n", "\n").replace("\r", "\n")
    try:
        return text.encode(prompt or ("\n" if "\n" in text.vocabulary else text.vocabulary[0]))
    except ValueError as error:
        raise ValueError(f"--prompt {prompt}: {error}") from None


def bits(nats: float) -> float:
    """Nats in bits."""
    return nats / math.log(2)


def measure(
    source: Corpus,
    recipe: Recipe,
    run: Run,
    weights: Weights,
    *,
    prompt: str,
    temperature: float,
    length: int,
) -> dict[str, Any]:
    """What joins ``run.final``: the test loss in other units, its baselines, a sample's quality.

    Args:
      source: the text that was learnt.
      recipe: how.
      run: with its test loss.
      weights: after training.
      prompt: what the sample goes on from.
      temperature: of the sample.
      length: its characters, at least MEASURED_CHARACTERS.
    """
    text, loss = source.text, run.final["test_loss"]
    train_loss = plain(run.history["training_set_loss"][-1])  # in the digits of a checkpoint
    first = first_prompt(text, prompt)
    drawn = load_backend(run.backend).sample(
        recipe, weights, first, max(length, MEASURED_CHARACTERS), temperature, run.seed
    )
    return {
        "perplexity": math.exp(loss),
        "bits_per_character": bits(loss),
        "train_bits_per_character": bits(train_loss),
        **describe(source),
        **quality(source, drawn[:MEASURED_CHARACTERS]),
        "sample": prompt + text.decode(drawn[: max(length, KEPT_CHARACTERS)]),
    }


def describe(source: Corpus) -> dict[str, Any]:
    """A text's sizes, and what is known of its test split without a network, in bits."""
    text = source.text
    shares = np.bincount(text.tokens) / len(text.tokens)
    return {
        "characters": len(text.tokens),
        "vocabulary": len(text.vocabulary),
        "entropy_bits": bits(float(-shares @ np.log(shares))),
        "unigram_bits": bits(text.unigram_entropy()),
        "bigram_bits": bits(text.bigram_entropy()),
    }


def quality(source: Corpus, drawn: np.ndarray) -> dict[str, Any]:
    """How far a sample is from the text; under ``real_...`` the same of a piece of the test split.

    Distances are from the training split: even a piece of the text itself is not at zero.
    """
    text = source.text
    train, V = text.split("train"), len(text.vocabulary)
    known = source.characters[: len(train)]
    found: dict[str, Any] = {}
    for prefix, tokens in (("", drawn), ("real_", text.split("test")[: len(drawn)])):
        found |= {
            f"{prefix}character_distance": frequency_distance(tokens, train, V),
            f"{prefix}bigram_distance": frequency_distance(tokens, train, V, order=2),
            f"{prefix}known_words": share_of_known_words(text.decode(tokens), known),
        }
    order = np.argsort(-frequencies(train, V), kind="stable")[:SHOWN_CHARACTERS]
    found["shown_characters"] = text.decode(order)
    for name, tokens in (("text_frequencies", train), ("sample_frequencies", drawn)):
        found[name] = frequencies(tokens, V)[order].tolist()
    return found


def named(config: Mapping[str, Any]) -> str:
    """What a configuration's text is called."""
    path = config.get("text_file")
    return Path(path).name if path else config["dataset"]
