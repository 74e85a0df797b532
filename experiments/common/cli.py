"""Command lines: dataclasses read by tyro, checks of what tyro accepts, and exit statuses.

0    done               2    a wrong option, path or value: one message, nothing written
130  Ctrl-C             1    anything else that fails
"""

import argparse
import dataclasses
import math
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import tyro

from experiments.common.recipe import is_installed
from experiments.common.results import ROOT
from experiments.common.runner import Interrupted

Config = TypeVar("Config")

MAX_COUNT = 10**9
MAX_RATE = 1e3
MAX_STATES = 2**33  # floats; 32 GiB in float32


def run(
    config_class: type[Config],
    execute: Callable[[Config], Any],
    presets: Mapping[str, Mapping[str, Any]] | None = None,
    arguments: Sequence[str] | None = None,
) -> None:
    """Read the command line into ``config_class`` and ``execute`` it, with the statuses above."""
    arguments = sys.argv[1:] if arguments is None else arguments
    config = parse(config_class, presets or {}, arguments)
    try:
        execute(config)
    except (Interrupted, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def parse(
    config_class: type[Config], presets: Mapping[str, Mapping[str, Any]], arguments: Sequence[str]
) -> Config:
    """The dataclass from the options; a preset's values are defaults that options override."""
    default = config_class()
    if presets:
        early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
        early.add_argument("--preset", choices=sorted(presets))
        try:
            preset = early.parse_known_args(list(arguments))[0].preset
        except argparse.ArgumentError:
            preset = None  # tyro says what is wrong with it
        default = config_class(**presets[preset]) if preset else default
    prog = f"python -m {config_class.__module__}"
    if config_class.__module__ == "__main__":
        prog = f"python -m experiments.{Path(sys.argv[0]).stem}"
    return tyro.cli(config_class, args=list(arguments), default=default, prog=prog)


def fail(message: str) -> NoReturn:
    """One line on standard error, then exit status 2."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


def require_backends(backends: Sequence[str]) -> None:
    """Exit with 2 unless the frameworks are installed; name the extra that installs them."""
    for backend in backends:
        if not is_installed(backend):
            extra = "jaxrnn[torch]" if backend == "torch" else "jaxrnn"
            fail(f"--backend {backend} needs the package {backend}: pip install '{extra}'")


def prepare_out(out: Path | None, default: Path) -> Path:
    """The folder to write to, created and tried; exit with 2 if it cannot be."""
    chosen = ROOT / "figures" / default if out is None else out
    made = [folder for folder in (chosen, *chosen.parents) if not folder.exists()]
    try:
        chosen.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=chosen):
            pass
    except OSError as error:
        for folder in made:
            if folder.is_dir():
                folder.rmdir()
        fail(f"--out {chosen}: not a folder that can be written to ({error.strerror})")
    return chosen


def check_counts(config: Any, *names: str, least: int = 1) -> None:
    """ValueError unless the named fields are whole numbers from ``least`` to a thousand million."""
    for name in names:
        value = getattr(config, name)
        if not least <= value <= MAX_COUNT:
            raise ValueError(f"{option(name)} must be from {least} to {MAX_COUNT}, got {value}")


def check_rates(config: Any, *names: str, zero: bool = False) -> None:
    """ValueError unless the named fields are finite and positive; ``zero`` allows 0 as well."""
    for name in names:
        value = getattr(config, name)
        if value is None:
            continue
        if not math.isfinite(value) or value < 0 or value > MAX_RATE or (value == 0 and not zero):
            allowed = "0 or more" if zero else "above 0"
            raise ValueError(f"{option(name)} must be {allowed}, at most {MAX_RATE:g}, got {value}")


def check_size(batch: int, steps: int, hidden: int, seeds: int, names: Sequence[str]) -> None:
    """ValueError if the hidden states of one batch, S·B·T·N floats, could not fit in memory."""
    states = batch * steps * hidden * seeds
    if states > MAX_STATES or hidden**2 > MAX_STATES:
        options = ", ".join(map(option, names))
        raise ValueError(
            f"{options}: together {states:.1e} numbers per training step, at most {MAX_STATES:.1e}"
        )


def check_distinct(config: Any, name: str) -> None:
    """ValueError if the named tuple is empty or repeats itself."""
    values = getattr(config, name)
    if not values:
        raise ValueError(f"{option(name)} needs at least one value")
    if len(set(values)) != len(values):
        raise ValueError(f"{option(name)} must not repeat itself, got {' '.join(values)}")


def changed_fields(config: Any, default: Any) -> set[str]:
    """The names of the fields in which two configurations differ."""
    return {
        field.name
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != getattr(default, field.name)
    }


def option(name: str) -> str:
    """The option of a field: batch_size → --batch-size."""
    return "--" + name.replace("_", "-")
