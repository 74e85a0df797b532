"""Synthetic tasks that need a long memory, as batches of NumPy arrays.

A task knows neither JAX nor PyTorch: both train on the same bytes for the same Generator. Each has
a baseline, the loss of the best answer that remembers nothing.

    task          inputs                        targets                     baseline
    copy          (B, 2L+1) tokens 0..8         (B, 2L+1) classes 0..8      L ln 8 / (2L+1)
    copy memory   (B, delay+20) tokens 0..9     (B, delay+20) classes 0..8  10 ln 8 / (delay+20)
    adding        (B, T, 2) numbers, markers    (B,) sums                   1/6
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np

from jaxrnn.checks import check_generator, check_sizes, check_whole, described

NUM_SYMBOLS = 8
BLANK = 8
MARKER = 9


class Batch(NamedTuple):
    """Inputs and targets; the leading axis is B, or (K, B) for a chunk of K steps.

    Example:
      >>> batch = AddingTask(seq_len=5).sample(np.random.default_rng(0), 4, 3)
      >>> batch.inputs.shape, batch.targets.shape  # (K, B, T, D), (K, B)
      ((4, 3, 5, 2), (4, 3))
    """

    inputs: np.ndarray
    targets: np.ndarray


@runtime_checkable
class Task(Protocol):
    """What every task, a frozen dataclass, offers.

    Classification tasks have integer inputs (tokens) and targets.

    Attributes:
      length_field: the name of the attribute that says how long a memory is asked for.

    Example:
      >>> task = CopyTask(seq_len=10)
      >>> isinstance(task, tasks.Task), task.num_inputs, task.num_outputs, round(task.baseline, 3)
      (True, 9, 9, 0.99)
    """

    length_field: ClassVar[str]

    @property
    def num_inputs(self) -> int:
        """D: the number of input features, or of different tokens."""

    @property
    def num_outputs(self) -> int:
        """C: the number of classes, or of real outputs."""

    @property
    def baseline(self) -> float:
        """The loss of the best answer that remembers nothing."""

    def sample(self, rng: np.random.Generator, *shape: int) -> Batch:
        """Fresh sequences, ``shape`` of them: (B,), or (K, B) for a chunk."""


AnyTask = TypeVar("AnyTask", bound=Task)


@dataclass(frozen=True)
class CopyTask:
    """L symbols, a delimiter, then L blanks during which the symbols are asked for in order.

    Inputs: s_1 … s_L 8 8 … 8 (length 2L+1; the delimiter and the blanks share token 8).
    Targets: 8 for L+1 steps, then s_1 … s_L. Cross-entropy is averaged over all 2L+1 steps.

    Attributes:
      seq_len: L, the number of symbols to remember.

    Example:
      >>> inputs, targets = CopyTask(seq_len=3).sample(np.random.default_rng(0), 2)
      >>> print(inputs)
      [[6 5 4 8 8 8 8]
       [2 2 0 8 8 8 8]]
      >>> print(targets)
      [[8 8 8 8 6 5 4]
       [8 8 8 8 2 2 0]]
    """

    seq_len: int = 10
    length_field: ClassVar[str] = "seq_len"
    num_inputs: ClassVar[int] = NUM_SYMBOLS + 1
    num_outputs: ClassVar[int] = NUM_SYMBOLS + 1

    def __post_init__(self) -> None:
        check_whole("seq_len", self.seq_len)

    @property
    def baseline(self) -> float:
        """L ln 8 / (2L+1): blanks foreseen, symbols guessed."""
        return self.seq_len * math.log(NUM_SYMBOLS) / (2 * self.seq_len + 1)

    def sample(self, rng: np.random.Generator, *shape: int) -> Batch:
        """Tokens and classes, int32, (*shape, 2L+1) each."""
        check_generator("rng", rng)
        check_sizes("shape", shape)
        L = self.seq_len
        symbols = rng.integers(0, NUM_SYMBOLS, (*shape, L), dtype=np.int32)
        inputs = np.full((*shape, 2 * L + 1), BLANK, np.int32)
        targets = inputs.copy()
        inputs[..., :L] = symbols
        targets[..., L + 1 :] = symbols
        return Batch(inputs, targets)


@dataclass(frozen=True)
class CopyMemoryTask:
    """Ten symbols to remember over a long delay (Hochreiter & Schmidhuber 1997; Arjovsky 2016).

    Inputs: s_1 … s_10, ``delay`` blanks of which the last is the marker 9, then ten blanks.
    Targets: 8 for delay+10 steps, then s_1 … s_10. Cross-entropy over all delay+20 steps.

    Attributes:
      delay: steps between the last symbol and the first answer.

    Example:
      >>> inputs, targets = CopyMemoryTask(delay=3).sample(np.random.default_rng(0), 1)
      >>> print(*inputs[0])
      6 5 4 2 2 0 0 0 1 6 8 8 9 8 8 8 8 8 8 8 8 8 8
      >>> print(*targets[0])
      8 8 8 8 8 8 8 8 8 8 8 8 8 6 5 4 2 2 0 0 0 1 6
    """

    delay: int = 100
    length_field: ClassVar[str] = "delay"
    num_inputs: ClassVar[int] = NUM_SYMBOLS + 2
    num_outputs: ClassVar[int] = NUM_SYMBOLS + 1

    def __post_init__(self) -> None:
        check_whole("delay", self.delay)

    @property
    def baseline(self) -> float:
        """10 ln 8 / (delay + 20)."""
        return 10 * math.log(NUM_SYMBOLS) / (self.delay + 20)

    def sample(self, rng: np.random.Generator, *shape: int) -> Batch:
        """Tokens and classes, int32, (*shape, delay+20) each."""
        check_generator("rng", rng)
        check_sizes("shape", shape)
        symbols = rng.integers(0, NUM_SYMBOLS, (*shape, 10), dtype=np.int32)
        inputs = np.full((*shape, self.delay + 20), BLANK, np.int32)
        targets = inputs.copy()
        inputs[..., :10] = symbols
        inputs[..., self.delay + 9] = MARKER
        targets[..., -10:] = symbols
        return Batch(inputs, targets)


@dataclass(frozen=True)
class AddingTask:
    """Add the two marked numbers of a sequence (Hochreiter & Schmidhuber 1997).

    Inputs: T steps of (number uniform in [0, 1), marker); one marker is 1 in the first half of the
    steps and one in the second, the others 0. Targets: the sum of the two marked numbers.

    Attributes:
      seq_len: T, at least 2.

    Example:
      >>> inputs, targets = AddingTask(seq_len=5).sample(np.random.default_rng(0), 1)
      >>> print(inputs[0].T.round(2))  # numbers, markers
      [[0.85 0.64 0.51 0.27 0.31]
       [1.   0.   1.   0.   0.  ]]
      >>> print(targets.round(2))
      [1.36]
    """

    seq_len: int = 150
    length_field: ClassVar[str] = "seq_len"
    num_inputs: ClassVar[int] = 2
    num_outputs: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_whole("seq_len", self.seq_len, 2)

    @property
    def baseline(self) -> float:
        """1/6, the variance of the sum of two uniform numbers: always answer 1."""
        return 1 / 6

    def sample(self, rng: np.random.Generator, *shape: int) -> Batch:
        """Inputs (*shape, T, 2) and targets (*shape,), both float32."""
        check_generator("rng", rng)
        check_sizes("shape", shape)
        T = self.seq_len
        numbers = rng.random((*shape, T), dtype=np.float32)
        first = rng.integers(0, T // 2, (*shape, 1))
        second = rng.integers(T // 2, T, (*shape, 1))
        markers = np.zeros((*shape, T), np.float32)
        np.put_along_axis(markers, first, 1.0, axis=-1)
        np.put_along_axis(markers, second, 1.0, axis=-1)
        inputs = np.stack([numbers, markers], axis=-1)
        return Batch(inputs, (numbers * markers).sum(axis=-1))


def length_of(task: Task) -> int:
    """How long a memory a task asks for: L, the delay, or T.

    Example:
      >>> [tasks.length_of(task) for task in (CopyTask(5), CopyMemoryTask(50), AddingTask(20))]
      [5, 50, 20]
    """
    return getattr(task, _length_field(task))


def with_length(task: AnyTask, length: int) -> AnyTask:
    """The same task at another length.

    Raises:
      ValueError: a length that the task does not have.

    Example:
      >>> tasks.with_length(CopyMemoryTask(delay=100), 30)
      CopyMemoryTask(delay=30)
    """
    changes: Any = {_length_field(task): length}
    return dataclasses.replace(task, **changes)  # type: ignore[type-var]


def _length_field(task: Any) -> str:
    """The name of the field that holds a task's length."""
    try:
        return task.length_field
    except AttributeError:
        words = "a task with a length_field, such as CopyTask(10)"
        raise ValueError(f"task must be {words}, got {described(task)}") from None


def growing_length(first: int, last: int, epoch: int, epochs: int) -> int:
    """The length to train on when sequences start short and grow (Bengio et al. 2009).

    It doubles, from ``first`` in the first epoch to ``last``: few different lengths, as each is
    compiled. Those below ``last`` share the first half of the epochs evenly; where that is too
    short for all of them, some between are left out. The second half has the task's own, and so has
    a single epoch: a curriculum that puts off what is hard can do worse than none (Zaremba &
    Sutskever 2014).

    Args:
      first: the shortest length.
      last: the task's own.
      epoch: from 1; after the last one the length stays the task's own.
      epochs: how many there are.

    Raises:
      ValueError: ``first`` is not from 1 to ``last``.

    Example:
      >>> [tasks.growing_length(10, last=80, epoch=epoch, epochs=8) for epoch in range(1, 9)]
      [10, 20, 20, 40, 80, 80, 80, 80]
    """
    check_whole("last", last)
    check_whole("first", first)
    check_whole("epochs", epochs)
    check_whole("epoch", epoch)
    if first > last:
        raise ValueError(f"the first length must be from 1 to the last, {last}, got {first}")
    doublings = ((last - 1) // first).bit_length()  # the least n with first · 2ⁿ ≥ last
    if epoch == 1 < epochs:
        return first
    return min(last, first * 2 ** ((2 * epoch - 1) * doublings // epochs))
