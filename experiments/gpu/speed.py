"""Part 2: how fast is a training step beside cuDNN's?

Forward, backward, clip and Adam on the adding problem by jaxrnn, by Flax, and by torch.nn, at
growing sizes as far as time allows. The ratio is torch's time over a contender's, TF32 off in both
unless a name says otherwise.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from experiments.benchmark.contenders import backend_of
from experiments.gpu.contenders import contenders, work_of
from experiments.gpu.machine import missing
from experiments.gpu.part_process import PartProcess, failure
from experiments.gpu.summary import CELLS
from experiments.harness.running.timing import Chunk, race, spread

# (N, B, T), most telling first: the first four have each N, each B and each T.
SIZES = (
    *((128, 128, 150), (256, 16, 1000), (512, 128, 150), (190, 16, 150)),
    *((128, 16, 1000), (256, 128, 150), (190, 128, 1000), (512, 16, 1000)),
    *((128, 16, 150), (256, 16, 150), (512, 16, 150), (190, 128, 150)),
    *((128, 128, 1000), (256, 128, 1000), (512, 128, 1000), (190, 16, 1000)),
)
TINY = ((8, 4, 20),)
ROUNDS = 7


def measure_size(part: PartProcess, cell: str, size: tuple[int, int, int]) -> None:
    """A row for each contender at one size."""
    N, B, T = size
    work = work_of(N, B, T)
    settings = {"cell": cell, "hidden": N, "batch_size": B, "time_steps": T}
    makers = contenders(work, cell, part.on_gpu, with_torch=not missing(("torch",)))
    ready: dict[str, Chunk] = {}
    # Compilation takes most of the time, and one does not hold up another.
    with ThreadPoolExecutor() as pool:
        warm = {name: pool.submit(_warm_up, make) for name, make in makers.items()}
        for name, future in warm.items():
            try:
                ready[name] = future.result()
            except Exception as error:  # whatever a GPU, its compiler or its memory may raise
                part.write(name, backend_of(name), failure(error), **settings)
    times = race(ready, ROUNDS if part.on_gpu else 2, f"{cell} {size}")
    reference = times.get(f"torch.nn.{CELLS[cell].torch_module}")
    for name, column in times.items():
        final = {"ms_per_step": 1e3 * float(np.median(column)) / work.steps}
        if reference is not None:
            final |= spread("times_torch", reference / column)
        part.write(name, backend_of(name), final, **settings)


def _warm_up(make) -> Chunk:
    chunk = make()
    chunk()
    return chunk


def main() -> None:
    """All cells at each size, while there is time for one more."""
    part = PartProcess()
    longest = 0.0
    for size in SIZES if part.on_gpu else TINY:
        for cell in CELLS:
            left = part.seconds_left()
            if left < 1.2 * longest:
                print(f"no time left for {cell} at {size}")
                continue
            measure_size(part, cell, size)
            longest = max(longest, left - part.seconds_left())


if __name__ == "__main__":
    main()
