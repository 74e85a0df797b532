"""Who takes part in the benchmark: each trains a chunk of K steps and returns when it is done.

All have the same sizes, batches, clipping and Adam. jaxrnn, torch_ref and Flax's network in our
loop also measure W_hh, once a chunk.
"""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.sharding import NamedSharding, PartitionSpec

from experiments.harness.backends import jax_backend
from experiments.harness.backends.backend import load_backend
from experiments.harness.method.recipe import Recipe, TrainingBatch
from experiments.harness.running.timing import Chunk
from jaxrnn import training
from jaxrnn.tasks import Task
from jaxrnn.text import CharacterTask


@dataclass(frozen=True)
class Work:
    """A training step to be timed.

    Attributes:
      task: one with T time steps; D and C are the task's.
      batch_size, hidden: B and N.
      steps: K, steps of a chunk: enough for a tenth of a second or more.
    """

    task: Task
    batch_size: int
    hidden: int
    steps: int

    def recipe(self, **changes: Any) -> Recipe:
        """Clipping and Adam; spectral norms are measured once a chunk, at its last step."""
        recipe = Recipe(
            task=self.task,
            hidden=self.hidden,
            recurrent_init="orthogonal",
            clip_norm=1.0,
            track_every=self.steps,
        )
        return dataclasses.replace(recipe, **changes)

    def batches(self) -> TrainingBatch:
        """K batches, the same at every call."""
        if isinstance(self.task, CharacterTask):
            return self.task.batches(0, self.steps)
        return self.task.sample(np.random.default_rng(0), self.steps, self.batch_size)

    @property
    def time_steps(self) -> int:
        """T."""
        return time_steps(self.task)

    @property
    def flops(self) -> int:
        """Of the matrix products of a step: one forward and two backward for each weight matrix."""
        B, T, N = self.batch_size, self.time_steps, self.hidden
        reads = 1 if self.task.num_outputs == 1 else T  # steps that are read out
        inputs = 2 * self.task.num_inputs  # nothing flows back into the inputs
        return 2 * B * N * (T * (3 * N + inputs) + reads * 3 * self.task.num_outputs)


def time_steps(task: Task) -> int:
    """T of a task's sequences."""
    return task.sample(np.random.default_rng(0), 1).inputs.shape[1]


def backend_of(contender: str) -> str:
    """Whose loop it is, by its name."""
    return "torch" if contender.startswith("torch") else "jax"


def jaxrnn_chunk(work: Work, **changes: Any) -> Chunk:
    """jaxrnn, as an experiment trains a recipe."""
    recipe, batches = work.recipe(**changes), work.batches()
    trainer = jax_backend.make_trainer(recipe, [jax_backend.initial_weights(recipe, 0)])
    return lambda: trainer.train([batches])


def torch_ref_chunk(work: Work, threads: int, compiled: bool = False) -> Chunk:
    """The same for torch_ref, on ``threads`` threads, with torch.compile or without."""
    import torch  # an extra; the command has made sure of it

    library, recipe, batches = load_backend("torch"), work.recipe(), work.batches()
    weights = [library.initial_weights(recipe, 0)]
    trainer = library.TorchTrainer(recipe, weights, compiled=compiled)

    def chunk() -> object:
        torch.set_num_threads(threads)
        return trainer.train([batches])

    return chunk


def bare_torch_chunk(
    work: Work, prepare: Callable[[], Any], module: str = "RNN", device: str = "cpu"
) -> Chunk:
    """The loop that a PyTorch user would write: nothing measured but the last loss.

    Args:
      work: what to train.
      prepare: sets PyTorch's global options; called before each chunk.
      module: RNN, GRU or LSTM.
      device: PyTorch's name of it.
    """
    import torch

    inputs, targets = (torch.as_tensor(array, device=device) for array in work.batches())
    recurrent = getattr(torch.nn, module)
    rnn: Any = recurrent(work.task.num_inputs, work.hidden, batch_first=True, device=device)
    readout = torch.nn.Linear(work.hidden, work.task.num_outputs, device=device)
    params = [*rnn.parameters(), *readout.parameters()]
    optimizer = torch.optim.Adam(params, 1e-3, fused=True)

    def loss_of(x: Any, y: Any) -> Any:
        if work.recipe().is_regression:
            return torch.mean((readout(rnn(x)[0][:, -1])[:, 0] - y) ** 2)
        one_hot = torch.nn.functional.one_hot(x.long(), work.task.num_inputs).float()
        logits = readout(rnn(one_hot)[0])
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten().long())

    def chunk() -> float:
        prepare()
        loss: Any = None
        for x, y in zip(inputs, targets, strict=True):
            optimizer.zero_grad()
            loss = loss_of(x, y)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(params, 1.0)
            optimizer.step()
        return loss.item()  # waits for all of them

    return chunk


class FlaxRNN(nn.Module):
    """Flax's own: nn.RNN over one of its cells, then nn.Dense."""

    cell: nn.RNNCellBase
    num_outputs: int
    last_only: bool

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """(B, T, D) → (B, T, C), or (B, C) with ``last_only``."""
        hidden: Any = nn.RNN(self.cell)(inputs)
        return nn.Dense(self.num_outputs)(hidden[:, -1] if self.last_only else hidden)


FLAX_CELLS: dict[str, Callable[[int], nn.RNNCellBase]] = {
    "vanilla": nn.SimpleCell,
    "gru": nn.GRUCell,
    "lstm": nn.OptimizedLSTMCell,
}


def flax_loss(work: Work, cell: str = "vanilla") -> tuple[training.Loss, Any]:
    """The loss that every contender has, of Flax's own network, and fresh parameters for it."""
    recipe, task = work.recipe(), work.task
    model = FlaxRNN(FLAX_CELLS[cell](work.hidden), task.num_outputs, recipe.is_regression)
    params = model.init(jax.random.key(0), jnp.zeros((1, 2, task.num_inputs)))["params"]
    if recipe.is_regression:
        return training.regression_loss(model), params
    return training.classification_loss(model, task.num_inputs), params


def flax_chunk(work: Work, devices: int | None = 1) -> Chunk:
    """The same optimizer and the same compiled loop around Flax's own network, by autodiff."""
    loss, params = flax_loss(work)
    optimizer = jax_backend.build_optimizer(work.recipe())
    chunk = training.make_train_chunk(loss, optimizer, work.steps, devices)
    compiled = jax.jit(chunk, donate_argnums=0)
    replicated = NamedSharding(training.batch_mesh(devices, work.batch_size), PartitionSpec())
    state = [jax.device_put(training.TrainState.create(params, optimizer), replicated)]
    batches = work.batches()

    def train() -> object:
        state[0], measured = compiled(state[0], batches)
        return jax.block_until_ready(measured)

    return train


def gradient_bytes(work: Work, **changes: Any) -> int:
    """What XLA needs to differentiate jaxrnn's loss on one device, without inputs and results."""
    recipe = work.recipe(**changes)
    params = jax_backend.initial_variables(recipe, 0)["params"]
    return _temporary_bytes(jax_backend.build_loss(recipe), params, work)


def flax_gradient_bytes(work: Work) -> int:
    """The same for Flax's own network."""
    return _temporary_bytes(*flax_loss(work), work)


def _temporary_bytes(loss: training.Loss, params: Any, work: Work) -> int:
    batch = work.task.sample(np.random.default_rng(0), work.batch_size)
    grad = jax.jit(jax.value_and_grad(loss, has_aux=True))
    analysis: Any = grad.lower(params, batch).compile().memory_analysis()
    return analysis.temp_size_in_bytes


def floor_chunk(work: Work, devices: int | None = None) -> Chunk:
    """A step's matrix products and the sums that join them, in loops of the same kind.

    No bias, activation, loss, clipping or Adam, and no word between the devices: what a training
    step on these libraries cannot fall below.
    """
    task, N = work.task, work.hidden
    mesh = training.batch_mesh(devices, work.batch_size)
    rng = np.random.default_rng(0)

    def matrix(rows: int, columns: int) -> np.ndarray:
        return rng.standard_normal((rows, columns)).astype(np.float32) / np.float32(rows**0.5)

    weights = (
        matrix(task.num_inputs, N),
        np.linalg.qr(matrix(N, N))[0],
        matrix(N, task.num_outputs),
    )
    shape = work.steps, work.time_steps, work.batch_size, task.num_inputs
    inputs = np.float32(rng.standard_normal(shape))
    last_only = work.recipe().is_regression

    def step(weights: Any, x: jax.Array) -> tuple[Any, None]:
        W_xh, W_hh, W_hy = weights
        zeros = jnp.zeros((x.shape[1], N))

        def loop(matrix: jax.Array, start: jax.Array, added: Any, reverse: bool) -> Any:
            def multiply(h: jax.Array, a: Any) -> tuple[jax.Array, jax.Array]:
                h = h @ matrix if a is None else h @ matrix + a
                return h, h

            return jax.lax.scan(multiply, start, added, x.shape[0], reverse)[1]

        states = loop(W_hh, zeros, x @ W_xh, reverse=False)
        read = states[-1] if last_only else states
        outputs = read @ W_hy
        back = outputs @ W_hy.T
        start, added = (back, None) if last_only else (zeros, back)
        deltas = loop(W_hh.T, start, added, reverse=True)

        def pair(a: jax.Array, b: jax.Array) -> jax.Array:
            return a.reshape(-1, a.shape[-1]).T @ b.reshape(-1, b.shape[-1])

        products = pair(x, deltas), pair(states, deltas), pair(read, outputs)
        # Each step needs the last one's results, so none can be left out or done at once.
        return jax.tree.map(lambda w, d: w - 1e-9 * d, weights, products), None

    def chunk(weights: Any, inputs: jax.Array) -> Any:
        return jax.lax.scan(step, weights, inputs)[0]

    if mesh.size > 1:
        whole, shared = PartitionSpec(), PartitionSpec(None, None, "batch")
        chunk = jax.shard_map(
            chunk, mesh=mesh, in_specs=(whole, shared), out_specs=whole, check_vma=False
        )
    compiled = jax.jit(chunk)
    return lambda: jax.block_until_ready(compiled(weights, inputs))


def peak_gflops(size: int = 2048, repeats: int = 5) -> float:
    """What one large product of square matrices reaches on all cores, in GFLOP/s."""
    matrix = jnp.ones((size, size))
    product = jax.jit(lambda a: a @ a)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(product(matrix))
        seconds.append(time.perf_counter() - start)
    return 2e-9 * size**3 / min(seconds)
