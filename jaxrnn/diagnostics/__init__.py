"""Measurements of how well a recurrent network works; what is wrong is for ``diagnosis``.

``matrices``: its recurrent kernels alone. ``observation``: a backward pass that keeps the gradient
by every state, with ``probe`` and ``observed_bptt`` inside; ``profiles``: numbers that sum it up.
``jacobians``: how the recurrence stretches what it carries, whatever the loss.
"""

from jaxrnn.diagnostics.jacobians import jacobian_singular_values, lyapunov_spectrum
from jaxrnn.diagnostics.matrices import (
    not_measured,
    orthogonality_error,
    recurrent_diagnostics,
    spectral_norm,
    spectral_radius,
)
from jaxrnn.diagnostics.observation import Observation, observe, observe_memory
from jaxrnn.diagnostics.probe import LayerObservation
from jaxrnn.diagnostics.profiles import (
    Horizon,
    dead_share,
    decay_rate,
    gradient_norms,
    gradient_profile,
    layer_saturation,
    saturated_share,
    update_ratios,
    usable_horizon,
    valid_steps,
)

__all__ = [
    "Horizon",
    "LayerObservation",
    "Observation",
    "dead_share",
    "decay_rate",
    "gradient_norms",
    "gradient_profile",
    "jacobian_singular_values",
    "layer_saturation",
    "lyapunov_spectrum",
    "not_measured",
    "observe",
    "observe_memory",
    "orthogonality_error",
    "recurrent_diagnostics",
    "saturated_share",
    "spectral_norm",
    "spectral_radius",
    "update_ratios",
    "usable_horizon",
    "valid_steps",
]
