"""Which of JAX's devices share a batch."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh

from jaxrnn.checks import check_whole

# Fewer sequences on a device are not worth an all-reduce. Measured on two CPU cores with N = 100.
MIN_SEQUENCES_PER_DEVICE = 8


def batch_mesh(devices: int | None, batch_size: int) -> Mesh:
    """The devices that share a batch when ``make_train_chunk`` is given ``devices``.

    A state put on all of them first saves the chunk a second compilation, for its own output:

        state = jax.device_put(state, NamedSharding(batch_mesh(None, B), PartitionSpec()))

    Example:
      >>> mesh = training.batch_mesh(devices=1, batch_size=32)
      >>> mesh.axis_names, mesh.size
      (('batch',), 1)
    """
    check_whole("batch_size", batch_size)
    if devices is not None:
        check_whole("devices", devices, least=0)
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


def check_steps(batches: Any) -> None:
    """ValueError unless all leaves have the same K steps along their first axis, one or more."""
    counts = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(batches)}
    if len(counts) != 1 or not all(count and count[0] for count in counts):
        shapes = ", ".join(str(jnp.shape(leaf)) for leaf in jax.tree.leaves(batches)) or "no arrays"
        raise ValueError(f"batches must be arrays (K, ...) of K ≥ 1 steps, got {shapes}")


def shared_batch_size(batches: Any, devices: int | None) -> int:
    """B of leaves (K, B, ...); 1 where a leaf has no such axis, and cannot be shared then."""
    sizes = {jnp.shape(leaf)[1:2] for leaf in jax.tree.leaves(batches)}
    if len(sizes) == 1 and () not in sizes:
        (size,) = sizes.pop()
        return size
    if devices is not None and devices > 1:
        shapes = ", ".join(str(jnp.shape(leaf)) for leaf in jax.tree.leaves(batches))
        raise ValueError(f"devices share batches of shape (K, B, ...) with one B, got {shapes}")
    return 1
