"""The ten claims: a line each for the README, a section each for the documentation."""

import re
from collections.abc import Callable
from functools import cache

from experiments.adding_task.claims import claim_5
from experiments.char_lm.claims import claim_7, claim_10
from experiments.copy_task.claims import claim_1, claim_2
from experiments.gradient_analysis.claims import claim_6, claim_8
from experiments.harness.records.evidence import Row, table
from experiments.remedies.claims import claim_9
from experiments.retractions.claims import claim_3, claim_4

# Number → what measures it; the claim in a few words; the experiments behind it.
CLAIMS: dict[int, tuple[Callable[[], Row], str, str]] = {
    1: (claim_1, "Projection solves a copy task that a vanilla RNN cannot learn", "copy_task"),
    2: (
        claim_2,
        "Projection stops the drift of W_hh and the spikes of its gradients",
        "copy_task gradient_spikes",
    ),
    3: (
        claim_3,
        "Projecting every 5 steps does as well as every step, for less",
        "retractions benchmark",
    ),
    4: (
        claim_4,
        "QR needs its sign rule and is the nearest orthogonal matrix; Householder is more stable",
        "retractions",
    ),
    5: (claim_5, "An IRNN learns to add over 150 to 400 steps, long ones later", "adding_task"),
    6: (
        claim_6,
        "Gradients decay exponentially, at a rate set by the largest singular value of W_hh",
        "gradient_analysis",
    ),
    7: (
        claim_7,
        "Language models: larger is better, T = 20–30 is best, cost is quadratic in T",
        "char_lm gradient_analysis",
    ),
    8: (claim_8, "Xavier weights and clipping at 0.5–1.0 are healthy", "gradient_analysis"),
    9: (claim_9, "First aid helps: activations, initialisation, clipping, gates", "remedies"),
    10: (claim_10, "Long sequences benefit most from projection, text among them", "char_lm"),
}


@cache
def row(number: int) -> Row:
    """What a claim says, how it is tested, what was measured, and the verdict."""
    return CLAIMS[number][0]()


def in_short(number: int) -> str:
    """A claim's verdict in three words at most."""
    return short_verdict(row(number)[3])


def claims_list() -> str:
    """A line for each claim: number, words, verdict, and a link to its section."""
    return "\n".join(
        f"{number}. {words}: [{in_short(number)}](docs/results/claims.md#claim-{number})"
        for number, (_, words, _) in CLAIMS.items()
    )


def short_verdict(verdict: str) -> str:
    """A full verdict in three words at most, from those that it has in bold.

    Raises:
      ValueError: it has none.
    """
    bold = re.findall(r"\*\*(.+?)\*\*", verdict)
    if not bold:
        raise ValueError(f"a verdict says **holds** or **fails**, got {verdict!r}")
    holds = [word.startswith("hold") and "part" not in word for word in bold]
    fails = [word.startswith("fail") for word in bold]
    return "holds" if all(holds) else "fails" if all(fails) else "holds in part"


def claims_page() -> str:
    """docs/results/claims.md."""
    blocks = [
        "# The claims, measured",
        "What is said of recurrent networks and of orthogonal ones, and what comes out. Each "
        "section has the claim as it was made, the commands that test it, what they measured, and "
        "a verdict. ± is the standard deviation over seeds. A claim that fails is reported as "
        "failing.",
        table(
            ["", "claim", "verdict"],
            [
                [f"[{number}](#claim-{number})", words, in_short(number)]
                for number, (_, words, _) in CLAIMS.items()
            ],
        ),
    ]
    for number, (_, words, behind) in CLAIMS.items():
        said, command, measured, verdict = row(number)
        links = ", ".join(f"[{page}]({page}.md)" for page in behind.split())
        blocks += [
            f"## Claim {number}",
            f"{words}: **{in_short(number)}**.",
            f"The claim: {sentence(said)}",
            f"Commands: {command}. Settings and figures: {links}.",
            "Measured:",
            bullets(measured),
            "Verdict:",
            bullets(verdict),
        ]
    return "\n\n".join(blocks) + "\n"


def sentence(text: str) -> str:
    """With a full stop."""
    return text if text.endswith(".") else f"{text}."


def bullets(text: str) -> str:
    """A point for each part of the text, at semicolons and full stops."""
    points = [
        point for said in re.split(r"\. (?=\w)", text) for point in split_outside_brackets(said)
    ]
    return "\n".join(f"- {point}" for point in points)


def split_outside_brackets(text: str) -> list[str]:
    """The parts of a text between semicolons, except semicolons in brackets."""
    parts, depth, start = [], 0, 0
    for index, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == ";" and depth == 0:
            parts.append(text[start:index].strip())
            start = index + 1
    return [*parts, text[start:].strip()]


def verdicts(page: str) -> str:
    """The claims that an experiment is behind."""
    return "\n".join(
        f"- [Claim {number}](claims.md#claim-{number}). {words}: {in_short(number)}."
        for number, (_, words, behind) in CLAIMS.items()
        if page in behind.split()
    )
