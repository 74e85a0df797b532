"""Files that a user names: read whole, if they are files, and not larger than is sensible."""

import stat
import unicodedata
from pathlib import Path

MAX_BYTES = 2**30


def read_text(path: Path, most: int = MAX_BYTES) -> str:
    """A file's text, without the mark that some editors put before it.

    Args:
      path: of a regular file, or a link to one. Anything else may have no end.
      most: bytes that it may have.

    Raises:
      ValueError: it cannot be read, is no regular file, is too large, or is not UTF-8.
    """
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise ValueError(f"{path}: not a regular file")
        if about.st_size > most:
            size, limit = about.st_size / 2**20, most / 2**20
            raise ValueError(f"{path}: at most {limit:,.0f} MiB are read, got {size:,.0f}")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 at byte {error.start}") from None
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None


def harmless(text: str, keep: str = "") -> str:
    """Text from a file with its control characters spelled out: a terminal would obey them."""

    def is_shown(character: str) -> bool:
        is_space = unicodedata.category(character) == "Zs"  # of any width
        return character.isprintable() or is_space or character in keep

    return "".join(c if is_shown(c) else repr(c)[1:-1] for c in text)
