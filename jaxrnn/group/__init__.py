"""Optimisation on the orthogonal group: matrices that stay orthogonal while they are trained.

    optimizer = jaxrnn.keep_orthogonal(optax.adam(1e-3))

``maps`` has the geometry, ``coordinates`` the parts of a chain, ``methods`` and ``trivialization``
whole optimizers of matrices, ``keep`` the wrapper that gives them those of a model.
"""

from jaxrnn.group.coordinates import from_skew, orthogonalize_skew, to_skew, to_tangent
from jaxrnn.group.keep import keep_orthogonal
from jaxrnn.group.methods import (
    group_muon,
    landing,
    matrix_adam,
    on_group,
    pogo,
    stiefel_adam,
)
from jaxrnn.group.trivialization import exprnn

__all__ = [
    "exprnn",
    "from_skew",
    "group_muon",
    "keep_orthogonal",
    "landing",
    "matrix_adam",
    "on_group",
    "orthogonalize_skew",
    "pogo",
    "stiefel_adam",
    "to_skew",
    "to_tangent",
]
