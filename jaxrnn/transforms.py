"""``project_recurrent``: orthogonal recurrent matrices as one line of an Optax chain.

    u ← retract(p + u) − p          so that   p + u   is orthogonal after the update

BPTT multiplies by W_hh once per time step; its singular values are all one exactly when W_hh is
orthogonal, and gradients then neither explode nor vanish through it.
"""

from numbers import Integral
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxrnn.checks import check_not_negative, described
from jaxrnn.orthogonal import RETRACTIONS, Retraction
from jaxrnn.paths import Predicate, named_leaves
from jaxrnn.retraction import off_orthogonal
from jaxrnn.selection import Layout, Selection, on_matrices


class ProjectRecurrentState(NamedTuple):
    """How many updates the projection has seen; it acts when the count is a multiple of N."""

    count: jax.Array  # type: ignore[assignment]  # Optax's name, and tuple.count hides behind it


def project_recurrent(
    retraction: str | Retraction = "qr",
    every: int | jax.Array = 1,
    where: Predicate | str | None = None,
    layout: Layout = "in_out",
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
    retract = _resolve(retraction)
    _check_every(every)
    selection = Selection(where, layout, "project_recurrent")

    def init(matrices: Any) -> ProjectRecurrentState:
        return ProjectRecurrentState(count=jnp.zeros([], jnp.int32))

    def update(
        updates: list[jax.Array], state: ProjectRecurrentState, params: Any = None
    ) -> tuple[list[jax.Array], ProjectRecurrentState]:
        if not isinstance(state, ProjectRecurrentState):
            raise ValueError(f"state must be the one that init gives, got {described(state)}")

        def projected() -> list[jax.Array]:
            return [retract(W + u) - W for W, u in zip(params, updates, strict=True)]

        if not isinstance(every, jax.Array) and every == 1:
            updates = projected()
        else:
            updates = jax.lax.cond(state.count % every == 0, projected, lambda: updates)
        return updates, ProjectRecurrentState(optax.safe_increment(state.count))

    return on_matrices(optax.GradientTransformation(init, update), selection)


def retract_params(
    params: optax.Params,
    retraction: str | Retraction = "qr",
    where: Predicate | str | None = None,
    layout: Layout = "in_out",
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
    retract, selection = _resolve(retraction), Selection(where, layout, "retract_params")
    places = selection.places(params)
    return selection.put(params, places, [retract(W) for W in selection.take(params, places)])


def assert_orthogonal(
    params: optax.Params, tolerance: float = 1e-4, where: Predicate | str | None = None
) -> None:
    """An error unless the selected leaves are orthogonal, for a training step to be sure.

    What is wrong in a chain does not show: a projection before Adam instead of after it, an average
    of parameters behind it (``retract_params`` makes such an average orthogonal), a leaf that
    ``where`` did not select. Under jit the values are compared as the program runs, which takes a
    product of N × N matrices each and a call back to Python.

    Args:
      params: any pytree.
      tolerance: the largest ‖WᵀW − I‖_F / √N allowed; 1e-4 is far from rounding in float32.
      where: as in ``project_recurrent``.

    Raises:
      ValueError: a leaf that is not orthogonal; under jit JAX's own error, which ends with the same
        words. No leaf selected, or one that is not a square floating-point matrix.

    Example:
      >>> assert_orthogonal({"h": {"kernel": jnp.eye(3)}})
      >>> assert_orthogonal({"h": {"kernel": 1.1 * jnp.eye(3)}})
      Traceback (most recent call last):
          ...
      ValueError: h/kernel is not orthogonal: ‖WᵀW − I‖_F / √N is 0.21, above 0.0001
    """
    check_not_negative("tolerance", tolerance)
    tolerance = float(tolerance)
    selection = Selection(where, "out_in", "assert_orthogonal")
    places = selection.places(params)
    paths = [named_leaves(params)[place][0] for place in places]
    errors = [_distance(W) for W in selection.take(params, places)]

    def check(*errors: Any) -> None:
        for path, error in zip(paths, errors, strict=True):
            if not error <= tolerance:  # NaN too
                words = f"‖WᵀW − I‖_F / √N is {error:.2g}, above {tolerance:g}"
                raise ValueError(f"{path} is not orthogonal: {words}")

    if any(isinstance(error, jax.core.Tracer) for error in errors):
        jax.debug.callback(check, *errors)
    else:
        check(*errors)


def _distance(W: jax.Array) -> jax.Array:
    """‖WᵀW − I‖_F / √N, the largest of a batch."""
    return jnp.max(jnp.linalg.norm(off_orthogonal(W), axis=(-2, -1))) / W.shape[-1] ** 0.5


def _check_every(every: Any) -> None:
    if isinstance(every, jax.Array):
        if every.shape == () and jnp.issubdtype(every.dtype, jnp.integer):
            return
    elif isinstance(every, Integral) and not isinstance(every, bool) and 1 <= int(every) < 2**31:
        return
    raise ValueError(f"every must be a whole number from 1 to 2**31 - 1, got {described(every)}")


def _resolve(retraction: str | Retraction) -> Retraction:
    """The retraction of a name, or a function with a check of what it gives."""
    if not callable(retraction):
        if not isinstance(retraction, str) or retraction not in RETRACTIONS:
            raise ValueError(
                f"retraction must be one of {', '.join(RETRACTIONS)}, got {described(retraction)}"
            )
        return RETRACTIONS[retraction]

    def checked(W: jax.Array) -> jax.Array:
        Q = retraction(W)
        if jnp.shape(Q) != W.shape:
            raise ValueError(f"retraction must give the shape {W.shape}, got {described(Q)}")
        return Q

    return checked
