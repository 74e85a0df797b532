"""From evidence to conditions: the rules, and the thresholds that they compare with.

    non_finite      NaN or Inf in inputs, parameters, states, outputs, targets, loss or gradients
    no_gradient     the gradient of the loss is exactly 0, in all parameters or in a layer's states
    saturated       more than a share of tanh's values lie beyond ±0.95
    dead_units      more than a share of units never change
    vanishing       m_0 < vanishing: of a signal at the end next to nothing gets back to the start
    exploding       max m_t > exploding: on its way it grows out of any proportion
    short_memory    exchanging the first half of the inputs moves the last outputs by next to
                    nothing, in proportion to what exchanging all does
    healthy         none of these

with m_t of jaxrnn/diagnosis/measure_network.py; causes come before what they lead to. Vanishing
and exploding are judged from end to end, by what the given length asks for: half of a signal lost
at every step is no harm in five, and fatal in fifty. They are judged in each layer by itself;
short_memory is the model's.

``short_memory`` says how the model is, not that this is wrong: where a loss asks for recent inputs
only, nothing else can be expected. What vanishes has a short memory too. A network may have one
without vanishing, where what it keeps is not read. A fresh network is judged as it is; what it can
still learn is not known, and the report says that it is fresh.
"""

from typing import Any

from jaxrnn.activations import ACTIVATIONS
from jaxrnn.cell_types import cell_types
from jaxrnn.diagnosis.findings import Finding, finding
from jaxrnn.diagnosis.first_aid import BAD_DATA, LARGE_INPUTS, REMEDIES, TRUNCATED, UNREACHED
from jaxrnn.diagnosis.measure_network import Evidence, LayerEvidence
from jaxrnn.diagnosis.thresholds import Thresholds
from jaxrnn.diagnostics.profiles import SATURATED


def find(evidence: Evidence, thresholds: Thresholds) -> tuple[Finding, ...]:
    """What is wrong, in the order of the module's table; empty: healthy."""
    findings = []
    if evidence.not_finite:
        special = BAD_DATA if evidence.not_finite.split()[0] in ("inputs", "targets") else None
        findings.append(finding("non_finite", None, special, place=evidence.not_finite))
    findings += _without_gradient(evidence)
    for path, layer in evidence.layers.items():
        findings += _in_layer(path, layer, thresholds)
    if evidence.early_share < thresholds.short_memory:
        findings.append(
            finding(
                "short_memory",
                None,
                in_use=in_use(evidence),
                early_share=evidence.early_share,
                steps=max(layer.steps for layer in evidence.layers.values()),
            )
        )
    return tuple(findings)


def _without_gradient(evidence: Evidence) -> list[Finding]:
    if evidence.gradient_norm == 0:
        return [finding("no_gradient", None, loss=evidence.loss)]
    return [
        finding("no_gradient", path, UNREACHED)
        for path, layer in evidence.layers.items()
        if not any(layer.gradient)  # NaN is some
    ]


def in_use(evidence: Evidence) -> set[str]:
    """The remedies that a model's cells are."""
    return set().union(*map(_in_use, evidence.layers.values()))


def _in_layer(path: str, layer: LayerEvidence, thresholds: Thresholds) -> list[Finding]:
    """NaN compares as False: what is not finite has its own name.

    Where states are not finite, only their growth can be judged: ReLU's gradient at NaN is 0,
    which does not mean that it vanishes.
    """
    findings, used = [], _in_use(layer)
    memory = {
        "steps": layer.steps,
        "memory_left": layer.memory_left,
        "memory_largest": layer.memory_largest,
        "memory_rate": layer.memory_rate,
        "horizon": layer.horizon,
        **_norms(layer),
    }
    finite = layer.first_not_finite is None
    if finite and layer.saturated > thresholds.saturated:
        special = LARGE_INPUTS if _is_driven(layer) else None
        numbers = {"share": layer.saturated, **_norms(layer)}
        findings.append(finding("saturated", path, special, used, **numbers))
    if finite and layer.dead > thresholds.dead_units:
        numbers = {"share": layer.dead, "units": layer.units}
        findings.append(finding("dead_units", path, None, used, **numbers))
    if finite and layer.memory_left < thresholds.vanishing:
        special = TRUNCATED if _is_cut(layer, thresholds) else None
        findings.append(finding("vanishing", path, special, used, **memory))
    # An Inf is not hidden behind a NaN that it leads to further back.
    if any(m > thresholds.exploding for m in layer.memory):
        findings.append(finding("exploding", path, None, used, **memory))
    return findings


def _in_use(layer: LayerEvidence) -> set[str]:
    """The remedies that a layer's cell is, with what is wrapped around it."""
    cells = {cell.remedy for cell in cell_types(layer.cell) if cell.remedy is not None}
    return cells | {name for name in REMEDIES if name == layer.activation}


def _is_cut(layer: LayerEvidence, thresholds: Thresholds) -> bool:
    """Whether truncation alone is to blame: there is enough of a signal, and then none at all."""
    left = [m for m in layer.memory if m > 0]
    return layer.cell.startswith("TruncatedCell(") and left[0] > thresholds.vanishing


def _is_driven(layer: LayerEvidence) -> bool:
    """Whether W_hh alone could not saturate that many units: inputs or biases must have.

    The mean square of W_hh h is σ_max² at most, since |h| ≤ 1 where phi saturates; that of the
    share's units alone is more. Gates have several kernels, about which this says nothing.
    """
    activation = ACTIVATIONS.get(layer.activation or "")
    if activation is None or activation.saturates_at is None:
        return False
    least = activation.saturates_at(SATURATED)  # |z| of a saturated unit
    norms = [W.spectral_norm for W in layer.kernels.values()]
    return len(norms) == 1 and norms[0] ** 2 < layer.saturated * least**2


def _norms(layer: LayerEvidence) -> dict[str, Any]:
    """Of the recurrent kernels; the largest, where gates have several."""
    kernels = layer.kernels.values()
    if not kernels:
        return {}
    return {
        "spectral_norm": max(W.spectral_norm for W in kernels),
        "spectral_radius": max(W.spectral_radius for W in kernels),
    }
