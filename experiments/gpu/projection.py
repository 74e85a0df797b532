"""Part 3: what does a projection cost, by each retraction and by torch.linalg.qr?

A jitted step p ← p + u + project(p + u) of a nearly orthogonal matrix, and of 64 in a batch.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrnn
from experiments.benchmark.contenders import backend_of
from experiments.gpu.contenders import compiled_chunk
from experiments.gpu.machine import missing
from experiments.gpu.part_process import PartProcess, failure
from experiments.harness.running.timing import Chunk, race, spread

CASES = ((128, 1), (512, 1), (2048, 1), (128, 64), (512, 64))  # N, matrices
TINY = ((8, 1), (8, 2))
# What is compared first comes first.
FIRST = ("qr", "cholesky", "newton_schulz", "householder", "polar")
RETRACTIONS = (*FIRST, *(name for name in jaxrnn.orthogonal.RETRACTIONS if name not in FIRST))
TORCH = "torch.linalg.qr"
CHUNK_SECONDS = 0.05
MOST_STEPS = 20


def matrices(N: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Orthogonal matrices (count, N, N), and updates as small as an optimizer's."""
    rng = np.random.default_rng(N)
    W = np.linalg.qr(rng.standard_normal((count, N, N)))[0]
    move = 1e-3 * rng.standard_normal((count, N, N))
    return W.astype(np.float32), move.astype(np.float32)


def projection_step(retraction: str, N: int, count: int) -> Chunk:
    """One update and its projection."""
    W, move = matrices(N, count)
    transformation = jaxrnn.project_recurrent(retraction)
    params, updates = ({"h": {"kernel": jnp.asarray(X)}} for X in (W, move))
    first = transformation.init(params)

    def step(state: Any, updates: Any) -> Any:
        params, projection = state
        updates, projection = transformation.update(updates, projection, params)
        return (optax.apply_updates(params, updates), projection), ()

    return compiled_chunk(step, (params, first), updates)


def torch_step(N: int, count: int, device: str) -> Chunk:
    """PyTorch's decomposition of the same matrices, without signs."""
    import torch

    W, move = (torch.as_tensor(X, device=device) for X in matrices(N, count))

    def step() -> float:
        return float(torch.linalg.qr(W + move)[0][0, 0, 0])  # waits for the device

    return step


def repeated(make: Callable[[], Chunk], part: PartProcess) -> tuple[Chunk, int]:
    """A chunk of as many steps as take CHUNK_SECONDS, and how many those are."""
    step = make()
    step()
    before = part.seconds_left()
    step()
    seconds = before - part.seconds_left()
    count = max(1, min(MOST_STEPS, int(CHUNK_SECONDS / max(seconds, 1e-6))))

    def chunk() -> None:
        for _ in range(count):
            step()

    return chunk, count


def measure_case(part: PartProcess, N: int, count: int) -> None:
    """A row for each retraction of ``count`` matrices, with its ratio to PyTorch's."""
    makers: dict[str, Callable[[], Chunk]] = {}
    if not missing(("torch",)):
        device = "cuda" if part.on_gpu else "cpu"
        makers[TORCH] = partial(torch_step, N, count, device)
    for name in RETRACTIONS:
        makers[name] = partial(projection_step, name, N, count)
    ready, steps = {}, {}
    for name, make in makers.items():
        if part.seconds_left() <= 0:
            break
        try:
            ready[name], steps[name] = repeated(make, part)
        except Exception as error:  # whatever a GPU, its compiler or its memory may raise
            part.write(name, backend_of(name), failure(error), hidden=N, matrices=count)
    times = {
        name: column / steps[name]
        for name, column in race(ready, 3, f"N = {N}, {count} matrices").items()
    }
    for name, column in times.items():
        final = {"ms": 1e3 * float(np.median(column))}
        if TORCH in times:
            final |= spread("times_torch", times[TORCH] / column)
        part.write(name, backend_of(name), final, hidden=N, matrices=count)


def main() -> None:
    """All cases, while there is time."""
    part = PartProcess()
    for N, count in CASES if part.on_gpu else TINY:
        if part.seconds_left() > 0:
            measure_case(part, N, count)


if __name__ == "__main__":
    with jax.default_matmul_precision("highest"):
        main()
