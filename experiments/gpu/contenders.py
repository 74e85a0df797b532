"""Who takes part in the race on a GPU: each trains a chunk of K steps and waits for its end.

All have the same sizes, batches (which are on the device already), clipping and Adam. None measures
anything: a singular value decomposition on a GPU takes longer than many steps.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from experiments.benchmark.contenders import Work, bare_torch_chunk, flax_loss
from experiments.gpu.summary import CELLS
from experiments.harness.backends import jax_backend
from experiments.harness.running.timing import Chunk
from jaxrnn import training
from jaxrnn.tasks import AddingTask

FLOAT32, TF32 = "highest", "tensorfloat32"  # the names that JAX has for its products' precision


def work_of(N: int, B: int, T: int) -> Work:
    """The adding problem at these sizes; a chunk takes some hundredths of a second on a GPU."""
    return Work(AddingTask(T), batch_size=B, hidden=N, steps=min(20, max(1, 3000 // T)))


def train_step(work: Work, **changes: Any) -> tuple[Callable, training.TrainState]:
    """jaxrnn's step for a recipe, and the state before the first."""
    recipe = work.recipe(**changes)
    params = jax_backend.initial_variables(recipe, 0)["params"]
    optimizer = jax_backend.build_optimizer(recipe)
    step = training.make_train_step(jax_backend.build_loss(recipe), optimizer)
    return step, training.TrainState.create(params, optimizer)


def flax_step(work: Work, cell: str) -> tuple[Callable, training.TrainState]:
    """The same step around Flax's own network, by autodiff."""
    loss, params = flax_loss(work, cell)
    optimizer = jax_backend.build_optimizer(work.recipe())
    return training.make_train_step(loss, optimizer), training.TrainState.create(params, optimizer)


def jax_chunk(
    work: Work, step: Callable, state: training.TrainState, precision: str = FLOAT32
) -> Chunk:
    """K steps in one compiled loop."""

    def chunk(state: Any, batches: Any) -> Any:
        with jax.default_matmul_precision(precision):
            return jax.lax.scan(step, state, batches)

    return compiled_chunk(chunk, state, work.batches())


def compiled_chunk(chunk: Callable, state: Any, batches: Any) -> Chunk:
    """(state, batches) → (state, results), jitted and called again and again on one device."""
    compiled = jax.jit(chunk, donate_argnums=0)
    device = jax.devices()[0]
    held = [jax.device_put(jax.tree.map(jnp.array, state), device)]
    batches = jax.device_put(batches, device)

    def run() -> object:
        held[0], results = compiled(held[0], batches)
        return jax.block_until_ready((held[0], results))

    return run


def torch_chunk(work: Work, cell: str, tf32: bool, device: str) -> Chunk:
    """PyTorch's loop, by cuDNN on a GPU."""
    import torch

    def prepare() -> None:
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32

    return bare_torch_chunk(work, prepare, CELLS[cell].torch_module, device)


def contenders(
    work: Work, cell: str, on_gpu: bool, with_torch: bool
) -> dict[str, Callable[[], Chunk]]:
    """Name → what makes it."""
    paths = ("fused", "scan") if cell == "vanilla" else ("scan",)
    made: dict[str, Callable[[], Chunk]] = {}

    def ours(path: str, precision: str) -> Callable[[], Chunk]:
        return lambda: jax_chunk(work, *train_step(work, cell=cell, recurrence=path), precision)

    for path in paths:
        made[f"jaxrnn, {path}"] = ours(path, FLOAT32)
    if on_gpu:
        made[f"jaxrnn, {paths[0]}, TF32"] = ours(paths[0], TF32)
    made["flax.linen"] = lambda: jax_chunk(work, *flax_step(work, cell))
    if with_torch:
        device = "cuda" if on_gpu else "cpu"
        name = f"torch.nn.{CELLS[cell].torch_module}"
        made[name] = lambda: torch_chunk(work, cell, False, device)
        if on_gpu:
            made[f"{name}, TF32"] = lambda: torch_chunk(work, cell, True, device)
    return made
