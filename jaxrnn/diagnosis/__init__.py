"""What is wrong with a recurrent network, why, and what helps.

    report = jaxrnn.diagnose(model, variables, (inputs, targets), loss_fn)
    print(report)

``checks`` refuses bad input. ``measure_network`` and ``measure_early_inputs`` measure a network,
``run_record`` reads what is known of a run. ``judge_network`` and ``judge_run`` hold the rules,
``thresholds`` where they draw their lines, ``first_aid`` the table of causes and remedies,
``findings`` and ``report`` what comes out.
"""

from collections.abc import Mapping
from typing import Any

import jax
from flax import linen as nn

from jaxrnn.array_checks import check_key
from jaxrnn.diagnosis.checks import LossFunction, check
from jaxrnn.diagnosis.findings import Finding
from jaxrnn.diagnosis.first_aid import FIRST_AID, REMEDIES, Aid, how
from jaxrnn.diagnosis.judge_network import find, in_use
from jaxrnn.diagnosis.judge_run import check_baseline, judge, read_history
from jaxrnn.diagnosis.measure_network import Evidence, LayerEvidence, measure
from jaxrnn.diagnosis.report import Report
from jaxrnn.diagnosis.run_record import RunRecord, read_run_record
from jaxrnn.diagnosis.thresholds import HistoryThresholds, Thresholds

# Earlier names.
Course = RunRecord
read_course = read_run_record

__all__ = [
    "FIRST_AID",
    "REMEDIES",
    "Aid",
    "Course",
    "Evidence",
    "Finding",
    "HistoryThresholds",
    "LayerEvidence",
    "Report",
    "RunRecord",
    "Thresholds",
    "diagnose",
    "how",
    "read_course",
    "read_history",
    "read_run_record",
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

    Takes two gradient evaluations and one forward pass (two where a half of the inputs is the same
    in all sequences), in one jitted function; not to be called inside another. See
    jaxrnn/diagnosis/judge_network.py for what each condition means.

    Args:
      model: any linen model with recurrent layers: nn.RNN of any cell that emits its state, as
        Flax's do, by itself or inside others; ``SequenceModel``; ``StackedModel``. Its
        outputs are ``model.apply(variables, inputs)``.
      variables: with "params" among them; NaN in them is a diagnosis.
      batch: (inputs, targets), inputs (B, T, D) or what else the model takes, with T ≥ 2.
      loss_fn: (outputs, targets) → L, a real scalar.
      key: for the random signal whose way back is followed; default: always the same.
      thresholds: where the rules draw their lines; default: ``Thresholds()``. Those for the history
        are ``Thresholds(history=HistoryThresholds(...))``.
      history: of the run that the variables are from, an entry of "runs" in results.json; see
        ``read_history``.
      baseline: the loss of the best answer that remembers nothing, for ``history``.

    Raises:
      ValueError: no recurrent layer, or one that cannot be observed; variables that do not fit the
        model; an empty batch, or one that is not of numbers; sequences of one step; inputs that the
        model does not take; outputs or a loss that are not real, a loss that is no scalar; a
        history of another schema, or without a loss; thresholds or a baseline that are none.

    Example:
      >>> cell = VanillaCell(4, recurrent_kernel_init=initializers.identity(0.1))
      >>> model = SequenceModel(cell, num_outputs=6)
      >>> inputs = jax.random.normal(jax.random.key(0), (2, 9, 3))
      >>> variables = model.init(jax.random.key(1), inputs)
      >>> def loss_fn(outputs, targets):
      ...     return jnp.mean((outputs - targets) ** 2)
      >>> report = diagnose(model, variables, (inputs, jnp.ones((2, 9, 6))), loss_fn)
      >>> report.conditions
      ('vanishing', 'short_memory')
    """
    thresholds = Thresholds() if thresholds is None else thresholds
    if not isinstance(thresholds, Thresholds):
        raise ValueError(f"thresholds must be Thresholds, got {type(thresholds).__name__}")
    check_baseline(baseline)
    course = None if history is None else read_run_record(history)
    variables = nn.meta.unbox(variables)
    shapes = check(model, variables, batch, loss_fn)
    key = jax.random.key(0) if key is None else key
    check_key("key", key)
    evidence = measure(model, variables, batch, loss_fn, key, shapes)
    findings = find(evidence, thresholds)
    if course is not None:
        findings += judge(course, baseline, thresholds.history, in_use(evidence))
    order = tuple(FIRST_AID)
    ordered = tuple(sorted(findings, key=lambda one: order.index(one.condition)))
    return Report(ordered, evidence, thresholds, course)
