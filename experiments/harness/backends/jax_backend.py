"""Recipes carried out by jaxrnn: one compiled chunk of steps for all seeds."""

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import traverse_util
from jax.sharding import NamedSharding

import jaxrnn
from experiments.harness.backends.cores import available_cores
from experiments.harness.method.recipe import Recipe, State, TrainingBatch, Weights
from jaxrnn import initializers, optimizers, training
from jaxrnn.tasks import Batch


def start(devices: int | None = None) -> None:
    """Start JAX, on a CPU with this many devices; None: one for each core.

    More than there are cores would wait for each other. A JAX that has started keeps what it has.

    Raises:
      ValueError: fewer devices than asked for, or none of the platform that JAX is told to use.
    """
    cores = len(available_cores())
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", min(devices or cores, cores))
    try:
        found = len(jax.devices())
    except (RuntimeError, AssertionError) as error:  # the latter where no platform starts at all
        config: Any = jax.config
        reason = str(error).partition("\n")[0] or "there is no such device"
        raise ValueError(
            f"JAX does not start on JAX_PLATFORMS={config.jax_platforms}: {reason}"
        ) from None
    if devices is not None and devices > found:
        raise ValueError(f"--devices {devices}: JAX sees {found} devices")


def over_seeds(function: Callable) -> Callable:
    """The function of arguments and results that all have a leading axis S.

    On a CPU, which has no cores to spare, one seed after the other: 3 times as fast as vmap, whose
    products of small matrices are slower.
    """
    if jax.default_backend() == "cpu":
        return lambda *arguments: jax.lax.map(lambda each: function(*each), arguments)
    return jax.vmap(function)


def build_model(recipe: Recipe) -> jaxrnn.SequenceModel:
    """The model of a recipe, with its initialisers."""
    init = initializers.uniform(recipe.hidden)
    input_init, bias_init = init, init
    if recipe.input_std is not None:
        input_init, bias_init = initializers.normal(recipe.input_std), jax.nn.initializers.zeros
    recurrent_init = {
        "uniform": init,
        "orthogonal": initializers.orthogonal(),
        "henaff": initializers.henaff(),
        "identity": initializers.identity(recipe.identity_scale),
    }[recipe.recurrent_init]
    inits: Any = {
        "kernel_init": input_init,
        "recurrent_kernel_init": recurrent_init,
        "bias_init": bias_init,
    }
    make_cell: Any = {
        "vanilla": partial(jaxrnn.VanillaCell, activation=recipe.activation),
        "gru": nn.GRUCell,
        "lstm": nn.OptimizedLSTMCell,  # the same LSTM, its gates' products as one
    }[recipe.cell]
    return jaxrnn.SequenceModel(
        recipe.wrapped(make_cell(recipe.hidden, **inits), jaxrnn),
        num_outputs=recipe.task.num_outputs,
        last_only=recipe.is_regression,
        recurrence=recipe.recurrence,
        recompute=recipe.recompute,
        kernel_init=init,
        bias_init=bias_init,
    )


def build_loss(recipe: Recipe) -> training.Loss:
    """Cross-entropy of one-hot tokens, or the squared error of a regression."""
    model = build_model(recipe)
    if recipe.is_regression:
        return training.regression_loss(model)
    return training.classification_loss(model, recipe.task.num_inputs)


def build_stream_loss(recipe: Recipe) -> training.Loss:
    """The loss to train by: that of truncated BPTT for streams, else ``build_loss``."""
    if recipe.streams is None:
        return build_loss(recipe)
    return training.stream_loss(build_model(recipe), recipe.task.num_inputs)


def build_optimizer(recipe: Recipe) -> optax.GradientTransformation:
    """Clipping, the optimizer at its rates, and the projection last."""
    factor = None
    if recipe.has_schedule:
        factor = optimizers.schedule(recipe.warmup_steps, recipe.decay_steps)
    optimizer = optimizers.optimizer(
        recipe.optimizer,
        recipe.lr,
        recipe.clip_norm,
        recipe.recurrent_lr,
        recipe.clip_value,
        recipe.clip_adaptive,
        factor,
    )
    if recipe.retraction is None:
        return optimizer
    projection = jaxrnn.project_recurrent(recipe.retraction, every=recipe.project_every)
    return optax.chain(optimizer, projection)


def initial_variables(recipe: Recipe, seed: int) -> Any:
    """Fresh variables of the model."""
    dummy = jnp.zeros((1, 1, recipe.task.num_inputs))
    return build_model(recipe).init(jax.random.key(seed), dummy)


def initial_carry(recipe: Recipe) -> Any:
    """What the streams of truncated BPTT begin with; None where there are none."""
    if recipe.streams is None:
        return None
    cell: Any = build_model(recipe).cell
    return cell.initialize_carry(jax.random.key(0), (recipe.streams, recipe.task.num_inputs))


def initial_weights(recipe: Recipe, seed: int) -> Weights:
    """Fresh weights in the letters of the equations."""
    return jaxrnn.convert.to_weights(initial_variables(recipe, seed)["params"])


class JaxTrainer:
    """S seeds in training; a leading axis S on everything when there are several."""

    def __init__(self, recipe: Recipe, weights: Sequence[Weights]) -> None:
        loss, optimizer = build_loss(recipe), build_optimizer(recipe)
        chunk = training.make_train_chunk(
            build_stream_loss(recipe), optimizer, recipe.track_every, recipe.devices
        )
        self._num_seeds = len(weights)
        self._several = len(weights) > 1
        create = lambda params: training.TrainState.create(  # noqa: E731
            params, optimizer, initial_carry(recipe)
        )
        if self._several:
            chunk, loss, create = (over_seeds(function) for function in (chunk, loss, create))
        self._chunk = jax.jit(chunk, donate_argnums=0)
        self._loss = jax.jit(loss)
        stacked = {name: self._stack([w[name] for w in weights]) for name in weights[0]}
        self._state = create(jaxrnn.convert.from_weights(stacked))
        self._devices = recipe.devices

    def train(self, batches: Sequence[TrainingBatch | None]) -> training.Measurements:
        """Train each seed on its chunk of K batches, where it has one; (S, K) arrays."""
        anyone = next(batch for batch in batches if batch is not None)
        resting = {i: self.state(i) for i, batch in enumerate(batches) if batch is None}
        mesh = training.batch_mesh(self._devices, anyone.inputs.shape[1])
        # Moves nothing from the second chunk on.
        specs = training.TrainState.specs(leading_axes=int(self._several))
        state = jax.device_put(
            self._state, jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs)
        )
        stacked = self._stack_batches([batch or anyone for batch in batches])
        self._state, measured = self._chunk(state, stacked)
        for i, before in resting.items():
            self.restore(i, before)
        return training.Measurements(*(self._per_seed(column) for column in measured))

    def evaluate(self, batches: Sequence[Batch]) -> tuple[np.ndarray, np.ndarray]:
        """Loss and accuracy (S,) of each seed on its one large batch."""
        # On one device, wherever the state is: the same program before and after a checkpoint.
        params = jax.device_put(self._state.params, jax.devices()[0])
        value, accuracy = self._loss(params, self._stack_batches(batches))
        return self._per_seed(value), self._per_seed(accuracy)

    def state(self, seed: int) -> State:
        """The seed's TrainState, each leaf under its path."""
        leaves = jax.tree_util.tree_leaves_with_path(self._state)
        return {_name(path): self._per_seed(leaf)[seed].copy() for path, leaf in leaves}

    def restore(self, seed: int, state: State) -> None:
        """Put a seed back into a state."""

        def put(path: Any, leaf: jax.Array) -> jax.Array:
            # A copy: the next chunk overwrites it.
            value = jnp.array(state[_name(path)])
            return leaf.at[seed].set(value) if self._several else value

        self._state = jax.tree_util.tree_map_with_path(put, self._state)

    def cut_learning_rate(self, seed: int, factor: float) -> None:
        """Multiply the learning rates of a seed."""
        factors = np.ones(self._num_seeds, np.float32)
        factors[seed] = factor
        cut = optimizers.cut_learning_rate(
            self._state.opt_state, jnp.asarray(self._stack(list(factors)))
        )
        self._state = self._state.replace(opt_state=cut)

    def _stack(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack(arrays) if self._several else arrays[0]

    def _stack_batches(self, batches: Sequence[TrainingBatch]) -> TrainingBatch:
        return type(batches[0])(*(self._stack(arrays) for arrays in zip(*batches, strict=True)))

    def _per_seed(self, array: jax.Array) -> np.ndarray:
        return np.asarray(array) if self._several else np.asarray(array)[None]


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


make_trainer = JaxTrainer


def weights_of(recipe: Recipe, state: State) -> Weights:
    """The weights in a trainer's state."""
    params: Any = traverse_util.unflatten_dict(state, sep="/")["params"]
    return jaxrnn.convert.to_weights(params)


def sample(
    recipe: Recipe,
    weights: Weights,
    prompt: np.ndarray,
    length: int,
    temperature: float,
    seed: int,
) -> np.ndarray:
    """Tokens that continue a prompt, ``length`` of them, drawn one by one."""
    variables = {"params": jaxrnn.convert.from_weights(weights)}
    key = jax.random.key(seed)
    drawn = jaxrnn.sample(
        build_model(recipe), variables, key, jnp.asarray(prompt), length, temperature
    )
    return np.asarray(drawn)
