"""``project_recurrent``: orthogonal recurrent matrices as one line of an Optax chain.

    u ← retract(p + u) − p          so that   p + u   is orthogonal after the update

BPTT multiplies by W_hh once per time step; its singular values are all one exactly when W_hh is
orthogonal, and gradients then neither explode nor vanish through it.
"""

from numbers import Integral
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import PartitionSpec

from jaxrnn.checks import described
from jaxrnn.orthogonal import RETRACTIONS, Retraction
from jaxrnn.paths import Predicate, as_predicate, named_leaves, selected_matrices


class ProjectRecurrentState(NamedTuple):
    """How many updates the projection has seen; it acts when the count is a multiple of N."""

    count: jax.Array  # type: ignore[assignment]  # Optax's name, and tuple.count hides behind it


def project_recurrent(
    retraction: str | Retraction = "qr",
    every: int | jax.Array = 1,
    where: Predicate | str | None = None,
    layout: Literal["in_out", "out_in"] = "in_out",
) -> optax.GradientTransformation:
    """Keep recurrent kernels orthogonal: u ← retract(p + u) − p for the selected leaves.

    In a chain, this should be last: whatever follows would move the matrix off again. After the
    update W_hh is orthogonal to the rounding of p + u, which has p's size: to machine precision
    from the second projection on, but off by 1e-3 after a first one from float32 entries of 1e4.
    ``retract_params`` starts from an orthogonal matrix instead.

    Works on any pytree, under jit, vmap, lax.scan and sharding; leading dimensions of a leaf are a
    batch of matrices. bfloat16 and float16 leaves are retracted in float32. Under vmap over the
    optimizer state, ``every`` still skips projections but no longer saves their cost.

    Args:
      retraction: a name in ``jaxrnn.orthogonal.RETRACTIONS``, or a function of W_hh
        (..., N, N), as the equation writes it. The default is sign-corrected QR.
      every: project at the first and then at each N-th update. Under ``optax.inject_hyperparams``
        it is an array, whose value is not checked.
      where: a predicate ``(path, leaf) -> bool``, with path the leaf's names joined by "/", or a
        regular expression searched in that path. Default: the square recurrent kernels of this
        library's and of Flax's cells.
      layout: "in_out" for kernels stored as Flax does, W_hhᵀ; "out_in" for leaves stored as W_hh.
        QR of a matrix is not the transpose of QR of its transpose, so it matters.

    Raises:
      ValueError: an unknown retraction or layout; ``every`` that is no whole number from 1 to
        2³¹ − 1; at init or update, no leaf selected, or a selected leaf that is not a square
        floating-point matrix; no params given, or updates of another structure or shape; a
        retraction that gives another shape.

    Example:
      >>> optimizer = optax.chain(optax.adam(1e-3), project_recurrent())
      >>> params = {"h": {"kernel": jnp.eye(3)}}
      >>> gradients = {"h": {"kernel": jnp.arange(9.0).reshape(3, 3)}}
      >>> updates, state = optimizer.update(gradients, optimizer.init(params), params)
      >>> W_hh = optax.apply_updates(params, updates)["h"]["kernel"].T
      >>> bool(diagnostics.orthogonality_error(W_hh) < 1e-6)
      True
    """
    retract = _of_kernels(retraction, layout)
    _check_every(every)
    selects = as_predicate(where)

    def project(param: jax.Array, update: jax.Array) -> jax.Array:
        Q = retract(param + update)
        return (Q - param.astype(Q.dtype)).astype(update.dtype)

    def init(params: optax.Params) -> ProjectRecurrentState:
        selected_matrices(params, selects, "project_recurrent")
        return ProjectRecurrentState(count=jnp.zeros([], jnp.int32))

    def update(
        updates: optax.Updates, state: ProjectRecurrentState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, ProjectRecurrentState]:
        if params is None:
            raise ValueError("project_recurrent needs params: call update(updates, state, params)")
        if not isinstance(state, ProjectRecurrentState):
            raise ValueError(f"state must be the one that init gives, got {described(state)}")
        chosen = selected_matrices(params, selects, "project_recurrent")
        old = jax.tree.leaves(params)
        new, treedef = jax.tree.flatten(updates)
        _check_same_structure(updates, params)
        moves = [new[i] for i in chosen]

        def projected() -> list[jax.Array]:
            return [project(old[i], new[i]) for i in chosen]

        if not isinstance(every, jax.Array) and every == 1:
            moves = projected()
        else:
            moves = jax.lax.cond(state.count % every == 0, projected, lambda: moves)
        for i, move in zip(chosen, moves, strict=True):
            new[i] = move
        count = optax.safe_increment(state.count)
        return jax.tree.unflatten(treedef, new), ProjectRecurrentState(count)

    return optax.GradientTransformation(init, update)


def retract_params(
    params: optax.Params,
    retraction: str | Retraction = "qr",
    where: Predicate | str | None = None,
    layout: Literal["in_out", "out_in"] = "in_out",
) -> optax.Params:
    """The parameters with their recurrent kernels retracted: an orthogonal start for training.

    Exact to rounding whatever the size of the entries. Arguments and errors are those of
    ``project_recurrent``.

    Example:
      >>> params = {"h": {"kernel": 1e6 * jnp.array([[1.0, 2.0], [3.0, 4.0]])}}
      >>> W_hh = retract_params(params)["h"]["kernel"].T
      >>> bool(diagnostics.orthogonality_error(W_hh) < 1e-6)
      True
    """
    retract = _of_kernels(retraction, layout)
    leaves, treedef = jax.tree.flatten(params)
    for i in selected_matrices(params, where, "retract_params"):
        leaves[i] = retract(leaves[i]).astype(leaves[i].dtype)
    return jax.tree.unflatten(treedef, leaves)


def _of_kernels(retraction: str | Retraction, layout: str) -> Retraction:
    """The retraction of kernels as they are stored, in float32 or wider."""
    retract = _resolve(retraction)
    if not isinstance(layout, str) or layout not in ("in_out", "out_in"):
        raise ValueError(f"layout must be 'in_out' or 'out_in', got {described(layout)}")

    def of_kernel(kernel: jax.Array) -> jax.Array:
        W = _whole(kernel.astype(jnp.promote_types(kernel.dtype, jnp.float32)))
        W = W.mT if layout == "in_out" else W
        Q = retract(W)
        if jnp.shape(Q) != W.shape:
            raise ValueError(f"retraction must give the shape {W.shape}, got {described(Q)}")
        return Q.mT if layout == "in_out" else Q

    return of_kernel


def _check_every(every: Any) -> None:
    if isinstance(every, jax.Array):
        if every.shape == () and jnp.issubdtype(every.dtype, jnp.integer):
            return
    elif isinstance(every, Integral) and not isinstance(every, bool) and 1 <= int(every) < 2**31:
        return
    raise ValueError(f"every must be a whole number from 1 to 2**31 - 1, got {described(every)}")


def _check_same_structure(updates: Any, params: Any) -> None:
    """ValueError that names the first leaf in which they differ."""
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
                "project_recurrent needs updates and params of the same structure: "
                f"{path} has shape {shapes[0]} in updates and {shapes[1]} in params"
            )
    raise ValueError(
        f"project_recurrent needs updates and params of the same structure, got {new_tree} and "
        f"{old_tree}"
    )


def _resolve(retraction: str | Retraction) -> Retraction:
    if callable(retraction):
        return retraction
    if not isinstance(retraction, str) or retraction not in RETRACTIONS:
        raise ValueError(
            f"retraction must be one of {', '.join(RETRACTIONS)}, got {described(retraction)}"
        )
    return RETRACTIONS[retraction]


def _whole(W: jax.Array) -> jax.Array:
    """W with no matrix spread over devices: under explicit sharding JAX decomposes none that is."""
    sharding = jax.typeof(W).sharding
    *batch, rows, columns = sharding.spec
    if rows is None and columns is None:
        return W
    return jax.sharding.reshard(W, sharding.update(spec=PartitionSpec(*batch, None, None)))
