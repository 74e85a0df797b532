"""The README's tables, and TROUBLESHOOTING.md, written from the committed results.json files.

    python -m experiments.claims        rewrites TROUBLESHOOTING.md and marked parts of README.md

Every measured number comes from a file under figures/; claims and verdicts are words.
"""

from collections.abc import Callable
from pathlib import Path

from experiments.adding_task.claims import claim_5
from experiments.analysis_speed.claims import analysis_sentence
from experiments.benchmark.claims import speed_section
from experiments.char_lm.claims import claim_7, claim_10, language_section
from experiments.checkpoint_cost.claims import checkpoint_sentence
from experiments.copy_task.claims import claim_1, claim_2
from experiments.doctor_calibration.claims import doctor_sentence
from experiments.gpu.claims import gpu_section
from experiments.gradient_analysis.claims import claim_6, claim_8
from experiments.harness.records.evidence import load
from experiments.harness.records.results import ROOT
from experiments.remedies.claims import claim_9, remedies_table, troubleshooting
from experiments.retractions.claims import claim_3, claim_4


def claims_table() -> str:
    """The table of claims in Markdown."""
    rows = {
        1: claim_1(),
        2: claim_2(),
        3: claim_3(),
        4: claim_4(),
        5: claim_5(),
        6: claim_6(),
        7: claim_7(),
        8: claim_8(),
        9: claim_9(),
        10: claim_10(),
    }
    lines = ["| | claim | command | measured | verdict |", "|---|---|---|---|---|"]
    for number, row in rows.items():
        lines.append(f"| {number} | " + " | ".join(row) + " |")
    return "\n".join(lines)


SECTIONS: dict[str, Callable[[], str]] = {
    "claims": claims_table,
    "speed": lambda: speed_section(load("benchmark")),
    "language": language_section,
    "gpu": gpu_section,
    "analysis": lambda: analysis_sentence(load("analysis_speed")),
    "doctor": doctor_sentence,
    "remedies": remedies_table,
    "checkpoints": lambda: checkpoint_sentence(load("checkpoint_cost")),
}


def rewrite(readme: str) -> str:
    """README.md with its marked parts written anew."""
    for name, write in SECTIONS.items():
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        head, _, rest = readme.partition(begin)
        _, _, tail = rest.partition(end)
        readme = f"{head}{begin}{write()}\n{end}{tail}"
    return readme


if __name__ == "__main__":
    path = Path(ROOT / "README.md")
    path.write_text(rewrite(path.read_text()))
    Path(ROOT / "TROUBLESHOOTING.md").write_text(troubleshooting())
