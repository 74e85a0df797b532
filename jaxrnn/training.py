"""Training any Flax model by a jitted chunk of Optax steps.

    state, measured = chunk(state, batches)      # K steps in one lax.scan, the state donated

One compiled loop over many steps beats one call per step. Every step records the loss, the accuracy
and the gradient norm before any clipping; spectral norm and orthogonality error of the recurrent
kernels, which cost a singular value decomposition, come at every k-th step.

A step whose loss or gradient is not finite is not applied, and neither is any step after it.

Several devices share every batch: each takes the gradient of its part, and their mean, one
all-reduce a step, is that of the whole batch. Everything else, the same on all of them, is repeated
on each.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct
from jax.flatten_util import ravel_pytree
from jax.sharding import AxisType, Mesh, PartitionSpec
from jaxtyping import Array, Float

from jaxrnn.diagnostics import recurrent_diagnostics
from jaxrnn.model import SequenceModel

# (params, batch) → (loss, accuracy), or (params, batch, carry) → (loss, (accuracy, carry)).
Loss = Callable[..., tuple[Float[Array, ""], Any]]

# Fewer sequences on a device are not worth an all-reduce. Measured on two CPU cores with N = 100.
MIN_SEQUENCES_PER_DEVICE = 8


class TrainState(struct.PyTreeNode):
    """Everything that a step reads and writes.

    Attributes:
      params: the model's parameters.
      opt_state: the Optax state.
      step: steps applied so far, int32.
      diverged: whether a loss or gradient was not finite; ``step`` then names that step, and
        ``params`` are those before it.
      carry: what the streams of truncated BPTT pass on to their next batch, (B, ...); None where
        batches have nothing to do with each other.

    Example:
      >>> params, optimizer = {"w": jnp.ones(3)}, optax.sgd(0.1)
      >>> state = TrainState.create(params, optimizer)
      >>> int(state.step), bool(state.diverged)
      (0, False)
    """

    params: Any
    opt_state: Any
    step: Any
    diverged: Any
    carry: Any = None

    @classmethod
    def create(
        cls, params: Any, optimizer: optax.GradientTransformation, carry: Any = None
    ) -> "TrainState":
        """The state before the first step; ``params`` are copied, as a chunk donates its state."""
        # Two copies: some optimizers (DoG, Prodigy) keep the first parameters in their state.
        return cls(
            params=jax.tree.map(jnp.array, params),
            opt_state=optimizer.init(jax.tree.map(jnp.array, params)),
            step=jnp.zeros([], jnp.int32),
            diverged=jnp.zeros([], bool),
            carry=carry,
        )

    @classmethod
    def specs(cls, leading_axes: int = 0) -> "TrainState":
        """How devices hold a state: each a part of the carry, and a copy of everything else."""
        whole, part = PartitionSpec(), PartitionSpec(*[None] * leading_axes, "batch")
        return cls(whole, whole, whole, whole, part)


class Measurements(NamedTuple):
    """What a step measured; with a leading axis K from a chunk.

    Loss, accuracy (NaN for regression) and the unclipped gradient norm are those before the update;
    spectral norm and orthogonality error are of W_hh after it, NaN at steps that were not tracked.

    Example:
      >>> step = training.make_train_step(lambda w, x: ((w - x) ** 2, jnp.nan), optax.sgd(0.1))
      >>> state = TrainState.create(jnp.array(3.0), optax.sgd(0.1))
      >>> _, measured = step(state, jnp.array(1.0))
      >>> float(measured.loss), float(measured.grad_norm)
      (4.0, 4.0)
    """

    loss: Any
    accuracy: Any
    grad_norm: Any
    spectral_norm: Any
    orthogonality_error: Any


def classification_loss(model: nn.Module, num_tokens: int) -> Loss:
    """Mean cross-entropy (nats) and accuracy over all B·T predictions.

    The loss takes (params, (tokens (B, T), classes (B, T))); tokens enter as one-hot vectors of
    ``num_tokens`` = D features.

    Example:
      >>> model = SequenceModel(VanillaCell(4), num_outputs=9)
      >>> shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((2, 5, 9)))
      >>> params = jax.tree.map(jnp.zeros_like, shapes["params"])
      >>> loss = training.classification_loss(model, num_tokens=9)
      >>> value, _ = loss(params, CopyTask(seq_len=2).sample(np.random.default_rng(0), 2))
      >>> print(f"{value:.3f} {np.log(9):.3f}")
      2.197 2.197
    """

    def loss(params: Any, batch: Any) -> tuple[jax.Array, jax.Array]:
        tokens, classes = batch
        dtype = jax.tree.leaves(params)[0].dtype
        logits: Any = model.apply(
            {"params": params}, jax.nn.one_hot(tokens, num_tokens, dtype=dtype)
        )
        return _cross_entropy(logits, classes)

    return loss


def _cross_entropy(logits: Array, classes: Any) -> tuple[Array, Array]:
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, classes)
    return losses.mean(), (logits.argmax(-1) == classes).mean()


def stream_loss(model: SequenceModel, num_tokens: int) -> Loss:
    """``classification_loss`` for truncated BPTT: each batch goes on where the last one ended.

    The loss takes (params, batch, carry) and gives (loss, (accuracy, carry)), where a batch has
    tokens and classes (B, T) and, for each stream (B,), whether it is fresh: those begin with the
    cell's initial carry. No gradient flows from one batch into the one before it (Williams & Peng
    1990).

    Example:
      >>> model = SequenceModel(VanillaCell(4), num_outputs=9)
      >>> params = model.init(jax.random.key(0), jnp.zeros((2, 5, 9)))["params"]
      >>> task = CharacterTask(Text("abcdefghi" * 20), seq_len=5, streams=2)
      >>> batch = jax.tree.map(lambda leaf: leaf[0], task.batches(start=0, count=1))
      >>> loss = training.stream_loss(model, num_tokens=9)
      >>> value, (accuracy, carry) = loss(params, batch, jnp.zeros((2, 4)))
      >>> carry.shape  # (B, N), for the next batch
      (2, 4)
    """

    def loss(params: Any, batch: Any, carry: Any) -> tuple[jax.Array, Any]:
        tokens, classes, is_fresh = batch
        dtype = jax.tree.leaves(params)[0].dtype
        inputs = jax.nn.one_hot(tokens, num_tokens, dtype=dtype)
        cell: Any = model.cell
        initial = cell.initialize_carry(jax.random.key(0), inputs[:, 0].shape)

        def begin(first: Array, h: Array) -> Array:
            return jnp.where(is_fresh.reshape(-1, *[1] * (h.ndim - 1)), first.astype(h.dtype), h)

        carry = jax.tree.map(begin, initial, carry)
        variables = {"params": params}
        applied: Any = model.apply(variables, inputs, initial_carry=carry, return_carry=True)
        carry, logits = applied
        value, accuracy = _cross_entropy(logits, classes)
        return value, (accuracy, carry)

    return loss


def regression_loss(model: nn.Module) -> Loss:
    """Mean squared error of a model with one output, (B, 1), against targets (B,); accuracy NaN.

    Example:
      >>> model = SequenceModel(VanillaCell(4), num_outputs=1, last_only=True)
      >>> shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((2, 5, 2)))
      >>> params = jax.tree.map(jnp.zeros_like, shapes["params"])
      >>> batch = jax.tree.map(jnp.asarray, AddingTask(5).sample(np.random.default_rng(0), 2))
      >>> value, _ = training.regression_loss(model)(params, batch)
      >>> bool(jnp.isclose(value, jnp.mean(batch.targets**2)))
      True
    """

    def loss(params: Any, batch: Any) -> tuple[jax.Array, jax.Array]:
        inputs, targets = batch
        dtype = jax.tree.leaves(params)[0].dtype
        outputs: Any = model.apply({"params": params}, inputs.astype(dtype))
        return jnp.mean((outputs[..., 0] - targets) ** 2), jnp.asarray(jnp.nan)

    return loss


def make_train_step(
    loss: Loss, optimizer: optax.GradientTransformation, axis_name: str | None = None
) -> Callable[[TrainState, Any], tuple[TrainState, Measurements]]:
    """One step (state, batch) → (state, measurements), to be jitted, scanned or vmapped.

    The step measures loss, accuracy and gradient norm; see ``make_train_chunk`` for the rest.

    Args:
      loss: (params, batch) → (loss, accuracy), both means over the batch; of a state with a carry,
        (params, batch, carry) → (loss, (accuracy, carry)).
      optimizer: any Optax chain.
      axis_name: the mesh axis (of shard_map) whose devices each hold an equal part of the batch.

    Example:
      >>> def loss(w, batch):
      ...     x, y = batch
      ...     return jnp.mean((w * x - y) ** 2), jnp.nan
      >>> step = jax.jit(training.make_train_step(loss, optax.sgd(0.5)))
      >>> state = TrainState.create(jnp.array(0.0), optax.sgd(0.5))
      >>> state, measured = step(state, (jnp.array([1.0, -1.0]), jnp.array([2.0, -2.0])))
      >>> float(state.params), float(measured.loss)
      (2.0, 4.0)
    """
    grad = jax.value_and_grad(loss, has_aux=True)
    optimizer = optax.with_extra_args_support(optimizer)  # some want to know the loss

    def step(state: TrainState, batch: Any) -> tuple[TrainState, Measurements]:
        carry = state.carry
        if carry is None:
            measured = grad(state.params, batch)
        else:
            (value, (accuracy, carry)), grads = grad(state.params, batch, carry)
            measured = (value, accuracy), grads
        if axis_name is not None:
            # As one vector: devices wait for each other once, not once a leaf.
            flat, unflatten = ravel_pytree(measured)
            measured = unflatten(jax.lax.pmean(flat, axis_name))
        (value, accuracy), grads = measured
        grad_norm = optax.tree.norm(grads)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params, value=value)
        params = optax.apply_updates(state.params, updates)
        diverged = state.diverged | ~jnp.isfinite(value) | ~jnp.isfinite(grad_norm)
        stepped = TrainState(params, opt_state, state.step + 1, diverged, carry)
        kept = state.replace(diverged=diverged)
        new = jax.tree.map(lambda a, b: jnp.where(diverged, a, b), kept, stepped)
        return new, Measurements(value, accuracy, grad_norm, jnp.nan, jnp.nan)

    return step


def make_train_chunk(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    track_every: int = 1,
    devices: int | None = None,
) -> Callable[[TrainState, Any], tuple[TrainState, Measurements]]:
    """K steps (state, batches) → (state, measurements), the batches and results with a leading K.

    Jit it with the state donated, as in ``jax.jit(chunk, donate_argnums=0)``; vmap it for seeds.
    (On several CPU devices use ``jax.lax.map`` instead: vmap makes batched decompositions, which in
    jaxlib 0.10.2 can deadlock there.) The same number of devices gives the same numbers, bit for
    bit; another number differs by rounding.

    Args:
      loss: as in ``make_train_step``.
      optimizer: any Optax chain.
      track_every: k, spectral norm and orthogonality error at every k-th step, the chunk's last
        always among them.
      devices: how many of JAX's devices share each batch; they have to divide it, and every leaf
        of it has to be (K, B, ...). None: as many as there are and as leave each of them
        ``MIN_SEQUENCES_PER_DEVICE`` sequences or more, or one where leaves have other shapes. A
        state that was put on one device needs devices=1.

    Raises:
      ValueError: track_every < 1; at the first call, devices that there are not, or that cannot
        share the batch.

    Example:
      >>> model = SequenceModel(VanillaCell(4), num_outputs=9)
      >>> optimizer = optax.chain(optax.adam(1e-3), project_recurrent())
      >>> params = model.init(jax.random.key(0), jnp.zeros((2, 5, 9)))["params"]
      >>> loss = training.classification_loss(model, num_tokens=9)
      >>> chunk = training.make_train_chunk(loss, optimizer, track_every=2, devices=1)
      >>> batches = CopyTask(seq_len=2).sample(np.random.default_rng(0), 4, 2)  # K, B
      >>> state, measured = jax.jit(chunk)(TrainState.create(params, optimizer), batches)
      >>> int(state.step), measured.loss.shape
      (4, (4,))
      >>> print(measured.spectral_norm.round(3))
      [nan  1. nan  1.]
    """
    if track_every < 1:
        raise ValueError(f"track_every must be at least 1, got {track_every}")

    def untracked(params: Any) -> Any:
        shapes = jax.eval_shape(recurrent_diagnostics, params)
        return jax.tree.map(lambda leaf: jnp.full(leaf.shape, jnp.nan, leaf.dtype), shapes)

    def run(axis_name: str | None, state: TrainState, batches: Any) -> Any:
        step = make_train_step(loss, optimizer, axis_name)

        def tracked_step(state: TrainState, indexed: Any) -> tuple[TrainState, Measurements]:
            steps_left, batch = indexed
            state, measured = step(state, batch)
            # The step's place in the chunk is the same for all seeds, so the branch survives vmap.
            is_tracked = steps_left % track_every == 0
            norm, error = jax.lax.cond(is_tracked, recurrent_diagnostics, untracked, state.params)
            return state, measured._replace(spectral_norm=norm, orthogonality_error=error)

        num_steps = jax.tree.leaves(batches)[0].shape[0]
        return jax.lax.scan(tracked_step, state, (jnp.arange(num_steps)[::-1], batches))

    def chunk(state: TrainState, batches: Any) -> tuple[TrainState, Measurements]:
        mesh = batch_mesh(devices, _shared_batch_size(batches, devices))
        if mesh.size == 1:
            return run(None, state, batches)
        whole, shared = PartitionSpec(), PartitionSpec(None, "batch")
        return jax.shard_map(
            partial(run, "batch"),
            mesh=mesh,
            in_specs=(TrainState.specs(), shared),
            out_specs=(TrainState.specs(), whole),
            check_vma=False,  # leave each device its own gradient, for the step to average
        )(state, batches)

    return chunk


def _shared_batch_size(batches: Any, devices: int | None) -> int:
    """B of leaves (K, B, ...); 1 where a leaf has no such axis, and cannot be shared then."""
    sizes = {jnp.shape(leaf)[1:2] for leaf in jax.tree.leaves(batches)}
    if len(sizes) == 1 and () not in sizes:
        (size,) = sizes.pop()
        return size
    if devices is not None and devices > 1:
        shapes = ", ".join(str(jnp.shape(leaf)) for leaf in jax.tree.leaves(batches))
        raise ValueError(f"devices share batches of shape (K, B, ...) with one B, got {shapes}")
    return 1


def batch_mesh(devices: int | None, batch_size: int) -> Mesh:
    """The devices that share a batch when ``make_train_chunk`` is given ``devices``.

    A state put on all of them first saves the chunk a second compilation, for its own output:

        state = jax.device_put(state, NamedSharding(batch_mesh(None, B), PartitionSpec()))

    Example:
      >>> mesh = training.batch_mesh(devices=1, batch_size=32)
      >>> mesh.axis_names, mesh.size
      (('batch',), 1)
    """
    config: Any = jax.config
    pinned = config.jax_default_device  # by the user, to one device or a platform's first
    if isinstance(pinned, str):
        pinned = jax.devices(pinned)[0]
    available = 1 if pinned is not None else len(jax.devices())
    if devices is None:
        most = min(available, max(1, batch_size // MIN_SEQUENCES_PER_DEVICE))
        devices = max(n for n in range(1, most + 1) if batch_size % n == 0)
    if not 1 <= devices <= available:
        raise ValueError(f"devices must be from 1 to the {available} that JAX sees, got {devices}")
    if batch_size % devices:
        raise ValueError(f"devices must divide the batch of {batch_size}, got {devices}")
    chosen = jax.devices()[:devices] if pinned is None else [pinned]
    return jax.make_mesh((devices,), ("batch",), (AxisType.Auto,), devices=chosen)
