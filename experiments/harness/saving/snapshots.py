"""All that a seed's training goes on from, and how it becomes arrays and JSON."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments.harness.method.recipe import State
from experiments.harness.records.results import Run
from experiments.harness.records.run_record import STEPS, Record

Arrays = dict[str, np.ndarray]


class Snapshot(NamedTuple):
    """A seed's training at the beginning of a chunk of steps.

    Attributes:
      state: the trainer's.
      record: what was measured until then.
      position: of its training data.
      epoch, start: the epoch, from 1, and the steps done in it.
    """

    state: State
    record: Record
    position: Mapping[str, Any]
    epoch: int
    start: int


class Snapshots(NamedTuple):
    """Where a seed is, and where it would go back to."""

    latest: Snapshot
    good: Snapshot


def pack(snapshots: Sequence[Snapshots]) -> tuple[State, Arrays, list[Any]]:
    """The states of S seeds, each array (S, 2, ...) for the two of each; columns; and JSON."""
    names = snapshots[0].latest.state if snapshots else ()
    state = {
        name: np.stack([[one.state[name] for one in two] for two in snapshots]) for name in names
    }
    columns: Arrays = {}
    info = [
        [_pack_snapshot(one, f"{i}/{j}", columns) for j, one in enumerate(two)]
        for i, two in enumerate(snapshots)
    ]
    return state, columns, info


def unpack(state: State, columns: Arrays, info: list[Any]) -> list[Snapshots]:
    """What ``pack`` was given."""
    return [
        Snapshots(
            *(
                Snapshot(
                    {name: array[i, j] for name, array in state.items()},
                    _unpack_record(one["record"], columns, f"{i}/{j}"),
                    one["position"],
                    one["epoch"],
                    one["start"],
                )
                for j, one in enumerate(two)
            )
        )
        for i, two in enumerate(info)
    ]


def pack_run(run: Run, prefix: str, columns: Arrays) -> dict[str, Any]:
    """A run as JSON; the columns of its steps go into ``columns``."""
    columns |= {f"{prefix}/{name}": np.asarray(column) for name, column in run.steps.items()}
    fields = (field.name for field in dataclasses.fields(run))
    return {name: getattr(run, name) for name in fields if name != "steps"}


def unpack_run(info: dict[str, Any], columns: Arrays, prefix: str) -> Run:
    """What ``pack_run`` was given."""
    found = below(prefix, columns)  # in the order of their names
    return Run(**info, steps={name: found[name] for name in ("step", *STEPS) if name in found})


def _pack_snapshot(snapshot: Snapshot, prefix: str, columns: Arrays) -> dict[str, Any]:
    record = snapshot.record
    for part in ("points", "epoch"):
        named = getattr(record, part)
        columns |= {f"{prefix}/{part}/{name}": column for name, column in named.items()}
    info = {
        "run": pack_run(record.run, f"{prefix}/run", columns),
        "num_steps": record.num_steps,
        "width": record.width,
    }
    position = {"position": snapshot.position, "epoch": snapshot.epoch, "start": snapshot.start}
    return {"record": info, **position}


def _unpack_record(info: dict[str, Any], columns: Arrays, prefix: str) -> Record:
    return Record(
        unpack_run(info["run"], columns, f"{prefix}/run"),
        info["num_steps"],
        info["width"],
        below(f"{prefix}/points", columns),
        below(f"{prefix}/epoch", columns),
    )


def below(prefix: str, columns: Arrays) -> Arrays:
    """The columns whose names begin with the prefix, under the rest of their names."""
    start = f"{prefix}/"
    return {name.removeprefix(start): x for name, x in columns.items() if name.startswith(start)}
