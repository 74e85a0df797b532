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

    Inside of it any optimizer will do: momentum, averages, schedules, clipping, L-BFGS with its
    search along a line. What stands around it must not change an update afterwards, but for leaving
    some of them out; and an average of parameters (lookahead, schedule_free, ema) is orthogonal
    only after ``retract_params``. ``assert_orthogonal`` tells.

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
        here = _Coordinates(params, selection)
        here.check()
        return optimizer.init(here.origin)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        selection.check(updates, params)
        here = _Coordinates(params, selection)
        if "grad" in extra:  # of searches along a line, as optax.lbfgs makes
            extra["grad"] = here.gradients(extra["grad"])
        if "value_fn" in extra:
            value_fn = extra["value_fn"]
            extra["value_fn"] = lambda at, **more: value_fn(here.parameters(at), **more)
        steps, state = optimizer.update(here.gradients(updates), state, here.origin, **extra)
        return here.moves(steps), state

    return optax.GradientTransformationExtraArgs(init, update)


class _Coordinates:
    """Those of W exp(A) around the matrices of some parameters; all other leaves are their own."""

    def __init__(self, params: Any, selection: Selection) -> None:
        self.params, self.selection = params, selection
        self.places = selection.places(params)
        self.matrices = selection.take(params, self.places)

    def check(self) -> None:
        """ValueError where a matrix is far from the group."""
        leaves = named_leaves(self.params)
        for place, W in zip(self.places, self.matrices, strict=True):
            check_near_group(leaves[place][0], W, self.selection.caller)

    @property
    def origin(self) -> Any:
        """A = 0, where the matrices are."""
        return self._put(self.params, jnp.zeros_like, self.matrices)

    def gradients(self, gradients: Any) -> Any:
        """By A, of those by W."""
        G = self.selection.take(gradients, self.places)
        return self._put(gradients, lambda W, G: maps.skew(maps.product(W.mT, G)), self.matrices, G)

    def moves(self, steps: Any) -> Any:
        """Of W, those of A."""
        u = self.selection.take(steps, self.places)
        return self._put(steps, lambda W, u: maps.rotate(W, u) - W, self.matrices, u)

    def parameters(self, at: Any) -> Any:
        """At A, by the exponential: unlike the step's own way it has a derivative."""
        A = self.selection.take(at, self.places)
        return self._put(at, lambda W, A: maps.rotate(W, A, "exponential"), self.matrices, A)

    def _put(self, tree: Any, function: Any, *matrices: Any) -> Any:
        found = [function(*each) for each in zip(*matrices, strict=True)]
        return self.selection.put(tree, self.places, found)


def _is_other(params: Any, selection: Selection) -> Any:
    """A tree of whether each leaf is none of the matrices."""
    leaves, treedef = jax.tree.flatten(params)
    chosen = set(selection.places(params))
    return jax.tree.unflatten(treedef, [i not in chosen for i in range(len(leaves))])
