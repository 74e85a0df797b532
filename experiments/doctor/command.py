"""Measure, then write and print."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from experiments.doctor.config import DoctorConfig
from experiments.doctor.examine import Examined, examine_checkpoint, examine_results
from experiments.harness.command import cli
from experiments.harness.records.results import NotWritten, check_writable, plain, write_atomically
from experiments.harness.running import report
from experiments.harness.saving.session import saved_job
from jaxrnn.diagnosis import how
from jaxrnn.diagnosis.findings import conditions_of
from jaxrnn.diagnosis.report import SHOWN_REMEDIES


def print_findings(examined: Sequence[Examined]) -> None:
    """A row for each condition of a run, with the numbers of the first seed that has it."""
    table = Table(title="Findings", title_justify="left")
    for heading in ("run", "condition", "likely cause", "first aid"):
        table.add_column(heading)
    rows: dict[tuple[str, str], list[tuple[int, str, tuple[str, ...]]]] = {}
    for one in examined:
        for found in one.findings or ():
            row = one.seed, found.cause, found.first_aid[:SHOWN_REMEDIES]
            rows.setdefault((one.name, found.condition), []).append(row)
        if not one.findings:
            row = one.seed, "; ".join(one.remarks), ()
            (condition,) = _conditions(one)
            rows.setdefault((one.name, condition), []).append(row)
    runs = Counter(one.name for one in examined)
    named: dict[str, None] = {}
    for (name, condition), group in rows.items():
        _, cause, aid = group[0]
        who = f"{name}, {_seeds([seed for seed, _, _ in group], runs[name])}"
        table.add_row(escape(who), condition, cause, "\n".join(aid))
        named |= dict.fromkeys(aid)
    report.console.print(table)
    for remedy in named:
        report.console.print(f"{remedy}: {how(remedy)}", markup=False)


def _conditions(one: Examined) -> tuple[str, ...]:
    return ("not examined",) if one.findings is None else conditions_of(one.findings)


def _seeds(seeds: Sequence[int], runs: int) -> str:
    """Which of a name's runs, all of them named."""
    seeds = list(dict.fromkeys(seeds))
    word = "seed" if len(seeds) == 1 else "seeds"
    share = f" ({len(seeds)} of {runs})" if runs > 1 else ""
    return f"{word} {', '.join(map(str, seeds))}{share}"


def as_json(examined: Sequence[Examined]) -> list[dict[str, Any]]:
    """For machines: each run's conditions, findings, and all that was measured."""
    return [
        {
            "run": one.name,
            "seed": one.seed,
            "conditions": list(_conditions(one)),
            "findings": [plain(vars(finding)) for finding in one.findings or ()],
            "remarks": list(one.remarks),
            "report": one.report.to_json() if one.report else None,
        }
        for one in examined
    ]


def execute(config: DoctorConfig) -> None:
    """Examine, print, and write."""
    if (config.results is None) == (config.checkpoint is None):
        cli.fail("one of --results and --checkpoint is needed, and not both")
    if config.json and config.results and config.json.resolve() == config.results.resolve():
        cli.fail(f"--json {config.json} would overwrite --results {config.results}")
    inside = config.json.resolve().parents if config.json else ()
    if config.checkpoint and config.checkpoint.resolve() in inside:
        cli.fail(f"--json {config.json} would write into --checkpoint {config.checkpoint}")
    try:
        if config.json is not None:
            check_writable(config.json)
    except NotWritten as error:
        cli.fail(f"--json: {error}")
    try:
        if config.results is not None:
            examined = examine_results(config.results)
        else:
            assert config.checkpoint is not None
            cli.require_backends(["jax"], devices=1)  # by which checkpoints are read
            saved = saved_job(config.checkpoint)
            cli.require_backends(list(dict.fromkeys(["jax", saved.job["backend"]])), devices=1)
            examined = examine_checkpoint(saved)
    except ValueError as error:
        # As the user calls them.
        option = "--results" if config.results is not None else "--checkpoint"
        message = str(error).replace("--checkpoint-dir ", "").replace(" to resume", "")
        cli.fail(f"{option}: {message}")
    print_findings(examined)
    if config.json is not None:
        text = json.dumps(as_json(examined), indent=1, allow_nan=False)
        write_atomically(config.json, lambda path: path.write_text(text + "\n"))
        report.print_written(config.json.parent, [config.json.name])
