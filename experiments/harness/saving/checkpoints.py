"""A folder of checkpoints: whole, or detected as damaged; never half written, never unpickled.

    DIR/lock                       held by the process that writes here
    DIR/checkpoint-12/
      state/                     what trainers go on from, by orbax-checkpoint where they use JAX,
      state.safetensors          or by safetensors where they do not
      records.safetensors        the columns of what was measured
      progress.json              everything else
      checksums.json             SHA-256 of each file above, and in its first line of itself

A checkpoint is written under another name and renamed when whole; only then is an older one
removed. Two are kept, so that a damaged one has another to fall back to. (No fsync: after
a power cut the checksums tell what had reached the disk.)
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.harness.records.results import NotWritten

FORMAT = 1
KEPT = 2
LOCK = "lock"
UNFINISHED = "unfinished"
REMOVED = "removed"


class Damaged(Exception):  # noqa: N818 — as in NotWritten
    """A checkpoint whose bytes differ from what was written."""


class Checkpoint(NamedTuple):
    """What one checkpoint holds: arrays by names with "/" in them, and JSON."""

    state: dict[str, np.ndarray]
    records: dict[str, np.ndarray]
    progress: dict[str, Any]


class CheckpointFolder:
    """The checkpoints in one folder, which no other process writes to at the same time.

    Args:
      folder: made if it is not there.
      to_resume: whether it has to hold checkpoints, or nothing at all.

    Raises:
      ValueError: it does not, cannot be used, or another process is writing to it.
    """

    def __init__(self, folder: Path, to_resume: bool) -> None:
        self.folder = folder
        self._made: list[Path] = []
        try:
            _refuse_if_locked(folder)
            self._check(to_resume)
            self._made = [path for path in (folder, *folder.parents) if not path.exists()]
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW)
        except OSError as error:
            raise ValueError(
                f"--checkpoint-dir {folder} cannot be used ({error.strerror})"
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._check(to_resume)  # again: another run may have ended just now
        except BlockingIOError:
            self.release()
            raise ValueError(_in_use(folder)) from None
        except ValueError:
            self.release()
            raise

    def _check(self, to_resume: bool) -> None:
        """ValueError unless there is something to resume from, or nothing at all."""
        if to_resume:
            if not self.numbers():
                raise ValueError(f"--checkpoint-dir {self.folder} holds no checkpoint to resume")
        elif self.folder.exists():
            names = {path.name for path in self.folder.iterdir()}
            if names - {LOCK, UNFINISHED, REMOVED}:
                raise ValueError(
                    f"--checkpoint-dir {self.folder} is not empty: add --resume, or name another"
                )

    def release(self) -> None:
        """Let others write to the folder."""
        os.close(self._lock)

    def discard(self) -> None:
        """Release a folder in which nothing was done, and remove it if it was made."""
        if self._made:
            (self.folder / LOCK).unlink()
        self.release()
        for path in self._made:
            with contextlib.suppress(OSError):
                path.rmdir()

    def numbers(self) -> list[int]:
        """The numbers of the checkpoints, the newest first."""
        names = [
            path.name.removeprefix("checkpoint-")
            for path in self.folder.glob("checkpoint-*")
            if path.is_dir() and not path.is_symlink()
        ]
        return sorted((int(name) for name in names if name.isdecimal()), reverse=True)

    def save(self, number: int, checkpoint: Checkpoint, by_orbax: bool) -> None:
        """Write a checkpoint, then remove all but the newest.

        Raises:
          NotWritten: a full disk, say; the checkpoints that were there are still there.
        """
        unfinished, removed = self.folder / UNFINISHED, self.folder / REMOVED
        try:
            for left in (unfinished, removed):  # by a process that was killed
                _remove(left)
            unfinished.mkdir()
            write_state = _save_by_orbax if by_orbax else _save_by_safetensors
            write_state(unfinished / "state", checkpoint.state)
            _save_by_safetensors(unfinished / "records", checkpoint.records)
            (unfinished / "progress.json").write_text(
                json.dumps(checkpoint.progress, default=_item)
            )
            _write_checksums(unfinished)
            unfinished.rename(self._path(number))
        except Exception as error:  # orbax passes on its library's own kinds
            _remove(unfinished)
            reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
            raise NotWritten(f"checkpoint {self._path(number)} not written: {reason}") from error
        for old_number in self.numbers()[KEPT:]:
            # Under its own name it would be a damaged one if this is where the process dies.
            self._path(old_number).rename(removed)
            _remove(removed)

    def load(self) -> tuple[int, Checkpoint]:
        """The newest whole checkpoint and its number, with a warning for each that is damaged.

        Raises:
          ValueError: there is none, it cannot be read, or it was written by a newer version.
        """
        numbers = self.numbers()
        for number in numbers:
            path = self._path(number)
            try:
                verify(path)
                return number, _read(path)
            except Damaged as error:
                print(f"warning: checkpoint {path} is damaged: {error}", file=sys.stderr)
            except OSError as error:
                raise ValueError(f"checkpoint {path} cannot be read: {error.strerror}") from None
        raise ValueError(
            f"--checkpoint-dir {self.folder}: none of its {len(numbers)} checkpoints is whole"
        )

    def set_damaged_aside(self, newest_whole: int) -> None:
        """Rename what else has the name of a newer checkpoint: those numbers will be used again."""
        for path in list(self.folder.glob("checkpoint-*")):
            number = path.name.removeprefix("checkpoint-")
            if number.isdecimal() and int(number) > newest_whole:
                aside = self.folder / f"damaged-{number}"
                _remove(aside)
                path.rename(aside)

    def _path(self, number: int) -> Path:
        return self.folder / f"checkpoint-{number}"


def _in_use(folder: Path) -> str:
    return f"another run is writing to --checkpoint-dir {folder}"


def _refuse_if_locked(folder: Path) -> None:
    """ValueError where another process holds the lock: what else is there will change."""
    try:
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(_in_use(folder)) from None
    finally:
        os.close(lock)


def _remove(path: Path) -> None:
    """A folder and all in it; a file or a link itself, which is not followed."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def verify(path: Path) -> None:
    """Compare the files of a checkpoint with its checksums.

    Raises:
      Damaged: a file is missing, or its bytes have changed.
      ValueError: written by a newer version of this program.
    """
    try:
        first, _, body = (path / "checksums.json").read_bytes().partition(b"\n")
    except FileNotFoundError:
        raise Damaged("checksums.json is missing") from None
    if first != hashlib.sha256(body).hexdigest().encode():
        raise Damaged("checksums.json has changed")
    manifest = json.loads(body)
    if manifest["format"] > FORMAT:
        raise ValueError(
            f"{path} has format {manifest['format']}, of a newer version; this one reads {FORMAT}"
        )
    for name, checksum in manifest["sha256"].items():
        try:
            found = hashlib.sha256((path / name).read_bytes()).hexdigest()
        except FileNotFoundError:
            raise Damaged(f"{name} is missing") from None
        if found != checksum:
            raise Damaged(f"{name} has changed")


def _write_checksums(path: Path) -> None:
    files = sorted(file for file in path.rglob("*") if file.is_file())
    sums = {
        file.relative_to(path).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }
    body = json.dumps({"format": FORMAT, "sha256": sums}, indent=1).encode()
    first = hashlib.sha256(body).hexdigest().encode()
    (path / "checksums.json").write_bytes(first + b"\n" + body)


def _read(path: Path) -> Checkpoint:
    """A checkpoint that was verified."""
    by_orbax = (path / "state").is_dir()
    state = _load_by_orbax(path / "state") if by_orbax else _load_by_safetensors(path / "state")
    progress = json.loads((path / "progress.json").read_text())
    return Checkpoint(state, _load_by_safetensors(path / "records"), progress)


def _save_by_safetensors(path: Path, arrays: dict[str, np.ndarray]) -> None:
    from safetensors.numpy import save_file  # as orbax, where there are checkpoints alone

    save_file(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()},
        path.with_suffix(".safetensors"),
    )


def _load_by_safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(path.with_suffix(".safetensors"))


def _save_by_orbax(path: Path, arrays: dict[str, np.ndarray]) -> None:
    import orbax.checkpoint as ocp
    from flax.traverse_util import unflatten_dict

    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(path.absolute(), unflatten_dict(arrays, sep="/"))


def _load_by_orbax(path: Path) -> dict[str, np.ndarray]:
    import orbax.checkpoint as ocp
    from flax.traverse_util import flatten_dict

    with ocp.PyTreeCheckpointer() as checkpointer:
        return flatten_dict(checkpointer.restore(path.absolute()), sep="/")


def _item(value: Any) -> Any:
    """A NumPy scalar as Python's own number, which is the same one."""
    return value.item()
