"""Command lines: dataclasses read by tyro, and checks of what tyro accepts."""

import argparse
import dataclasses
import io
import itertools
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tyro

from experiments.harness.backends.backend import load_backend
from experiments.harness.command.statuses import ended, fail
from experiments.harness.records.results import ROOT, NotWritten, new_folder
from experiments.harness.saving.session import Session, SessionOptions, option
from experiments.harness.training.runner import Interrupted

Config = TypeVar("Config")
# As a field of a configuration: --checkpoint-dir and the rest, without a prefix.
SessionField = Annotated[SessionOptions, tyro.conf.arg(name="")]
DEFAULT_SESSION = SessionOptions()

MAX_COUNT = 10**9
MAX_RATE = 1e3
MAX_SEEDS = 50  # every run has its place in a results.json of less than 1 MiB


def run(
    config_class: type[Config],
    execute: Callable[[Config], Any],
    presets: Mapping[str, Mapping[str, Any]] | None = None,
    arguments: Sequence[str] | None = None,
) -> None:
    """Read the command line into ``config_class`` and ``execute`` it; exit as in statuses.py."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without "±" is no reason to stop
    try:
        execute(parse(config_class, presets or {}, arguments))
    except (Interrupted, KeyboardInterrupt, NotWritten) as stop:
        sys.exit(ended(stop.cause if isinstance(stop, Interrupted) else stop))


def parse(
    config_class: type[Config], presets: Mapping[str, Mapping[str, Any]], arguments: Sequence[str]
) -> Config:
    """The dataclass from the options; a preset's values are defaults that options override."""
    default = config_class()
    if "--out=" in arguments or ("--out", "") in itertools.pairwise(arguments):
        fail("--out must be a folder, got an empty name")
    if presets:
        early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        early.add_argument("--preset")
        early.add_argument("--compare")
        try:
            given = early.parse_known_args(list(arguments))[0]
        except argparse.ArgumentError:
            given = argparse.Namespace(preset=None, compare=None)  # tyro says what is wrong
        # A preset may also be a flag.
        flags = {argument.replace("_", "-") for argument in arguments}
        chosen = [
            name
            for name in presets
            if name in (given.preset, given.compare) or option(name) in flags
        ]
        values = {key: value for name in chosen for key, value in presets[name].items()}
        try:
            default = config_class(**values)
        except ValueError as error:
            fail(str(error))
    prog = f"python -m {config_class.__module__.removesuffix('.config')}"
    try:
        return tyro.cli(config_class, args=list(arguments), default=default, prog=prog)
    except ValueError as error:  # of a part of the configuration; its own are shown by tyro
        fail(str(error))


def require_backends(backends: Sequence[str], devices: int | Literal["auto"] = "auto") -> None:
    """Import the frameworks and start JAX; exit with 2 where one is missing, naming its extra."""
    for backend in backends:
        try:
            library = load_backend(backend)
        except ImportError as error:
            extra = "jaxrnn[torch]" if backend == "torch" else "jaxrnn"
            fail(
                f"--backend {backend} needs the package {backend} ({error}): pip install '{extra}'"
            )
        if backend == "jax":
            try:
                library.start(None if devices == "auto" else devices)
            except ValueError as error:
                fail(f"--devices {devices}: {error}")


def prepare(
    experiment: str, config: Any, backends: Sequence[str], folder: Path
) -> tuple[Path, Session]:
    """The folder to write to, created and tried, and the session; exit with 2 if one cannot be.

    Args:
      experiment: its name.
      config: its dataclass.
      backends: the frameworks used.
      folder: where below figures/ to write, unless ``config.out`` says otherwise.
    """
    out = ROOT / "figures" / folder if config.out is None else config.out
    try:
        with new_folder(out):
            return out, Session(experiment, config, backends)
    except ValueError as error:
        fail(str(error))


def check_counts(config: Any, *names: str, least: int = 1, most: int = MAX_COUNT) -> None:
    """ValueError unless the named fields are whole numbers from ``least`` to ``most``."""
    for name in names:
        value = getattr(config, name)
        if not least <= value <= most:
            raise ValueError(f"{option(name)} must be from {least} to {most}, got {value}")


def check_rates(config: Any, *names: str, zero: bool = False) -> None:
    """ValueError unless the named fields are finite and positive; ``zero`` allows 0 as well."""
    for name in names:
        value = getattr(config, name)
        if value is None:
            continue
        if not math.isfinite(value) or value < 0 or value > MAX_RATE or (value == 0 and not zero):
            allowed = "0 or more" if zero else "above 0"
            raise ValueError(f"{option(name)} must be {allowed}, at most {MAX_RATE:g}, got {value}")


def check_memory(config: Any, numbers: int, *names: str) -> None:
    """ValueError if ``numbers`` numbers of four bytes could not fit in this machine's memory.

    Args:
      config: what the message quotes the named fields of.
      numbers: a lower bound of what has to be held at once.
      names: the fields that decide it.
    """
    needed, available = 4 * numbers / 2**30, total_memory() / 2**30
    if needed > available:
        given = ", ".join(f"{option(name)} {getattr(config, name)}" for name in names)
        raise ValueError(
            f"{given}: together need {needed:,.0f} GiB or more; this machine has {available:.0f}"
        )


def total_memory() -> int:
    """Bytes of memory in this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def check_devices(config: Any) -> None:
    """ValueError unless --devices is auto or divides --batch-size."""
    if config.devices == "auto":
        return
    if config.devices < 1 or config.batch_size % config.devices:
        raise ValueError(
            f"--devices must be auto or a divisor of --batch-size {config.batch_size}, "
            f"got {config.devices}"
        )


def check_distinct(config: Any, name: str) -> None:
    """ValueError if the named tuple is empty or repeats itself."""
    values = getattr(config, name)
    if not values:
        raise ValueError(f"{option(name)} needs at least one value")
    if len(set(values)) != len(values):
        raise ValueError(f"{option(name)} must not repeat itself, got {' '.join(values)}")


def folder(name: str, config: Any, apart_from: Iterable[str] = ()) -> Path:
    """Where below figures/ an experiment writes: its own folder is for its defaults alone.

    Args:
      name: the experiment's.
      config: its dataclass.
      apart_from: fields that may differ from their defaults.
    """
    changed = changed_fields(config, type(config)()) - set(apart_from)
    return Path(name, "custom") if changed else Path(name)


def changed_fields(config: Any, default: Any) -> set[str]:
    """The names of the fields that decide about results and in which two configurations differ."""
    return {
        field.name
        for field in dataclasses.fields(config)
        if field.name not in ("out", "session")
        and getattr(config, field.name) != getattr(default, field.name)
    }
