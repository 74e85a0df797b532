"""Which text goes into which page, and the pages written again."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from experiments.analysis_speed.claims import analysis_sentence
from experiments.benchmark.claims import speed_section
from experiments.catalogue import EXPERIMENTS
from experiments.char_lm.claims import language_section
from experiments.checkpoint_cost.claims import checkpoint_sentence
from experiments.claims.experiment_pages import QUANTITIES, command_table, results, settings, usage
from experiments.claims.verdicts import CLAIMS, claims_list, claims_page, verdicts
from experiments.doctor_calibration.claims import doctor_sentence
from experiments.gpu.claims import NOT_RUN, gpu_section
from experiments.harness.records.evidence import load
from experiments.harness.records.results import ROOT
from experiments.remedies.claims import remedies_table, troubleshooting

Writer = Callable[[], str]


def gpu_line() -> str:
    """Whether anything was run on a GPU."""
    said = "Not run on a GPU" if gpu_section() == NOT_RUN else "Run on a GPU"
    return f"{said}: see [the page on GPUs](docs/results/gpu.md)."


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
