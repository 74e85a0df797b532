"""Claim 9, the table of remedies, and TROUBLESHOOTING.md: what was measured to help on what."""

from typing import Any

import numpy as np

from experiments.harness.records.evidence import Loader, Row, load
from experiments.remedies.cases import Case, Symptom, cases
from experiments.remedies.figure import cell_text
from experiments.remedies.outcomes import UNTREATED, VERDICTS, Outcome, outcomes
from jaxrnn.diagnosis import FIRST_AID, how
from jaxrnn.diagnosis.findings import finding
from jaxrnn.diagnosis.first_aid import SPECIAL, Aid

# What the sources recommend for each symptom, as the matrix calls it.
RECOMMENDED: dict[Symptom, tuple[str, ...]] = {
    "vanishing": ("relu", "leaky_relu", "identity_init", "orthogonal_init", "skip"),
    "exploding": (
        *("clip_norm", "clip_norm_5", "clip_value", "scaled_identity_init", "small_inputs", "adam"),
        *("rmsprop", "lower_rate", "warm_up", "truncated_bptt", "growing_length"),
    ),
    "unstable": (
        *("clip_norm", "clip_norm_5", "clip_value", "lower_rate", "warm_up", "adam", "rmsprop"),
        *("small_inputs", "truncated_bptt", "growing_length"),
    ),
    "crawling": ("higher_rate", "higher_rate+orthogonal_init", "gru", "lstm"),
    "short_memory": ("lstm", "gru", "skip"),
}


SAYINGS = {
    "**holds** for": ("cured",),
    "better, but no cure:": ("helped",),
    "**fails** for": ("no effect", "harmed"),
}


def words(names: list[str]) -> str:
    """Remedies in a sentence."""
    return ", ".join(name.replace("_", " ").replace("+", " with ") for name in names) or "none"


def claim_9(load: Loader = load) -> Row:
    """First aid: which helps, on which symptom, by how much?"""
    found = outcomes(load("remedies"))
    measured, verdicts = [], []
    for symptom, names in RECOMMENDED.items():
        by_remedy = found[symptom]
        tried = {name: by_remedy[name] for name in names if name in by_remedy}
        cells = [f"{words([name])} {cell_text(outcome)}" for name, outcome in tried.items()]
        measured.append(
            f"{words([symptom])} (untreated {cell_text(by_remedy[UNTREATED])}): " + "; ".join(cells)
        )
        said = []
        for saying, meant in SAYINGS.items():
            if found_so := [name for name, outcome in tried.items() if outcome.verdict in meant]:
                said.append(f"{saying} {words(found_so)}")
        verdicts.append(f"{words([symptom])}: {'; '.join(said)}")
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
    cures = {n: sum(o[n].verdict == "cured" for o in found.values() if n in o) for n in names}
    best = [n for n in sorted(cures, key=lambda n: -cures[n]) if 2 * cures[n] >= len(found)]
    intro = (
        f"{trained:,} networks, which took {sum(seconds.values()) / 60:.0f} minutes of a core. "
        "Seeds cured, and the median loss in baselines (lowest to highest); **cured** where at "
        "least four of five seeds are, *helped* or *harmed* where every seed ends better or worse "
        "than every untreated one; ∞: diverged; blank: it changes nothing about the case. No "
        "remedy helps on everything; half of the symptoms or more are cured by "
        f"{', '.join(f'{words([name])} ({cures[name]} of {len(found)})' for name in best)}. "
    )
    cases_said = "; ".join(
        f"{words([name])}: {case.setting} ({case.source})" for name, case in settings.items()
    )
    return (
        f"{intro}The cases, made short, and hard enough to fail from every seed: {cases_said}.\n\n"
        + "\n".join(lines)
    )


def _cell(outcome: Outcome | None) -> str:
    if outcome is None:
        return ""
    text = cell_text(outcome)
    marks = {"cured": f"**{text}**", "helped": f"*helped* {text}", "harmed": f"*harmed* {text}"}
    return f"{marks.get(outcome.verdict, text)} ({_spread(outcome)})"


def troubleshooting() -> str:
    """TROUBLESHOOTING.md: symptom, cause, first aid and what it was measured to do."""
    found = outcomes(load("remedies"))
    settings: dict[Any, Case] = dict(cases())
    sections = []
    for condition, aid in FIRST_AID.items():
        by_remedy = found.get(condition)
        lines = [f"## {words([condition])}", "", *_symptom_and_cause(condition, aid), ""]
        lines += _advice(aid) if by_remedy is None else _tried(aid, settings[condition], by_remedy)
        if condition in SPECIAL:
            special = SPECIAL[condition]
            lines += [
                "",
                "Or else:",
                "",
                *_symptom_and_cause(condition, special),
                "",
                *_advice(special),
            ]
        sections.append("\n".join(lines) + "\n")
    return "\n".join([HEAD, *sections, CHECKLIST])


def _symptom_and_cause(condition: str, aid: Aid) -> list[str]:
    """The numbers of a finding are left open."""
    cause = finding(condition, None, aid).cause.replace("?", "…")
    return [f"- symptom: {aid.symptom}", f"- likely cause: {cause}"]


def _advice(aid: Aid) -> list[str]:
    """First aid that was not measured."""
    return ["| first aid | how |", "|---|---|"] + [
        f"| {words([name])} | {how(name)} |" for name in aid.remedies
    ]


def _tried(aid: Aid, case: Case, by_remedy: dict[str, Outcome]) -> list[str]:
    """First aid, and what it did."""
    lines = [
        f"Measured on: {case.setting} ({case.source}). Untreated: "
        f"{_spread(by_remedy[UNTREATED])}; cured: {case.solved:.2g} at most.",
        "",
        "| first aid | how | effect | seeds cured | loss in baselines |",
        "|---|---|---|---|---|",
    ]
    for name in aid.remedies:
        outcome = by_remedy[name]
        seeds = f"{outcome.cured} of {len(outcome.losses)}"
        cells = [words([name]), how(name), outcome.verdict, seeds, _spread(outcome)]
        lines.append(f"| {' | '.join(cells)} |")
    others = {
        verdict: [n for n, o in by_remedy.items() if o.verdict == verdict and n not in aid.remedies]
        for verdict in VERDICTS
    }
    others["no effect"].remove(UNTREATED)
    said = (f"{verdict}: {words(names)}" for verdict, names in others.items() if names)
    return [*lines, "", f"Tried, too; {'; '.join(said)}."]


def _spread(outcome: Outcome) -> str:
    """The losses from lowest to highest."""
    finite = outcome.losses[np.isfinite(outcome.losses)]
    diverged = len(outcome.losses) - len(finite)
    ends = [finite.min(), finite.max()] if len(finite) else []
    said = [" to ".join(f"{loss:,.0f}" if 100 <= loss < 1e5 else f"{loss:.2g}" for loss in ends)]
    return ", ".join(filter(None, [*said, f"{diverged} diverged" if diverged else ""]))


HEAD = """\
# When a recurrent network does not train

`jaxrnn.diagnose(model, variables, (inputs, targets), loss_fn)` measures a network of yours and
names what is wrong; `python -m experiments.doctor --results RESULTS_JSON` or `--checkpoint DIR`
examines a run. Both read causes and first aid from the table that this page shows,
`jaxrnn/diagnosis/first_aid.py`; what is measured comes from `python -m experiments.remedies`, five
seeds each; `python -m experiments.claims` writes the page.

Losses are in baselines: that of the best answer without memory is 1. *Cured*: at least four of five
seeds end well; *helped* or *harmed*: every seed ends better or worse than every untreated one, by
0.05 or more; anything else is no effect.

The columns on how are code, and a test checks that it is what was trained. Names are jaxrnn's,
Optax's and Flax's (`nn` is flax.linen); `cell`, `optimizer` and `lr` are those of the network so
far, so that initialisers and rates that a remedy does not name stay; N is the number of units, K
that of training steps; k is 10 where it was measured, which suits the lags of the copy tasks.
Clipping comes before the optimizer and a projection after it, and both stay when the optimizer
changes. Of two remedies the second goes on from what the first made.
"""
CHECKLIST = """\
## Before giving up

1. Is the loss of the untrained network about ln(classes), or the mean square of the targets? If it
   is far off, the data or the readout is wrong, not the recurrence.
2. Can the network learn twenty sequences by heart? If not, look for a bug.
3. What is the baseline of an answer without memory? A loss just below it has learnt nothing that
   needs recurrence.
4. Does a shorter version of the task train? Then it is the length: see *vanishing*, *short memory*.
5. Has the learning rate been tried ten times higher and ten times lower, with several seeds each?
6. Does the same network with gates (GRU, LSTM) train? If it does, the task can be learnt, and the
   cell was the trouble.
"""
