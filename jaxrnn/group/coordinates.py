"""Parts of an Optax chain that move recurrent matrices along the orthogonal group.

    to_tangent            g ← G − W sym(WᵀG)        what of the gradient is along the group
    to_skew               a ← skew(WᵀG)             the gradient in the coordinates A of W exp(A)
    orthogonalize_skew    a ← polar(m), m ← β m + a, a turn by one angle in every plane
    from_skew             u ← W exp(a) − W          from coordinates back to the matrix

Between ``to_skew`` and ``from_skew`` any optimizer works on coordinates, which are a vector space
that is the same wherever W is: moments do not have to be carried from one point to another.

    optax.chain(to_skew(), optax.adam(1e-3), from_skew())

Every leaf that is not selected passes through as it is. W has to be orthogonal at first, which
``retract_params`` makes it.
"""

from typing import Any

import jax
import optax

from jaxrnn.checks import check_one_of, check_real
from jaxrnn.group import maps
from jaxrnn.paths import Predicate
from jaxrnn.selection import Layout, Selection, on_matrices

__all__ = ["from_skew", "orthogonalize_skew", "to_skew", "to_tangent"]


def to_tangent(
    where: Predicate | str | None = None, layout: Layout = "in_out"
) -> optax.GradientTransformation:
    """g ← G − W sym(WᵀG), the nearest tangent vector of the group at W.

    Before an optimizer, its moments are those of tangent vectors; after it, its step is tangent.
    ``project_recurrent`` has to end the chain. Arguments and errors are those of
    ``project_recurrent``.

    Example:
      >>> params, gradients = {"h": {"kernel": jnp.eye(2)}}, {"h": {"kernel": jnp.ones((2, 2))}}
      >>> tangent = group.to_tangent()
      >>> updates, _ = tangent.update(gradients, tangent.init(params), params)
      >>> print(updates["h"]["kernel"])  # a symmetric gradient at I leads nowhere
      [[0. 0.]
       [0. 0.]]
    """
    return _of_each(maps.tangent, where, layout, "to_tangent")


def to_skew(
    where: Predicate | str | None = None, layout: Layout = "in_out"
) -> optax.GradientTransformation:
    """a ← skew(WᵀG), the gradient in the coordinates A of W exp(A), at A = 0.

    ``from_skew`` has to end the chain. Arguments and errors are those of ``project_recurrent``.

    Example:
      >>> params = {"h": {"kernel": jnp.eye(2)}}
      >>> gradients = {"h": {"kernel": jnp.array([[1.0, 4.0], [0.0, 1.0]])}}
      >>> skew = group.to_skew()
      >>> print(skew.update(gradients, skew.init(params), params)[0]["h"]["kernel"])
      [[ 0.  2.]
       [-2.  0.]]
    """
    return _of_each(lambda W, G: maps.skew(maps.product(W.mT, G)), where, layout, "to_skew")


def from_skew(
    way: str = "second_order",
    where: Predicate | str | None = None,
    layout: Layout = "in_out",
) -> optax.GradientTransformation:
    """u ← W exp(a) − W of the skew part of a, the end of a chain that ``to_skew`` begins.

    Args:
      way: "second_order", matrix products alone; "exponential"; or "cayley", all of which agree up
        to the third power of the angle. A Newton–Schulz step follows each.
      where: as in ``project_recurrent``, and in ``to_skew``.
      layout: as in ``project_recurrent``, and in ``to_skew``.

    Raises:
      ValueError: an unknown ``way``; else as ``project_recurrent``.

    Example:
      >>> params = {"h": {"kernel": jnp.eye(2)}}
      >>> step = {"h": {"kernel": jnp.array([[0.0, 0.1], [-0.1, 0.0]])}}  # in radians
      >>> back = group.from_skew()
      >>> updates, _ = back.update(step, back.init(params), params)
      >>> turned = optax.apply_updates(params, updates)["h"]["kernel"][0]
      >>> print(f"{turned[0]:.3f} {turned[1]:.3f}, {np.cos(0.1):.3f} {np.sin(0.1):.3f}")
      0.995 0.100, 0.995 0.100
    """
    check_one_of("way", way, maps.MAPS)

    return _of_each(lambda W, a: maps.rotate(W, a, way) - W, where, layout, "from_skew")


def orthogonalize_skew(
    momentum: float = 0.9, where: Predicate | str | None = None, layout: Layout = "in_out"
) -> optax.GradientTransformation:
    """a ← polar(m) with m ← β m + a: between ``to_skew`` and a learning rate, in radians.

    The polar factor of a skew matrix is skew and orthogonal, so that every plane turns by the same
    angle: Muon (Jordan et al. 2024) on the group, msign(skew(WᵀG)) in closed form.

    Args:
      momentum: β, from 0 to less than 1.
      where: as in ``project_recurrent``, and in ``to_skew``.
      layout: as in ``project_recurrent``, and in ``to_skew``.

    Raises:
      ValueError: a momentum outside [0, 1); else as ``project_recurrent``.

    Example:
      >>> params = {"h": {"kernel": jnp.eye(2)}}
      >>> gradients = {"h": {"kernel": jnp.array([[0.0, 1e-3], [-1e-3, 0.0]])}}
      >>> turn = group.orthogonalize_skew()
      >>> updates, _ = turn.update(gradients, turn.init(params), params)
      >>> bool(jnp.abs(updates["h"]["kernel"][0, 1] - 1) < 0.3)  # whatever the gradient's size
      True
    """
    return on_matrices(orthogonalized(momentum), Selection(where, layout, "orthogonalize_skew"))


def orthogonalized(momentum: float) -> optax.GradientTransformation:
    """``orthogonalize_skew`` of a tree of skew matrices."""
    check_real("momentum", momentum, "in [0, 1)", lambda beta: 0 <= beta < 1)
    polar = optax.stateless(lambda updates, params: jax.tree.map(maps.polar_of_skew, updates))
    return optax.chain(optax.trace(momentum), polar)


def _of_each(move: Any, where: Any, layout: Layout, caller: str) -> optax.GradientTransformation:
    """A function (W, u) → u of each selected matrix."""

    def update(updates: Any, params: Any) -> Any:
        return jax.tree.map(move, params, updates)

    return on_matrices(optax.stateless(update), Selection(where, layout, caller))
