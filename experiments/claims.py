"""What the README and the documentation say of results, written from the results.json files.

    python -m experiments.claims        rewrites these, and nothing else:

    README.md                  the list of claims
    docs/results/claims.md     the claims, a section each
    docs/troubleshooting.md    symptoms, causes and first aid
    docs/**/*.md               what stands between <!-- NAME: begin --> and <!-- NAME: end -->

Every measured number comes from a file under figures/, every duration from the catalogue.
"""

import argparse
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.adding_task.claims import claim_5
from experiments.analysis_speed.claims import analysis_sentence
from experiments.benchmark.claims import speed_section
from experiments.catalogue import EXPERIMENTS, Experiment, line
from experiments.char_lm.claims import claim_7, claim_10, language_section
from experiments.checkpoint_cost.claims import checkpoint_sentence
from experiments.copy_task.claims import claim_1, claim_2
from experiments.doctor_calibration.claims import doctor_sentence
from experiments.gpu.claims import NOT_RUN, gpu_section
from experiments.gradient_analysis.claims import claim_6, claim_8
from experiments.harness.records.evidence import Row, load, table
from experiments.harness.records.results import ROOT
from experiments.remedies.claims import claim_9, remedies_table, troubleshooting
from experiments.retractions.claims import claim_3, claim_4

Writer = Callable[[], str]

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

# Final quantities in the tables of results, by the page that shows them.
QUANTITIES = {
    "copy_task": {
        "val_loss": "validation loss",
        "val_accuracy": "accuracy",
        "spectral_norm": "spectral norm",
        "grad_norm_max": "largest gradient norm",
    },
    "adding_task": {
        "test_loss": "test loss",
        "val_loss": "validation loss",
        "spectral_norm": "spectral norm",
        "grad_norm_max": "largest gradient norm",
        "restarts": "restarts",
    },
    "char_lm": {
        "bits_per_character": "bits per character",
        "test_loss": "test loss",
        "perplexity": "perplexity",
        "spectral_norm": "spectral norm",
    },
    "retractions": {
        "val_loss": "validation loss",
        "spectral_norm": "spectral norm",
        "orthogonality_error": "orthogonality error",
    },
    "gradient_spikes": {
        "grad_norm_max": "largest gradient norm",
        "spectral_norm_max": "largest spectral norm",
    },
}
# Of a configuration: where it writes, and what is recorded with it.
NO_SETTINGS = ("out", "devices", "text_hash", "sets", "parts", "symptoms")


def claims_list() -> str:
    """A line for each claim: number, words, verdict, and a link to its section."""
    return "\n".join(
        f"{number}. {words}: [{short_verdict(claim()[3])}](docs/results/claims.md#claim-{number})"
        for number, (claim, words, _) in CLAIMS.items()
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


def gpu_line() -> str:
    """Whether anything was run on a GPU."""
    said = "Not run on a GPU" if gpu_section() == NOT_RUN else "Run on a GPU"
    return f"{said}: see [the page on GPUs](docs/results/gpu.md)."


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
                [f"[{number}](#claim-{number})", words, short_verdict(claim()[3])]
                for number, (claim, words, _) in CLAIMS.items()
            ],
        ),
    ]
    for number, (claim, words, behind) in CLAIMS.items():
        said, command, measured, verdict = claim()
        links = ", ".join(f"[{page}]({page}.md)" for page in behind.split())
        blocks += [
            f"## Claim {number}",
            f"{words}: **{short_verdict(verdict)}**.",
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
    """A point for each part of a sentence; below its first one where that names what follows."""
    points = []
    for said in re.split(r"\. (?=\w)", text):
        first, *more = split_outside_brackets(said)
        indent = "  " if ": " in first else ""
        points += [f"- {first}", *(f"{indent}- {part}" for part in more)]
    return "\n".join(points)


def split_outside_brackets(text: str) -> list[str]:
    """The parts of a text between semicolons, but for those in brackets."""
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
        f"- [Claim {number}](claims.md#claim-{number}). {words}: {short_verdict(claim()[3])}."
        for number, (claim, words, behind) in CLAIMS.items()
        if page in behind.split()
    )


def command_table() -> str:
    """Every command line, with its duration."""
    rows = [
        [f"`python -m experiments.{line(experiment, command)}`", minutes(command.minutes), said]
        for experiment in EXPERIMENTS
        for command in experiment.commands
        for said in [command.what if command.options else f"{experiment.what} {command.what}"]
    ]
    return table(["command", "takes", "what"], rows)


def usage(experiment: Experiment) -> str:
    """The command lines of one experiment."""
    rows = [
        [
            f"`python -m experiments.{line(experiment, command)}`",
            minutes(command.minutes),
            command.what,
            f"`figures/{command.folder}/`" if command.folder else "nothing",
        ]
        for command in experiment.commands
    ]
    return table(["command", "takes", "what", "writes"], rows)


def minutes(number: float) -> str:
    """A duration, as precise as it is known."""
    if number < 1:
        return f"{60 * number:.0f} s"
    return f"{number:g} min" if number < 90 else f"{number / 60:.1f} h"


def settings(experiment: Experiment) -> str:
    """The configurations behind the committed results; a blank is the first column's value."""
    configs = {
        command.options or "default": load(command.folder)["config"]
        for command in experiment.commands
        if command.folder
    }
    first, *others = configs.values()
    rows = []
    for name in first:
        values = [value_text(config.get(name)) for config in configs.values()]
        if name not in NO_SETTINGS and any(values) and not isinstance(first[name], bool):
            rows.append([name, values[0], *("" if v == values[0] else v for v in values[1:])])
    note = "A blank is as in the first column.\n\n" if others else ""
    return note + table(["setting", *(f"`{options}`" for options in configs)], rows)


def value_text(value: Any) -> str:
    """A setting as one would type it; nothing for None."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def results(experiment: Experiment) -> str:
    """What the committed runs ended with: a row for each method, means over seeds."""
    quantities = QUANTITIES[experiment.name]
    rows = []
    for command in experiment.commands:
        groups: dict[tuple[str, str], list[dict]] = {}
        for run in load(command.folder)["runs"] if command.folder else []:
            if set(quantities) & set(run["final"]):
                groups.setdefault((run_label(run), run["backend"]), []).append(run)
        backends = {backend for _, backend in groups}
        for (label, backend), runs in groups.items():
            name = f"{label} ({backend})" if len(backends) > 1 else label
            cells = [over_seeds(runs, quantity) for quantity in quantities]
            rows.append([f"`{command.options or 'default'}`", name, str(len(runs)), *cells])
    lines = [["options", "run", "seeds", *quantities.values()], *rows]
    if len(experiment.commands) == 1:
        lines = [cells[1:] for cells in lines]
    return table(lines[0], lines[1:])


def run_label(run: Mapping[str, Any]) -> str:
    """A method and what is set for it."""
    changed = run["settings"]
    if "setting" in changed:
        return f"{run['method']}, {changed['setting']}"
    said = {name: value_text(value) for name, value in changed.items() if name != "part"}
    words = [f"{name} {value}" for name, value in said.items() if value not in run["method"]]
    return ", ".join([run["method"], *words]).replace("_", " ")


def over_seeds(runs: list[dict], quantity: str) -> str:
    """The mean ± the standard deviation; the sum of restarts, the largest of what is largest."""
    values = [run["final"].get(quantity) for run in runs]
    found = np.array([value for value in values if value is not None])
    if not len(found):
        return ""
    if quantity == "restarts":
        return f"{found.sum():.0f}"
    if quantity.endswith("_max") or len(found) == 1:
        return f"{found.max():.3g}"
    return f"{found.mean():.3g} ± {found.std():.1g}"


def pages() -> dict[str, dict[str, Writer]]:
    """File → the sections that are written into it, by the name in their marks."""
    found: dict[str, dict[str, Writer]] = {
        "README.md": {"claims": claims_list, "gpu": gpu_line},
        "docs/start.md": {"commands": command_table},
    }
    for experiment in EXPERIMENTS:
        name = experiment.name
        sections: dict[str, Writer] = {"usage": partial(usage, experiment)}
        if name in QUANTITIES or name in ("gradient_analysis", "remedies"):
            sections["settings"] = partial(settings, experiment)
        if name in QUANTITIES:
            sections["results"] = partial(results, experiment)
        if any(name in behind.split() for _, _, behind in CLAIMS.values()):
            sections["verdicts"] = partial(verdicts, name)
        found[f"docs/results/{name}.md"] = sections
    more: dict[str, dict[str, Writer]] = {
        "benchmark": {"speed": lambda: speed_section(load("benchmark"))},
        "analysis_speed": {"analysis": lambda: analysis_sentence(load("analysis_speed"))},
        "checkpoint_cost": {"checkpoints": lambda: checkpoint_sentence(load("checkpoint_cost"))},
        "char_lm": {"language": language_section},
        "remedies": {"remedies": remedies_table},
        "doctor_calibration": {"doctor": doctor_sentence},
        "gpu": {"gpu": lambda: gpu_section().replace("](figures/", "](../../figures/")},
    }
    for name, sections in more.items():
        found[f"docs/results/{name}.md"] |= sections
    return found


WHOLE_PAGES: dict[str, Writer] = {
    "docs/results/claims.md": claims_page,
    "docs/troubleshooting.md": troubleshooting,
}


def rewrite(text: str, sections: Mapping[str, Writer]) -> str:
    """A page with its marked parts written again.

    Raises:
      ValueError: a section whose marks are not there.
    """
    for name, write in sections.items():
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        head, *rest = text.split(begin)
        if len(rest) != 1 or end not in rest[0]:
            raise ValueError(f"expected one {begin.strip()} … {end} in the page, got {len(rest)}")
        text = f"{head}{begin}\n{write()}\n\n{end}{rest[0].split(end, 1)[1]}"
    return text


def written(root: Path = ROOT) -> dict[Path, str]:
    """Every page that the results go into → its text."""
    texts = {
        root / name: rewrite((root / name).read_text(), sections)
        for name, sections in pages().items()
    }
    return texts | {root / name: write() for name, write in WHOLE_PAGES.items()}


def main(arguments: list[str] | None = None) -> None:
    """Write the pages."""
    description, _, details = (__doc__ or "").partition("\n")
    argparse.ArgumentParser(
        prog="python -m experiments.claims",
        description=description,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args(arguments)
    for path, text in written().items():
        path.write_text(text)


if __name__ == "__main__":
    main()
