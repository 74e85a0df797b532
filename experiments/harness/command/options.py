"""Options that several commands have: their types, their bounds, and what follows from them.

An option's bounds are part of its type, and every configuration checks them as it is made:

    hidden: Count = 128
"""

import dataclasses
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from experiments.harness.saving.session import SessionOptions, option

MAX_COUNT = 10**9
MAX_RATE = 1e3
MAX_SEEDS = 50  # every run has its place in a results.json of less than 1 MiB


@dataclass(frozen=True)
class Between:
    """Bounds of a whole number."""

    least: int = 1
    most: int = MAX_COUNT

    def check(self, name: str, value: int) -> None:
        """ValueError unless it is from the least to the most."""
        if not self.least <= value <= self.most:
            raise ValueError(
                f"{option(name)} must be from {self.least} to {self.most}, got {value}"
            )


@dataclass(frozen=True)
class Finite:
    """Bounds of a number above 0, or of one that may be 0 as well."""

    zero: bool = False

    def check(self, name: str, value: float) -> None:
        """ValueError unless it is finite and positive."""
        if not (0 < value <= MAX_RATE or (value == 0 and self.zero)):
            allowed = "0 or more" if self.zero else "above 0"
            raise ValueError(f"{option(name)} must be {allowed}, at most {MAX_RATE:g}, got {value}")


Count = Annotated[int, Between()]
CountOrZero = Annotated[int, Between(0)]
Rate = Annotated[float, Finite()]
RateOrZero = Annotated[float, Finite(zero=True)]
Devices = Annotated[
    int | Literal["auto"],
    tyro.conf.arg(help="JAX devices to share each batch; on a CPU, auto is one per core."),
]
Seed = Annotated[CountOrZero, tyro.conf.arg(help="First seed.")]
_SEEDS = tyro.conf.arg(help="Number of seeds, counted from the first.")
Seeds = Annotated[int, Between(1, MAX_SEEDS), _SEEDS]
FewSeeds = Annotated[int, Between(1, 10), _SEEDS]  # of commands that train many networks of each
# As a field of a configuration: --checkpoint-dir and the rest, without a prefix.
Session = Annotated[SessionOptions, tyro.conf.arg(name="")]
DEFAULT_SESSION = SessionOptions()


def one_of(names: Iterable[str]) -> PrimitiveConstructorSpec[str]:
    """The type of an option that is one of some names: Annotated[str, one_of(METHODS)]."""
    choices = tuple(names)
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=f"{{{','.join(choices)}}}",
        instance_from_str=lambda given: given[0],
        is_instance=lambda value: value in choices,
        str_from_instance=lambda value: [value],
        choices=choices,
    )


class Options:
    """The base of the dataclass of every command that writes below figures/."""

    out: Path | None

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self), include_extras=True).items():
            value = getattr(self, name)
            if isinstance(value, tuple):
                check_distinct(name, value)
            for part in (hint, *get_args(hint)):  # an option that may be None is a union
                for bounds in getattr(part, "__metadata__", ()):
                    if isinstance(bounds, (Between, Finite)) and value is not None:
                        bounds.check(name, value)

    @property
    def experiment(self) -> str:
        """Its name: that of its package."""
        return type(self).__module__.split(".")[-2]

    @property
    def folder(self) -> Path:
        """Where below figures/ these settings are written: only the defaults go to its own."""
        return self.folder_of()

    @property
    def without_effect(self) -> dict[str, str]:
        """The fields that change nothing under the others → what would give them an effect."""
        return {}

    def folder_of(
        self,
        *parts: str | None,
        preset: Mapping[str, Any] | None = None,
        apart_from: Iterable[str] = (),
    ) -> Path:
        """The folder of its own, then what the settings are called, then "custom" for others.

        Args:
          parts: names; None is no part.
          preset: values that are defaults here.
          apart_from: fields that may differ from their defaults.
        """
        changed = changed_fields(self, type(self)(**(preset or {}))) - set(apart_from)
        names = (*parts, "custom" if changed else None)
        return Path(self.experiment, *(name for name in names if name is not None))


class TrainingOptions(Options):
    """The same of a command that trains from several seeds."""

    backend: str = "jax"
    devices: int | Literal["auto"] = "auto"
    seed: int
    seeds: int

    @property
    def backends(self) -> tuple[str, ...]:
        """The backends asked for."""
        return ("jax", "torch") if self.backend == "both" else (self.backend,)

    @property
    def other_backend(self) -> str | None:
        """The part of the folder's name that says so, where it is not JAX."""
        return None if self.backend == "jax" else self.backend

    @property
    def num_devices(self) -> int | None:
        """As a recipe has it: None for all there are."""
        return None if self.devices == "auto" else self.devices

    @property
    def all_seeds(self) -> range:
        """The seeds to train from."""
        return range(self.seed, self.seed + self.seeds)

    def check_devices(self, batch_size: int) -> None:
        """ValueError unless --devices is auto, or divides the batch that JAX trains on."""
        if self.devices == "auto":
            return
        if self.devices < 1 or batch_size % self.devices:
            raise ValueError(
                f"--devices must be auto or a divisor of --batch-size {batch_size}, "
                f"got {self.devices}"
            )
        if "jax" not in self.backends:
            raise ValueError(f"--devices is for --backend jax or both, not {self.backend}")


def check_distinct(name: str, values: tuple[str, ...]) -> None:
    """ValueError if a tuple is empty or repeats itself."""
    if not values:
        raise ValueError(f"{option(name)} needs at least one value")
    if len(set(values)) != len(values):
        raise ValueError(f"{option(name)} must not repeat itself, got {' '.join(values)}")


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


def changed_fields(config: Any, default: Any) -> set[str]:
    """The names of the fields that decide about results and in which two configurations differ."""
    return {
        field.name
        for field in dataclasses.fields(config)
        if field.name not in ("out", "session")
        and getattr(config, field.name) != getattr(default, field.name)
    }
