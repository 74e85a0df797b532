"""Training any Flax model by a jitted chunk of Optax steps.

    state, measured = chunk(state, batches)      # K steps in one lax.scan, the state donated

One compiled loop over many steps beats one call per step. Every step records the loss, the accuracy
and the gradient norm before any clipping; spectral norm and orthogonality error of the recurrent
kernels, which cost a singular value decomposition, come at every k-th step.

A step whose loss or gradient is not finite is not applied, and neither is any step after it.

Several devices share every batch of a ``BatchMean``: each takes the gradient of its part, and their
mean, one all-reduce a step (and one of a number, where the loss counts its terms), is that of the
whole batch. Everything else, the same on all of them, is repeated on each.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.flatten_util import ravel_pytree
from jax.sharding import PartitionSpec
from jaxtyping import Array

from jaxrnn.array_checks import as_array, check_key, check_optimizer
from jaxrnn.checks import check_function, check_whole, described
from jaxrnn.devices import batch_mesh as batch_mesh
from jaxrnn.devices import check_steps, shared_batch_size
from jaxrnn.diagnostics import not_measured, recurrent_diagnostics
from jaxrnn.losses import BatchMean as BatchMean
from jaxrnn.losses import Loss
from jaxrnn.losses import classification_loss as classification_loss
from jaxrnn.losses import regression_loss as regression_loss
from jaxrnn.losses import stream_loss as stream_loss
from jaxrnn.paths import Predicate, named_leaves


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
      key: from which each step's key for dropout is derived; None: nothing drops.

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
    key: Any = None

    @classmethod
    def create(
        cls,
        params: Any,
        optimizer: optax.GradientTransformation,
        carry: Any = None,
        key: jax.Array | None = None,
    ) -> "TrainState":
        """The state before the first step; all is copied, as a chunk donates its state."""
        check_optimizer("optimizer", optimizer)
        for name, tree in (("params", params), ("carry", carry)):
            for path, leaf in named_leaves(tree):
                if not isinstance(leaf, jax.Array):
                    as_array(f"{name}: {path}", leaf, (jnp.number, jnp.bool_), "numbers")
        if key is not None:
            check_key("key", key)
        # Two copies: some optimizers (DoG, Prodigy) keep the first parameters in their state.
        return cls(
            params=jax.tree.map(jnp.array, params),
            opt_state=optimizer.init(jax.tree.map(jnp.array, params)),
            step=jnp.zeros([], jnp.int32),
            diverged=jnp.zeros([], bool),
            carry=jax.tree.map(jnp.array, carry),
            key=jax.tree.map(jnp.array, key),
        )

    @classmethod
    def specs(cls, leading_axes: int = 0) -> "TrainState":
        """How devices hold a state: each a part of the carry, and a copy of everything else."""
        whole, part = PartitionSpec(), PartitionSpec(*[None] * leading_axes, "batch")
        return cls(whole, whole, whole, whole, part, whole)


class Measurements(NamedTuple):
    """What a step measured; with a leading axis K from a chunk.

    Loss, accuracy (NaN for regression) and the unclipped gradient norm are those before the update;
    spectral norm and orthogonality error are of W_hh after it, NaN at steps that were not tracked.
    Under ``jax_debug_nans`` it is −1 that stands for what was not measured.

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


def make_train_step(
    loss: Loss, optimizer: optax.GradientTransformation, axis_name: str | None = None
) -> Callable[[TrainState, Any], tuple[TrainState, Measurements]]:
    """One step (state, batch) → (state, measurements), to be jitted, scanned or vmapped.

    The step measures loss, accuracy and gradient norm; see ``make_train_chunk`` for the rest.

    Args:
      loss: see ``jaxrnn.losses``; of a state with a carry, one that takes it.
      optimizer: any Optax chain.
      axis_name: the mesh axis (of shard_map) whose devices each hold an equal part of the batch,
        with a loss that is a mean over it.

    Raises:
      ValueError: no function, no optimizer; at the first call, a loss with dropout and a state
        without a key.

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
    check_function("loss", loss)
    check_optimizer("optimizer", optimizer)
    grad = jax.value_and_grad(loss, has_aux=True)
    shared = loss if isinstance(loss, BatchMean) else BatchMean(loss)
    optimizer = optax.with_extra_args_support(optimizer)  # some want to know the loss

    def step(state: TrainState, batch: Any) -> tuple[TrainState, Measurements]:
        carry = state.carry
        options = {"key": _step_key(state, axis_name)} if shared.has_dropout else {}
        if carry is None:
            measured = grad(state.params, batch, **options)
        else:
            (value, (accuracy, carry)), grads = grad(state.params, batch, carry, **options)
            measured = (value, accuracy), grads
        if axis_name is not None:
            measured = _mean_over_devices(measured, batch, shared.count, axis_name)
        (value, accuracy), grads = measured
        grad_norm = optax.tree.norm(grads)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params, value=value)
        params = optax.apply_updates(state.params, updates)
        diverged = state.diverged | ~jnp.isfinite(value) | ~jnp.isfinite(grad_norm)
        stepped = TrainState(params, opt_state, state.step + 1, diverged, carry)
        kept = state.replace(diverged=diverged, key=None)
        new = jax.tree.map(lambda a, b: jnp.where(diverged, a, b), kept, stepped)
        absent = not_measured()
        return new.replace(key=state.key), Measurements(value, accuracy, grad_norm, absent, absent)

    return step


def _step_key(state: TrainState, axis_name: str | None) -> jax.Array:
    """The key of this step, and of this device."""
    if state.key is None:
        raise ValueError("a loss with dropout needs TrainState.create(..., key=jax.random.key(0))")
    key = jax.random.fold_in(state.key, state.step)
    return key if axis_name is None else jax.random.fold_in(key, jax.lax.axis_index(axis_name))


def _mean_over_devices(
    measured: Any, batch: Any, count: Callable[[Any], Array] | None, axis_name: str
) -> Any:
    """The mean of the whole batch, from those of its parts."""
    # As one vector: devices wait for each other once, not once a leaf.
    flat, unflatten = ravel_pytree(measured)
    if count is not None:
        n = count(batch).astype(flat.dtype)
        mean = jax.lax.pmean(n, axis_name)
        flat = flat * jnp.where(mean > 0, n / mean, 1)  # 1 in equal parts, which rounds nothing
    return unflatten(jax.lax.pmean(flat, axis_name))


def make_train_chunk(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    track_every: int = 1,
    devices: int | None = None,
    where: Predicate | str | None = None,
) -> Callable[[TrainState, Any], tuple[TrainState, Measurements]]:
    """K steps (state, batches) → (state, measurements), the batches and results with a leading K.

    Jit it with the state donated, as in ``jax.jit(chunk, donate_argnums=0)``; vmap it for seeds.
    The same number of devices gives the same numbers, bit for bit; another number
    differs by rounding.

    Args:
      loss: as in ``make_train_step``.
      optimizer: any Optax chain.
      track_every: k, spectral norm and orthogonality error at every k-th step, the chunk's last
        always among them.
      devices: how many of JAX's devices share each batch; they have to divide it, and every leaf
        of it has to be (K, B, ...). The loss has to be a mean over its batch then. None: of a
        ``BatchMean`` as many as there are and as leave each of them 8 sequences or more, or one
        where leaves have other shapes; of any other loss one, which gives the right gradient
        whatever it computes. A state that was put on one device needs devices=1.
      where: which leaves are the recurrent kernels that are tracked, as in ``project_recurrent``.

    Raises:
      ValueError: no function, no optimizer, track_every < 1; at the first call, a state that is
        none, batches without steps, devices that there are not, or that cannot
        share the batch; ``where`` that selects no square floating-point matrix.

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
    check_function("loss", loss)
    check_optimizer("optimizer", optimizer)
    check_whole("track_every", track_every)
    tracked = partial(recurrent_diagnostics, where=where)

    def untracked(params: Any) -> Any:
        shapes = jax.eval_shape(tracked, params)
        return jax.tree.map(lambda leaf: jnp.full(leaf.shape, not_measured(), leaf.dtype), shapes)

    def run(axis_name: str | None, state: TrainState, batches: Any) -> Any:
        step = make_train_step(loss, optimizer, axis_name)

        def tracked_step(state: TrainState, indexed: Any) -> tuple[TrainState, Measurements]:
            steps_left, batch = indexed
            state, measured = step(state, batch)
            # The step's place in the chunk is the same for all seeds, so the branch survives vmap.
            is_tracked = steps_left % track_every == 0
            norm, error = jax.lax.cond(is_tracked, tracked, untracked, state.params)
            return state, measured._replace(spectral_norm=norm, orthogonality_error=error)

        num_steps = jax.tree.leaves(batches)[0].shape[0]
        return jax.lax.scan(tracked_step, state, (jnp.arange(num_steps)[::-1], batches))

    def chunk(state: TrainState, batches: Any) -> tuple[TrainState, Measurements]:
        if not isinstance(state, TrainState):
            raise ValueError(f"state must be a TrainState, got {described(state)}")
        check_steps(batches)
        size = shared_batch_size(batches, devices)
        mesh = batch_mesh(devices, size if devices or isinstance(loss, BatchMean) else 1)
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
