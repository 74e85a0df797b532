"""What is wrong with a recurrent network, why, and what helps.

    report = jaxrnn.diagnose(model, variables, (inputs, targets), loss_fn)
    print(report)

``checks`` refuses bad input, ``evidence`` and ``early`` measure, ``conditions`` and ``history``
hold the rules, ``first_aid`` the table of causes and remedies, ``findings`` and ``report`` what
comes out.
"""

from collections.abc import Mapping
from typing import Any

import jax
from flax import linen as nn

from jaxrnn.diagnosis.checks import LossFunction, check
from jaxrnn.diagnosis.conditions import Thresholds, find
from jaxrnn.diagnosis.evidence import Evidence, LayerEvidence, measure
from jaxrnn.diagnosis.findings import Finding
from jaxrnn.diagnosis.first_aid import FIRST_AID, REMEDIES, Aid, how
from jaxrnn.diagnosis.history import HistoryThresholds, read_history
from jaxrnn.diagnosis.report import Report

__all__ = [
    "FIRST_AID",
    "REMEDIES",
    "Aid",
    "Evidence",
    "Finding",
    "HistoryThresholds",
    "LayerEvidence",
    "Report",
    "Thresholds",
    "diagnose",
    "how",
    "read_history",
]


def diagnose(
    model: nn.Module,
    variables: Any,
    batch: Any,
    loss_fn: LossFunction,
    key: Any = None,
    thresholds: Thresholds | None = None,
    history: Mapping[str, Any] | None = None,
    baseline: float | None = None,
) -> Report:
    """Measure a model on a batch, and say what is wrong with it.

    Takes two gradient evaluations and one forward pass, in one jitted function; not to be called
    inside another. See jaxrnn/diagnosis/conditions.py for what each condition means.

    Args:
      model: any linen model with recurrent layers: nn.RNN of any cell, by itself or inside others,
        and ``SequenceModel``. Its outputs are ``model.apply(variables, inputs)``.
      variables: with "params" among them; NaN in them is a diagnosis.
      batch: (inputs, targets), inputs (B, T, D) or what else the model takes, with T ≥ 2.
      loss_fn: (outputs, targets) → L, a real scalar.
      key: for the random signal whose way back is followed; default: always the same.
      thresholds: where the rules draw their lines; default: ``Thresholds()``.
      history: of the run that the variables are from, an entry of "runs" in results.json; see
        ``read_history``.
      baseline: the loss of the best answer that remembers nothing, for ``history``.

    Raises:
      ValueError: no recurrent layer, or one that cannot be observed; parameters that do not fit the
        model; an empty batch; sequences of one step; inputs that the model does not take; outputs
        or a loss that are not real, a loss that is no scalar; a history of another schema.
    """
    thresholds = thresholds or Thresholds()
    from_history = () if history is None else read_history(history, baseline)
    shapes = check(model, variables, batch, loss_fn)
    key = jax.random.key(0) if key is None else key
    evidence = measure(model, variables, batch, loss_fn, key, shapes)
    return Report(find(evidence, thresholds) + from_history, evidence, thresholds)
