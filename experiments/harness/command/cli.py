"""Command lines: dataclasses read by tyro, and how a command begins and ends."""

import argparse
import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import tyro

from experiments.harness.backends.backend import load_backend
from experiments.harness.command.options import Options
from experiments.harness.command.printed import what_is_printed
from experiments.harness.command.statuses import ended, fail, is_out_of_memory
from experiments.harness.records.results import ROOT, NotWritten, new_folder
from experiments.harness.saving.session import Session, option
from experiments.harness.training.runner import Interrupted

Config = TypeVar("Config")
# Options whose empty name would mean the current folder.
PATHS = {
    "--out": "folder",
    "--checkpoint-dir": "folder",
    "--log-dir": "folder",
    "--checkpoint": "folder",
    "--load": "folder",
    "--text-file": "file",
    "--results": "file",
    "--json": "file",
}


def run(
    config_class: type[Config],
    execute: Callable[[Config], Any],
    presets: Mapping[str, Mapping[str, Any]] | None = None,
    arguments: Sequence[str] | None = None,
) -> None:
    """Read the command line into ``config_class`` and ``execute`` it; exit as in statuses.py."""
    arguments = sys.argv[1:] if arguments is None else arguments
    with what_is_printed() as printed:
        try:
            execute(parse(config_class, presets or {}, arguments))
        except (Interrupted, KeyboardInterrupt, NotWritten) as stop:
            sys.exit(ended(stop.cause if isinstance(stop, Interrupted) else stop))
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            sys.exit(ended(error))
    if printed.error:
        sys.exit(ended(printed.error))


def parse(
    config_class: type[Config], presets: Mapping[str, Mapping[str, Any]], arguments: Sequence[str]
) -> Config:
    """The dataclass from the options; a preset's values are defaults that options override."""
    default = config_class()
    for name, what in PATHS.items():
        if f"{name}=" in arguments or (name, "") in itertools.pairwise(arguments):
            fail(f"{name} must be a {what}, got an empty name")
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
        config = tyro.cli(config_class, args=list(arguments), default=default, prog=prog)
    except ValueError as error:  # of a part of the configuration; its own are shown by tyro
        fail(str(error))
    for name, need in getattr(config, "without_effect", {}).items():
        if (given := getattr(config, name)) != getattr(default, name):
            fail(f"{option(name)} {given} changes nothing without {need}")
    return config


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
                fail(str(error))


def prepare(config: Options, backends: Sequence[str]) -> tuple[Path, Session]:
    """The folder to write to, created and tried, and the session; exit with 2 if one cannot be.

    Args:
      config: its ``out`` is the folder, or None for its own below figures/.
      backends: the frameworks used.
    """
    out = ROOT / "figures" / config.folder if config.out is None else config.out
    try:
        with new_folder(out):
            return out, Session(config.experiment, config, backends)
    except ValueError as error:
        fail(str(error))
