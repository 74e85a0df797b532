"""Claim 9, the table of remedies, and TROUBLESHOOTING.md: what was measured to help on what."""

from typing import Any

import numpy as np

from experiments.common.evidence import Row, load
from experiments.common.figures import by_setting
from experiments.remedies_cases import Symptom, cases
from experiments.remedies_figures import cell_text
from experiments.remedies_outcomes import UNTREATED, Outcome, best_first, outcomes
from jaxrnn.diagnosis import FIRST_AID, how

# What the sources recommend for each symptom, as the matrix calls it.
RECOMMENDED: dict[Symptom, tuple[str, ...]] = {
    "vanishing": ("relu", "leaky_relu", "identity_init", "orthogonal_init", "skip"),
    "exploding": (
        *("clip_norm", "clip_norm_5", "clip_value", "scaled_identity_init", "small_inputs", "adam"),
        *("lower_rate", "warm_up"),
    ),
    "unstable": (
        *("clip_norm", "clip_norm_5", "clip_value", "lower_rate", "warm_up", "adam", "rmsprop"),
        *("small_inputs", "truncated_bptt", "growing_length"),
    ),
    "crawling": ("higher_rate", "higher_rate+orthogonal_init", "gru", "lstm"),
    "short_memory": ("lstm", "gru", "skip"),
}


def words(names: list[str]) -> str:
    """Remedies in a sentence."""
    return ", ".join(name.replace("_", " ").replace("+", " with ") for name in names) or "none"


def claim_9() -> Row:
    """First aid: which helps, on which symptom, by how much?"""
    found = outcomes(load("remedies"))
    measured, verdicts = [], []
    for symptom, names in RECOMMENDED.items():
        by_remedy = found[symptom]
        cells = [f"{words([n])} {cell_text(by_remedy[n])}" for n in names if n in by_remedy]
        measured.append(
            f"{symptom.replace('_', ' ')} (untreated {cell_text(by_remedy[UNTREATED])}): "
            + "; ".join(cells)
        )
        useful = [n for n in names if n in by_remedy and n in best_first(by_remedy)]
        useless = [n for n in names if n in by_remedy and n not in useful]
        verdicts.append(
            f"{symptom.replace('_', ' ')}: **holds** for {words(useful)}, "
            f"**fails** for {words(useless)}"
        )
    return (
        "First aid. Vanishing: (leaky) ReLU, identity or orthogonal initialisation, skip "
        "connections. Exploding: clipping by norm (1 or 5) or by value, a rate ten times lower, a "
        "schedule, another optimizer, smaller input weights, truncated BPTT, shorter sequences at "
        "first. Crawling: a higher rate with a better initialisation, or gates. Only recent tokens "
        "matter: LSTM or GRU, or skips",
        "`experiments.remedies`",
        "seeds cured and median loss in baselines. " + ". ".join(measured),
        ". ".join(verdicts) + " (each remedy alone, on one case of its symptom)",
    )


def remedies_table() -> str:
    """The matrix in Markdown, with what each case is."""
    results = load("remedies")
    found = outcomes(results)
    settings = {name: case for name, case in cases().items() if name in found}
    names = dict.fromkeys(name for by_remedy in found.values() for name in by_remedy)
    lines = [
        f"| remedy | {' | '.join(name.replace('_', ' ') for name in found)} |",
        "|---" * (1 + len(found)) + "|",
    ]
    for name in names:
        cells = [_cell(by_remedy.get(name)) for by_remedy in found.values()]
        lines.append(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")
    seconds = {(r["settings"]["symptom"], r["method"]): r["seconds"] for r in results["runs"]}
    trained = len(results["runs"])
    intro = (
        f"{trained:,} networks, which took {sum(seconds.values()) / 60:.0f} minutes of a core. "
        "Seeds cured, and the median loss in baselines; **cured** where at least four of five "
        "seeds are, *helped* or *harmed* where every seed ends better or worse than every "
        "untreated one. "
    )
    cases_said = "; ".join(
        f"{name.replace('_', ' ')}: {case.setting} ({case.source})"
        for name, case in settings.items()
    )
    return f"{intro}The cases: {cases_said}.\n\n" + "\n".join(lines)


def _cell(outcome: Outcome | None) -> str:
    if outcome is None:
        return ""
    text = cell_text(outcome)
    marks = {"cured": f"**{text}**", "helped": f"*helped* {text}", "harmed": f"*harmed* {text}"}
    return marks.get(outcome.verdict, text)


def doctor_sentence() -> str:
    """How often diagnose is right."""
    said = []
    for name, runs in by_setting(load("doctor")["runs"], "set").items():
        right = sum(run["final"]["right"] for run in runs)
        healthy = [run for run in runs if run["settings"]["label"] == "healthy"]
        ill = sum(run["final"]["conditions"] != ["healthy"] for run in healthy)
        said.append(
            f"{right} of {len(runs)} networks of the {name.replace('_', '-')} set, "
            f"{ill} of its {len(healthy)} healthy ones called ill"
        )
    return (
        "On networks whose illness is known by their construction, or by whether they learn to "
        "recall their first input (`python -m experiments.doctor_calibration`), it is right on "
        f"{'; on '.join(said)}. Thresholds were chosen on the calibration set; the held-out one, "
        "of other families, was frozen before that and scored once. Most of them are clearly well "
        "or clearly ill."
    )


def troubleshooting() -> str:
    """TROUBLESHOOTING.md: symptom, cause, first aid and what it was measured to do."""
    found = outcomes(load("remedies"))
    settings: dict[Any, Any] = dict(cases())
    parts = [HEAD]
    for condition, aid in FIRST_AID.items():
        parts.append(
            f"## {condition.replace('_', ' ')}\n\n{aid.symptom[0].upper()}{aid.symptom[1:]}.\n"
        )
        by_remedy = found.get(condition)
        if by_remedy is None:
            parts += [f"- **{name}**: `{how(name)}`" for name in aid.remedies]
            parts.append("")
            continue
        case = settings[condition]
        parts.append(
            f"Measured on: {case.setting} ({case.source}). Untreated: "
            f"{_said(by_remedy[UNTREATED])}; cured below {case.solved:.2g} baselines.\n"
        )
        parts += ["| first aid | how | measured |", "|---|---|---|"]
        for name in aid.remedies:
            outcome = by_remedy.get(name)
            measured = "not tried" if outcome is None else f"{outcome.verdict}, {_said(outcome)}"
            parts.append(f"| {name} | `{how(name)}` | {measured} |")
        harmful = [n for n, outcome in by_remedy.items() if outcome.verdict == "harmed"]
        parts.append(f"\nWhat made it worse: {words(harmful)}.\n")
    parts.append(CHECKLIST)
    return "\n".join(parts)


def _said(outcome: Outcome) -> str:
    """Cured seeds, and the losses from lowest to highest."""
    finite = outcome.losses[np.isfinite(outcome.losses)]
    diverged = len(outcome.losses) - len(finite)
    spread = f", {finite.min():.2g} to {finite.max():.2g} baselines" if len(finite) else ""
    gone = f", {diverged} diverged" if diverged else ""
    return f"{outcome.cured} of {len(outcome.losses)} seeds cured{spread}{gone}"


HEAD = """\
# When a recurrent network does not train

`jaxrnn.diagnose(model, variables, (inputs, targets), loss_fn)` measures a network of yours and
names what is wrong; `python -m experiments.doctor --results RESULTS_JSON` or `--checkpoint DIR`
examines a run. Both read causes and first aid from the table that this page shows,
`jaxrnn/diagnosis/first_aid.py`; what is measured comes from `python -m experiments.remedies`, five
seeds each; `python -m experiments.claims` writes the page. Losses are in baselines: that of the
best answer without memory is 1.
"""
CHECKLIST = """\
## Before giving up

1. Does the loss of the untrained network equal ln(classes), or the variance of the targets? If not,
   the data or the readout is wrong, not the recurrence.
2. Can the network learn twenty sequences by heart? If not, look for a bug.
3. What is the baseline of an answer without memory? A loss just below it has learnt nothing that
   needs recurrence.
4. Does a shorter version of the task train? Then it is the length: see *vanishing*, *short memory*.
5. Has the learning rate been tried ten times higher and ten times lower, with several seeds each?
6. Does the same network with gates (GRU, LSTM) train? If it does, the task can be learnt, and the
   cell was the trouble.
"""
