"""``keep_orthogonal``: any Optax optimizer, with recurrent matrices that move along the group."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxrnn.array_checks import check_optimizer
from jaxrnn.group import maps
from jaxrnn.paths import Predicate, named_leaves
from jaxrnn.selection import Layout, Selection, check_near_group, on_matrices


def keep_orthogonal(
    optimizer: optax.GradientTransformation,
    method: optax.GradientTransformation | None = None,
    where: Predicate | str | None = None,
    layout: Layout = "in_out",
) -> optax.GradientTransformationExtraArgs:
    """Any optimizer, with the selected leaves moving on the orthogonal group.

        W ← W exp(u)          u the optimizer's step for a = skew(WᵀG)

    All other leaves move as before. For the selected ones the optimizer sees the coordinates A of
    W exp(A) instead: their gradient a, and A = 0 as where they are. So its moments stay in one
    vector space wherever W goes, and weight decay does nothing to W. An update keeps W orthogonal
    to rounding, for any number of steps; W has to be so at first, as the cells here begin and as
    ``retract_params`` makes any.

    Args:
      optimizer: any Optax chain, with its learning rate. Of A that rate is in radians.
      method: another optimizer for the matrices, of jaxrnn.group: ``on_group(optax.adam(1e-3))``
        for another rate, ``stiefel_adam``, ``group_muon``, ``pogo``, ``landing``, ``exprnn``.
      where: as in ``project_recurrent``.
      layout: as in ``project_recurrent``.

    Raises:
      ValueError: no optimizer; at init, outside of jit, matrices far from orthogonal ones; else as
        ``project_recurrent``.

    Example:
      >>> optimizer = keep_orthogonal(optax.adam(1e-3))
      >>> params = {"h": {"kernel": jnp.eye(3)}, "bias": jnp.zeros(3)}
      >>> gradients = {"h": {"kernel": jnp.arange(9.0).reshape(3, 3)}, "bias": jnp.ones(3)}
      >>> updates, state = optimizer.update(gradients, optimizer.init(params), params)
      >>> params = optax.apply_updates(params, updates)
      >>> bool(diagnostics.orthogonality_error(params["h"]["kernel"].T) < 1e-6)
      True
      >>> print(params["bias"].round(4))
      [-0.001 -0.001 -0.001]
    """
    check_optimizer("optimizer", optimizer)
    selection = Selection(where, layout, "keep_orthogonal")
    if method is not None:
        check_optimizer("method", method)
        others = optax.masked(optimizer, lambda params: _is_other(params, selection))
        return optax.chain(others, on_matrices(method, selection))
    optimizer = optax.with_extra_args_support(optimizer)

    def init(params: Any) -> Any:
        places, paths = selection.places(params), named_leaves(params)
        for place, W in zip(places, selection.take(params, places), strict=True):
            check_near_group(paths[place][0], W, "keep_orthogonal")
        return optimizer.init(_at_origin(params, selection))

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        selection.check(updates, params)
        places = selection.places(params)
        W, G = selection.take(params, places), selection.take(updates, places)
        a = [maps.skew(maps.product(W.mT, G)) for W, G in zip(W, G, strict=True)]
        steps, state = optimizer.update(
            selection.put(updates, places, a), state, _at_origin(params, selection), **extra
        )
        u = selection.take(steps, places)
        moves = [maps.rotate(W, u) - W for W, u in zip(W, u, strict=True)]
        return selection.put(steps, places, moves), state

    return optax.GradientTransformationExtraArgs(init, update)


def _at_origin(params: Any, selection: Selection) -> Any:
    """The parameters with A = 0 in place of the matrices."""
    leaves, treedef = jax.tree.flatten(params)
    for place in selection.places(params):
        leaves[place] = jnp.zeros_like(leaves[place])
    return jax.tree.unflatten(treedef, leaves)


def _is_other(params: Any, selection: Selection) -> Any:
    """A tree of whether each leaf is none of the matrices."""
    leaves, treedef = jax.tree.flatten(params)
    chosen = set(selection.places(params))
    return jax.tree.unflatten(treedef, [i not in chosen for i in range(len(leaves))])
