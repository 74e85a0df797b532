"""Evidence made by hand."""

import dataclasses
import math

from jaxrnn.diagnosis.measure_network import Evidence, Kernel, LayerEvidence

HEALTHY_LAYER = LayerEvidence(
    cell="VanillaCell",
    activation="tanh",
    steps=4,
    units=3,
    memory=(0.5, 0.6, 0.7, 0.8, 1.0),
    gradient=(0.1, 0.2, 0.3, 0.2, 0.4),
    memory_rate=0.84,
    horizon=4,
    saturated=0.05,
    dead=0.0,
    first_not_finite=None,
    kernels={"cell/h/kernel": Kernel(0.9, (1.1, 1.0, 0.8))},
)


def evidence(
    early_share=0.4,
    not_finite=None,
    upper=None,
    loss=1.25,
    gradient_norm=0.5,
    is_fresh=False,
    **layer,
) -> Evidence:
    """Of a healthy layer, changed in some numbers, and one above it."""
    layers = {"cell": dataclasses.replace(HEALTHY_LAYER, **layer)}
    if upper is not None:
        layers["upper"] = dataclasses.replace(HEALTHY_LAYER, **upper)
    return Evidence(loss, gradient_norm, early_share, not_finite, is_fresh, layers)


NAN = math.nan
