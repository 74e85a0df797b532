"""Part 4: what would make the fused recurrence faster on a GPU?

1. ``unroll``: 4 or 8 time steps in one iteration of the loop.
2. Seeds by vmap: 1, 8 or 64 networks in one chunk.
3. With --command-buffers, in a process that was started with XLA's flag for loops in command
   buffers: the plain step again. Its ratio to the plain step is that of two processes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmark.contenders import Work
from experiments.gpu.contenders import FLOAT32, compiled_chunk, train_step, work_of
from experiments.gpu.part_process import PartProcess
from experiments.harness.running.timing import Chunk, race, spread
from jaxrnn import bptt

SIZES = ((128, 128, 150), (128, 16, 1000))  # N, B, T
TINY = ((8, 4, 16),)
UNROLL = (1, 4, 8)
SEEDS = (1, 8, 64)
ROUNDS = 5


@contextmanager
def unrolled(steps: int) -> Iterator[None]:
    """Unroll the loops over time that are traced in this block."""
    before = bptt.UNROLL
    bptt.UNROLL = steps
    try:
        yield
    finally:
        bptt.UNROLL = before


def variant(work: Work, unroll: int = 1, seeds: int = 1) -> Chunk:
    """The fused step, its loop unrolled, for several seeds at once."""
    step, state = train_step(work, recurrence="fused")
    states = jax.tree.map(lambda leaf: jnp.stack([jnp.asarray(leaf)] * seeds), state)

    def chunk(states: Any, batches: Any) -> Any:
        with unrolled(unroll), jax.default_matmul_precision(FLOAT32):
            return jax.vmap(lambda state: jax.lax.scan(step, state, batches))(states)

    return compiled_chunk(chunk, states, work.batches())


def measure(part: PartProcess, size: tuple[int, int, int], variants: dict[str, dict]) -> None:
    """A row for each variant: milliseconds a step and seed, and how many times the plain step."""
    N, B, T = size
    work = work_of(N, B, T)
    times = race(
        {name: variant(work, **changes) for name, changes in variants.items()},
        ROUNDS if part.on_gpu else 2,
        f"{size}",
    )
    plain = next(iter(times.values()))
    for name, column in times.items():
        seeds = variants[name].get("seeds", 1)
        final = {
            "ms_per_step": 1e3 * float(np.median(column)) / work.steps / seeds,
            **spread("times_plain", plain * seeds / column),
        }
        part.write(name, "jax", final, hidden=N, batch_size=B, time_steps=T)


def main() -> None:
    """Both sizes, while there is time."""
    part = PartProcess("--command-buffers")
    for size in SIZES if part.on_gpu else TINY:
        groups: list[dict[str, dict]] = [
            {f"unroll {steps}": {"unroll": steps} for steps in UNROLL},
            {f"{seeds} seeds": {"seeds": seeds} for seeds in SEEDS},
        ]
        if part.options.command_buffers:
            groups = [{"command buffers": {}}]
        for group in groups:
            if part.seconds_left() > 0:
                measure(part, size, group)


if __name__ == "__main__":
    main()
