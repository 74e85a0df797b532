"""A report: conditions, the evidence, likely causes and first aid, to print and to save."""

import dataclasses
import json
import math
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxrnn.diagnosis.findings import Finding, conditions_of
from jaxrnn.diagnosis.first_aid import how
from jaxrnn.diagnosis.measure_network import Evidence
from jaxrnn.diagnosis.run_record import RunRecord
from jaxrnn.diagnosis.thresholds import Thresholds

WIDTH = 100
SHOWN_REMEDIES = 3


@dataclass(frozen=True)
class Report:
    """What ``diagnose`` returns; ``print(report)`` shows it.

    Attributes:
      findings: one for each condition and layer.
      evidence: all numbers that were measured.
      thresholds: what they were compared with.
      course: of the run that the network is from; None: it was not given.

    Example:
      >>> cell = VanillaCell(4, recurrent_kernel_init=initializers.identity(0.1))
      >>> model = SequenceModel(cell, num_outputs=6)
      >>> inputs = jax.random.normal(jax.random.key(0), (2, 9, 3))
      >>> variables = model.init(jax.random.key(1), inputs)
      >>> batch = inputs, jnp.ones((2, 9, 6))
      >>> report = diagnose(model, variables, batch, lambda y, target: jnp.mean((y - target) ** 2))
      >>> [(finding.condition, finding.layer) for finding in report.findings]
      [('vanishing', 'cell'), ('short_memory', None)]
      >>> list(report.to_json())
      ['conditions', 'findings', 'evidence', 'thresholds', 'course']
    """

    findings: tuple[Finding, ...]
    evidence: Evidence
    thresholds: Thresholds
    course: RunRecord | None = None

    @property
    def conditions(self) -> tuple[str, ...]:
        """Each condition once; ("healthy",) if there is none."""
        return conditions_of(self.findings)

    def __str__(self) -> str:
        rows = [f"{'layer':<24}{'cell':<20}{'T':>6}{'N':>6}{'left':>10}{'largest':>10}"
                f"{'rate':>8}{'saturated':>11}{'dead':>7}"]  # fmt: skip
        for path, layer in self.evidence.layers.items():
            rows.append(
                f"{path:<24}{layer.cell:<20}{layer.steps:>6}{layer.units:>6}"
                f"{layer.memory_left:>10.1e}{layer.memory_largest:>10.1e}"
                f"{layer.memory_rate:>8.3f}{_share(layer.saturated):>11}{_share(layer.dead):>7}"
            )
        rows.append(
            f"loss {self.evidence.loss:.4g}, gradient norm {self.evidence.gradient_norm:.3g}, "
            f"early inputs move the outputs by {_share(self.evidence.early_share)} of what all do"
        )
        if self.evidence.is_fresh:
            rows.append(
                "nothing has been trained yet: what the network can still learn is not known"
            )
        if remarks := self.course.remarks(self.thresholds.history) if self.course else ():
            rows += textwrap.wrap(f"in training {'; '.join(remarks)}", WIDTH)
        for one in self.findings:
            where = f" ({one.layer})" if one.layer else ""
            rows += ["", one.condition + where]
            rows += textwrap.wrap(one.cause, WIDTH, initial_indent="  ", subsequent_indent="  ")
            if not one.first_aid:
                rows.append("  → nothing that was measured helps more than what is in use")
            for remedy in one.first_aid[:SHOWN_REMEDIES]:
                rows += textwrap.wrap(
                    f"{remedy}: {how(remedy)}",
                    WIDTH,
                    initial_indent="  → ",
                    subsequent_indent="    ",
                )
        return "\n".join([", ".join(self.conditions), "", *rows])

    def to_json(self) -> dict[str, Any]:
        """All of it in JSON's own types, NaN and Inf as None."""
        return _plain(
            {
                "conditions": self.conditions,
                "findings": [
                    {**vars(one), "how": {name: how(name) for name in one.first_aid}}
                    for one in self.findings
                ],
                "evidence": dataclasses.asdict(self.evidence),
                "thresholds": dataclasses.asdict(self.thresholds),
                "course": dataclasses.asdict(self.course) if self.course else None,
            }
        )

    def save(self, path: str | Path) -> None:
        """Write it as JSON."""
        text = json.dumps(self.to_json(), indent=1, allow_nan=False)
        Path(path).write_text(text + "\n", encoding="utf-8")

    def figure(self, path: str | Path) -> None:
        """Draw the evidence; needs matplotlib."""
        from jaxrnn.diagnosis.figure import draw

        draw(self.evidence, self.thresholds, self.conditions, Path(path))


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2g}" if 0 < value < 0.01 else f"{value:.0%}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
