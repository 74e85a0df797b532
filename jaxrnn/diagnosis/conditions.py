"""From evidence to conditions: the rules, and the thresholds that they compare with.

    non_finite      NaN or Inf in inputs, parameters, states, outputs, loss or gradients
    vanishing       m_0 < vanishing: of a signal at the end next to nothing gets back to the start
    exploding       max m_t > exploding: on its way it grows out of any proportion
    saturated       more than a share of tanh's values lie beyond ±0.95
    dead_units      more than a share of units never change
    short_memory    exchanging the first half of the inputs moves the last outputs by next to
                    nothing, in proportion to what exchanging all does
    healthy         none of these

with m_t of jaxrnn/diagnosis/evidence.py. Vanishing and exploding are judged from end to end, by
what the given length asks for: half of a signal lost at every step is no harm in five, and fatal in
fifty. They are judged in each layer by itself; short_memory is the model's.

``short_memory`` says how the model is, not that this is wrong: where a loss asks for recent inputs
only, nothing else is to be expected. What vanishes has a short memory too. A network may have one
without vanishing, where what it keeps is not read.
"""

import math
from dataclasses import dataclass, fields
from typing import Any

from jaxrnn.diagnosis.evidence import Evidence, LayerEvidence
from jaxrnn.diagnosis.findings import Finding, finding
from jaxrnn.diagnosis.first_aid import BAD_DATA, TRUNCATED


@dataclass(frozen=True)
class Thresholds:
    """Where the rules draw their lines; all can be set.

    Chosen on the 91 networks of experiments/doctor_calibration_set.py, whose labels come from their
    construction or from whether they learn to recall their first input; in the gap between the
    healthy and the ill, as round numbers.

    Attributes:
      vanishing: least m_0. Healthy ones had 1.3e-4 or more (0.8 of an orthogonal matrix over 40
        steps, which still learns in 400 steps of Adam), vanishing ones 4.7e-5 or less (Flax's GRU
        as it comes over 30 steps, which does not).
      exploding: largest m_t. Healthy ones had 19 or less, exploding ones 1.9e5 or more; Adam with
        clipping is not much troubled by a thousandfold growth, hence the upper part of the gap.
      saturated: largest share of saturated values. Healthy ones had none, saturated ones 0.95 or
        more; between them lies chaos, with 0.48 to 0.66, which may be called either.
      dead_units: largest share of dead units. Half of them dead is no harm to an IRNN that learns;
        ill ones had 0.8 or more.
      short_memory: least s. Healthy ones had 0.01 or more, those of short memory rounding: 4e-8.

    Raises:
      ValueError: a threshold that is not a positive number.
    """

    vanishing: float = 1e-4
    exploding: float = 1e4
    saturated: float = 0.6
    dead_units: float = 0.65
    short_memory: float = 1e-3

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"thresholds must be positive and finite, got {one.name}={value}")


def find(evidence: Evidence, thresholds: Thresholds) -> tuple[Finding, ...]:
    """What is wrong, in the order of the module's table; empty: healthy."""
    findings = []
    if evidence.not_finite:
        special = BAD_DATA if evidence.not_finite.split()[0] in ("inputs", "targets") else None
        findings.append(finding("non_finite", None, special, place=evidence.not_finite))
    for path, layer in evidence.layers.items():
        findings += _in_layer(path, layer, thresholds)
    if evidence.early_share < thresholds.short_memory:
        findings.append(
            finding(
                "short_memory",
                None,
                early_share=evidence.early_share,
                steps=max(layer.steps for layer in evidence.layers.values()),
            )
        )
    return tuple(findings)


def _in_layer(path: str, layer: LayerEvidence, thresholds: Thresholds) -> list[Finding]:
    """NaN compares as False: what is not finite has its own name.

    Of states that are not finite nothing but their growth is to be told: ReLU's gradient at NaN is
    0, which is no vanishing.
    """
    findings = []
    memory = {
        "steps": layer.steps,
        "memory_left": layer.memory_left,
        "memory_largest": layer.memory_largest,
        "memory_rate": layer.memory_rate,
        "horizon": layer.horizon,
        **_norms(layer),
    }
    finite = layer.first_not_finite is None
    if finite and layer.memory_left < thresholds.vanishing:
        special = TRUNCATED if _is_cut(layer, thresholds) else None
        findings.append(finding("vanishing", path, special, **memory))
    # An Inf is not hidden behind a NaN that it leads to further back.
    if any(m > thresholds.exploding for m in layer.memory):
        findings.append(finding("exploding", path, **memory))
    if finite and layer.saturated > thresholds.saturated:
        findings.append(finding("saturated", path, share=layer.saturated, **_norms(layer)))
    if finite and layer.dead > thresholds.dead_units:
        findings.append(finding("dead_units", path, share=layer.dead, units=layer.units))
    return findings


def _is_cut(layer: LayerEvidence, thresholds: Thresholds) -> bool:
    """Whether truncation alone is to blame: there is enough of a signal, and then none at all."""
    left = [m for m in layer.memory if m > 0]
    return layer.cell.startswith("TruncatedCell(") and left[0] > thresholds.vanishing


def _norms(layer: LayerEvidence) -> dict[str, Any]:
    """Of the recurrent kernels; the largest, where gates have several."""
    kernels = layer.kernels.values()
    if not kernels:
        return {}
    return {
        "spectral_norm": max(W.spectral_norm for W in kernels),
        "spectral_radius": max(W.spectral_radius for W in kernels),
    }
