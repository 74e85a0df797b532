"""Optax transformations that see the selected matrices alone, as the equations write them."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import PartitionSpec

from jaxrnn.array_checks import as_square_matrices
from jaxrnn.checks import described
from jaxrnn.paths import Predicate, as_predicate, named_leaves, selected_matrices

Layout = Literal["in_out", "out_in"]


class Selection:
    """Which leaves of a tree are matrices W, and how they are stored.

    Args:
      where: as in ``project_recurrent``.
      layout: "in_out" for leaves that are Wᵀ, "out_in" for those that are W.
      caller: whose arguments these are, for errors.

    Raises:
      ValueError: a ``where`` or a layout that is none.
    """

    def __init__(self, where: Predicate | str | None, layout: Layout, caller: str) -> None:
        if not isinstance(layout, str) or layout not in ("in_out", "out_in"):
            raise ValueError(f"layout must be 'in_out' or 'out_in', got {described(layout)}")
        self.where, self.layout, self.caller = as_predicate(where), layout, caller

    def places(self, params: Any) -> list[int]:
        """Places among ``jax.tree.leaves`` of the matrices; ValueError as for project_recurrent."""
        return selected_matrices(params, self.where, self.caller)

    def take(self, tree: Any, places: Sequence[int]) -> list[jax.Array]:
        """Matrices as the equations write them, in float32 or wider."""
        leaves = jax.tree.leaves(tree)
        return [self._turned(_whole(_wide(leaves[place]))) for place in places]

    def put(self, tree: Any, places: Sequence[int], matrices: Sequence[jax.Array]) -> Any:
        """The tree with the matrices in these places, of the dtype of what they replace."""
        leaves, treedef = jax.tree.flatten(tree)
        for place, W in zip(places, matrices, strict=True):
            leaves[place] = _like(jnp.asarray(leaves[place]), self._turned(W))
        return jax.tree.unflatten(treedef, leaves)

    def check(self, updates: Any, params: Any) -> None:
        """ValueError unless there are params, of the structure of the updates."""
        check_updates(updates, params, self.caller)

    def _turned(self, W: jax.Array) -> jax.Array:
        return W.mT if self.layout == "in_out" else W


def on_matrices(
    inner: optax.GradientTransformation, selection: Selection
) -> optax.GradientTransformationExtraArgs:
    """``inner`` on the list of selected matrices; every other leaf passes as it is."""
    inner = optax.with_extra_args_support(inner)

    def init(params: Any) -> Any:
        return inner.init(selection.take(params, selection.places(params)))

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        selection.check(updates, params)
        places = selection.places(params)
        given = [selection.take(tree, places) for tree in (updates, params)]
        moves, state = inner.update(given[0], state, given[1], **extra)
        return selection.put(updates, places, moves), state

    return optax.GradientTransformationExtraArgs(init, update)


def of_matrices(
    init: Callable[[Any], Any], update: Callable[..., tuple[Any, Any]], caller: str
) -> optax.GradientTransformationExtraArgs:
    """A transformation of trees of square matrices, with a check of what it is given."""

    def check_matrices(tree: Any) -> None:
        for path, leaf in named_leaves(tree):
            as_square_matrices(f"{caller}: params {path}".rstrip(), leaf)

    def checked_init(params: Any) -> Any:
        check_matrices(params)
        for path, leaf in named_leaves(params):
            check_near_group(path or "params", _wide(leaf), caller)
        return init(params)

    def checked_update(updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        check_updates(updates, params, caller)
        check_matrices(params)
        return update(updates, state, params, **extra)

    return optax.GradientTransformationExtraArgs(checked_init, checked_update)


def check_near_group(path: str, W: jax.Array, caller: str) -> None:
    """ValueError unless W is near the orthogonal group, where its values are known: not under jit.

    Half is how far ‖WᵀW − I‖_F may be for the steps here, which keep W orthogonal, to make it so.
    """
    if isinstance(W, jax.core.Tracer):
        return
    known = np.asarray(W)  # in JAX even what is done to a constant would be traced
    off = np.swapaxes(known, -1, -2) @ known - np.eye(known.shape[-1], dtype=known.dtype)
    distance = np.max(np.linalg.norm(off, axis=(-2, -1)), initial=0.0)
    if distance > 0.5:
        raise ValueError(
            f"{caller} starts from orthogonal matrices, such as retract_params makes: of {path} "
            f"‖WᵀW − I‖_F is {distance:.2g}"
        )


def _wide(leaf: Any) -> jax.Array:
    array = jnp.asarray(leaf)
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def _whole(W: jax.Array) -> jax.Array:
    """W with no matrix spread over devices: under explicit sharding JAX decomposes none that is."""
    sharding = jax.typeof(W).sharding
    *batch, rows, columns = sharding.spec
    if rows is None and columns is None:
        return W
    return jax.sharding.reshard(W, sharding.update(spec=PartitionSpec(*batch, None, None)))


def _like(old: jax.Array, new: jax.Array) -> jax.Array:
    """The new array in the dtype of the old one and, under explicit sharding, spread as it is."""
    sharding = jax.typeof(old).sharding
    new = new.astype(old.dtype)
    return new if jax.typeof(new).sharding == sharding else jax.sharding.reshard(new, sharding)


def check_updates(updates: Any, params: Any, caller: str) -> None:
    """ValueError unless there are params, that names the first leaf in which updates differ."""
    if params is None:
        raise ValueError(f"{caller} needs params: call update(updates, state, params)")
    new_tree: Any
    old_tree: Any
    new_leaves, new_tree = jax.tree.flatten(updates)
    old_leaves, old_tree = jax.tree.flatten(params)
    if new_tree == old_tree and [*map(jnp.shape, new_leaves)] == [*map(jnp.shape, old_leaves)]:
        return
    new, old = dict(named_leaves(updates)), dict(named_leaves(params))
    for path in (*old, *new):
        shapes = [jnp.shape(tree[path]) if path in tree else "none" for tree in (new, old)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"{caller} needs updates and params of the same structure: "
                f"{path} has shape {shapes[0]} in updates and {shapes[1]} in params"
            )
    raise ValueError(
        f"{caller} needs updates and params of the same structure, got {new_tree} and {old_tree}"
    )
