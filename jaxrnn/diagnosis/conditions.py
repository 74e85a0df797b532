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

from jaxrnn.diagnosis.evidence import Evidence, LayerEvidence
from jaxrnn.diagnosis.findings import Finding, finding


@dataclass(frozen=True)
class Thresholds:
    """Where the rules draw their lines; all can be set.

    Attributes:
      vanishing: least m_0 / m_T.
      exploding: largest m_t / m_T.
      saturated: largest share of saturated values.
      dead_units: largest share of dead units.
      short_memory: least share of the change of the last outputs that early inputs make.

    Raises:
      ValueError: a threshold that is not a positive number.
    """

    vanishing: float = 1e-4
    exploding: float = 1e4
    saturated: float = 0.6
    dead_units: float = 0.6
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
        findings.append(finding("non_finite", None, place=evidence.not_finite))
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
    """NaN compares as False: what is not finite has its own name."""
    findings = []
    memory = {
        "steps": layer.steps,
        "memory_left": layer.memory_left,
        "memory_largest": layer.memory_largest,
        "memory_rate": layer.memory_rate,
        "horizon": layer.horizon,
        **_norms(layer),
    }
    if layer.memory_left < thresholds.vanishing:
        findings.append(finding("vanishing", path, **memory))
    # An Inf is not hidden behind a NaN that it leads to further back.
    if any(m > thresholds.exploding for m in layer.memory):
        findings.append(finding("exploding", path, **memory))
    if layer.saturated > thresholds.saturated:
        findings.append(finding("saturated", path, share=layer.saturated, **_norms(layer)))
    if layer.dead > thresholds.dead_units:
        findings.append(finding("dead_units", path, share=layer.dead, units=layer.units))
    return findings


def _norms(layer: LayerEvidence) -> dict[str, float]:
    """Of the recurrent kernels; the largest, where gates have several."""
    kernels = layer.kernels.values()
    if not kernels:
        return {}
    return {
        "spectral_norm": max(W.spectral_norm for W in kernels),
        "spectral_radius": max(W.spectral_radius for W in kernels),
    }
