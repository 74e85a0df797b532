"""Text, one character at a time: vocabulary, splits, streams for truncated BPTT, baselines.

As the tasks, it knows neither JAX nor PyTorch. Loss is in nats a character; perplexity is exp(loss)
and bits per character are loss / ln 2.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np

from jaxrnn.checks import (
    as_tokens,
    check_generator,
    check_sizes,
    check_string,
    check_whole,
    described,
)
from jaxrnn.tasks import Batch

SPLITS = {"train": (0.0, 0.9), "validation": (0.9, 0.95), "test": (0.95, 1.0)}
# Long sequences that begin with an empty memory: it costs the first few dozen characters of each.
EVALUATED_LENGTH = 2000
# Networks that never had to begin with an empty memory are lost with one: a GRU that was trained on
# streams without an end had 10 bits a character on sequences, and 2.4 on its streams.
FRESH_EVERY = 50
_WORD = re.compile(r"\w+")


class Text:
    """A text as tokens.

    Args:
      characters: the text; its first 90 % are to train on, then 5 % validate and 5 % test.

    Attributes:
      vocabulary: its different characters, in order; a token is a place in it.
      tokens: (characters,), int32.

    Raises:
      ValueError: no str, one with half a surrogate pair, or fewer than two different characters.

    Example:
      >>> hamlet = Text("to be or not to be")
      >>> hamlet.vocabulary
      ' benort'
      >>> tokens = hamlet.encode("note")
      >>> print(tokens, hamlet.decode(tokens))
      [3 4 6 2] note
    """

    def __init__(self, characters: str) -> None:
        if not isinstance(characters, str):
            raise ValueError(f"the characters of a text are a str, got {type(characters).__name__}")
        try:
            codes = np.frombuffer(characters.encode("utf-32-le"), np.uint32)
        except UnicodeEncodeError as error:
            raise ValueError(
                "the characters of a text have no half of a surrogate pair, got one at character "
                f"{error.start}"
            ) from None
        letters, tokens = np.unique(codes, return_inverse=True)
        if len(letters) < 2:
            raise ValueError("a text needs at least two different characters")
        self.vocabulary = "".join(map(chr, letters))
        self.tokens = tokens.astype(np.int32)

    def split(self, name: str) -> np.ndarray:
        """The tokens of a part in ``SPLITS``; ValueError if there is none of that name."""
        if not isinstance(name, str) or name not in SPLITS:
            raise ValueError(f"a split's name is one of {', '.join(SPLITS)}, got {described(name)}")
        start, stop = (round(share * len(self.tokens)) for share in SPLITS[name])
        return self.tokens[start:stop]

    def encode(self, characters: str) -> np.ndarray:
        """Tokens of some characters.

        Raises:
          ValueError: a character that the text does not have.
        """
        check_string("characters", characters)
        unknown = sorted(set(characters) - set(self.vocabulary))
        if unknown:
            raise ValueError(f"the text has no {', '.join(map(repr, unknown))}")
        places = {character: token for token, character in enumerate(self.vocabulary)}
        return np.array([places[character] for character in characters], np.int32)

    def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
        """The characters of some tokens; ValueError for tokens that there are not."""
        tokens = as_tokens("tokens", tokens, len(self.vocabulary))
        return "".join(self.vocabulary[token] for token in tokens)

    def unigram_entropy(self, split: str = "test") -> float:
        """Nats per character of a split, predicted by how often the training split has each."""
        counts = np.bincount(self.split("train"), minlength=len(self.vocabulary)) + 1
        return float(-np.log(counts / counts.sum())[self.split(split)].mean())

    def bigram_entropy(self, split: str = "test") -> float:
        """Nats per character of a split, predicted from the one before it alone.

        Counts begin at one, for pairs that the training split does not have.
        """
        V, train, tested = len(self.vocabulary), self.split("train"), self.split(split)
        pairs, counts = np.unique(_groups("tokens", train, V, order=2), return_counts=True)
        wanted = _groups("tokens", tested, V, order=2)
        places = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
        seen = np.where(pairs[places] == wanted, counts[places], 0) + 1
        of_first = np.bincount(train[:-1], minlength=V) + V
        return float(-np.log(seen / of_first[tested[:-1]]).mean())


class StreamBatch(NamedTuple):
    """Streams' next characters, and which of the streams begin here with an empty memory.

    Attributes:
      inputs, targets: (B, T) tokens; (K, B, T) for a chunk of K steps.
      is_fresh: (B,) or (K, B), whether the carry is that before any character.

    Example:
      >>> task = CharacterTask(Text("abcdefg" * 20), seq_len=5, streams=2)
      >>> batch = task.batches(start=0, count=3)
      >>> batch.inputs.shape, batch.is_fresh.shape  # (K, B, T), (K, B)
      ((3, 2, 5), (3, 2))
    """

    inputs: np.ndarray
    targets: np.ndarray
    is_fresh: np.ndarray


@dataclass(frozen=True)
class CharacterTask:
    """Predict each character of a text from those before it, by truncated BPTT.

    The training split is a ring, on which B streams run from places equally far apart. A batch is
    the next T characters of each stream, so that the carry of one batch begins the next one. Only
    every ``FRESH_EVERY``-th batch of a stream begins with an empty memory.

    Attributes:
      text: what is read.
      seq_len: T, characters that a gradient reaches back.
      streams: B.

    Raises:
      ValueError: a text too short for its streams, or whose splits are too short to be tested on.

    Example:
      >>> task = CharacterTask(Text("abcdefg" * 20), seq_len=5, streams=2)
      >>> inputs, targets, _ = task.batches(start=0, count=2)
      >>> [task.text.decode(tokens) for tokens in inputs[:, 0]]  # of the first stream
      ['abcde', 'fgabc']
      >>> task.text.decode(targets[0, 0])
      'bcdef'
    """

    text: Text
    seq_len: int = 35
    streams: int = 32
    length_field: ClassVar[str] = "seq_len"

    def __post_init__(self) -> None:
        if not isinstance(self.text, Text):
            raise ValueError(f"text must be a Text, got {described(self.text)}")
        for name in ("seq_len", "streams"):
            check_whole(name, getattr(self, name))
        needed = max(100, round(self.streams * (self.seq_len + 1) / SPLITS["train"][1]))
        if len(self.text.tokens) < needed:
            raise ValueError(
                f"{self.streams} streams of {self.seq_len} characters need a text of {needed:,} "
                f"characters or more, got {len(self.text.tokens):,}"
            )

    @property
    def num_inputs(self) -> int:
        """D, different characters."""
        return len(self.text.vocabulary)

    @property
    def num_outputs(self) -> int:
        """C, different characters."""
        return len(self.text.vocabulary)

    @property
    def baseline(self) -> float:
        """Nats a character by the frequencies of single ones, on the test split."""
        return self.text.unigram_entropy()

    @cached_property
    def _ring(self) -> np.ndarray:
        return self.text.split("train")

    def batches(self, start: int, count: int) -> StreamBatch:
        """``count`` batches from the streams' character ``start`` on, (count, B, T) each."""
        check_whole("start", start, least=0, any_size=True)
        check_whole("count", count, least=0)
        n, T, B = len(self._ring), self.seq_len, self.streams
        start = int(start) % (n * T * FRESH_EVERY)  # after which all is as it was before
        starts = np.arange(B) * (n // B)
        places = starts[:, None] + np.arange(start, start + count * T + 1)
        tokens = self._ring[places % n]
        inputs, targets = (
            part.reshape(B, count, T).swapaxes(0, 1) for part in (tokens[:, :-1], tokens[:, 1:])
        )
        # One stream after the other, as evenly as can be.
        ages = start // T + np.arange(count)[:, None] + np.arange(B) * FRESH_EVERY // B
        return StreamBatch(inputs, targets, ages % FRESH_EVERY == 0)

    def sample(self, rng: np.random.Generator, *shape: int) -> Batch:
        """Windows from anywhere in the training split, (*shape, T)."""
        check_sizes("shape", shape)
        check_generator("rng", rng)
        starts = rng.integers(0, len(self._ring) - self.seq_len, (*shape, 1))
        tokens = self._ring[starts + np.arange(self.seq_len + 1)]
        return Batch(tokens[..., :-1], tokens[..., 1:])

    def sequences(self, split: str) -> Batch:
        """A split cut into long sequences (count, length), to measure a loss on."""
        tokens = self.text.split(split)
        length = min(EVALUATED_LENGTH, len(tokens) - 1)
        count = (len(tokens) - 1) // length
        inputs, targets = (
            tokens[start : start + count * length].reshape(count, length) for start in (0, 1)
        )
        return Batch(inputs, targets)


def frequencies(tokens: np.ndarray, num_tokens: int, order: int = 1) -> np.ndarray:
    """How often each of the ``num_tokens`` ** order possible groups of tokens in a row occurs.

    Example:
      >>> tokens = np.array([0, 1, 1, 0, 1])
      >>> print(text.frequencies(tokens, num_tokens=2))
      [0.4 0.6]
      >>> print(text.frequencies(tokens, num_tokens=2, order=2))  # of 00, 01, 10, 11
      [0.   0.5  0.25 0.25]
    """
    groups = _groups("tokens", tokens, num_tokens, order)
    return np.bincount(groups, minlength=num_tokens**order) / len(groups)


def _groups(name: str, tokens: np.ndarray, num_tokens: int, order: int) -> np.ndarray:
    """Each group of ``order`` tokens in a row as one number, below ``num_tokens`` ** order."""
    check_whole("num_tokens", num_tokens)
    check_whole("order", order)
    tokens = as_tokens(name, tokens, num_tokens)
    if len(tokens) < order or num_tokens**order >= 2**63:
        raise ValueError(
            f"an order of {order} needs as many {name} or more, and fewer groups than 2**63: got "
            f"{len(tokens)} of num_tokens = {num_tokens}"
        )
    groups = np.zeros(len(tokens) - order + 1, np.int64)
    for start in range(order):
        groups = groups * num_tokens + tokens[start : start + len(groups)]
    return groups


def frequency_distance(
    tokens: np.ndarray, others: np.ndarray, num_tokens: int, order: int = 1
) -> float:
    """Total variation distance of two texts' frequencies, ½ Σ |p − q|: 0 if equal, at most 1.

    Example:
      >>> text.frequency_distance(np.array([0, 0, 0, 1]), np.array([0, 1, 0, 1]), num_tokens=2)
      0.25
    """
    both = {"tokens": tokens, "others": others}
    groups = [_groups(name, each, num_tokens, order) for name, each in both.items()]
    # Of all possible groups, only those that occur.
    _, places = np.unique(np.concatenate(groups), return_inverse=True)
    parts = np.split(places, [len(groups[0])])
    p, q = (np.bincount(part, minlength=places.max() + 1) / len(part) for part in parts)
    return float(np.abs(p - q).sum() / 2)


def share_of_known_words(characters: str, text: str) -> float:
    """The share of words in ``characters`` that occur in ``text``; of its whole words, if any.

    Example:
      >>> text.share_of_known_words("..t the cat zat on the m..", "the cat sat on the mat")
      0.8
    """
    check_string("characters", characters)
    check_string("text", text)
    known = set(_WORD.findall(text))
    words = _WORD.findall(characters)[1:-1]  # the first and the last may be cut
    return sum(word in known for word in words) / len(words) if words else 0.0
