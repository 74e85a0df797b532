"""The README's section on speed, written from the committed results of the benchmark."""

from typing import Any

from experiments.benchmark.figure import title
from experiments.harness.records.evidence import table
from experiments.harness.records.figures import by_setting

# Of one training step on two CPU cores: what has to be reached, and what was aimed for.
TARGETS = {
    "times as fast as torch_ref": {
        "copy": (2.0, 2.5),
        "adding": (3.7, 5.0),
        "copy memory": (1.7, 2.2),
    },
    "times as fast as Flax's own, on one device as it runs by itself": {
        "copy": (1.5, 2.0),
        "adding": (1.8, 2.5),
        "copy memory": (1.7, 2.2),
    },
}
WITHIN_FLOOR = 1.5
PROJECTION = {"qr": 0.20, "qr, every 5": 0.06}

Results = dict[str, Any]


def speed_section(results: Results) -> str:
    """Steps, targets, projection and scaling, in Markdown."""
    parts = by_setting(results["runs"], "part")
    rounds = results["config"]["rounds"]
    blocks = [
        f"Full training steps (forward, backward, clip, Adam; two CPU cores; `python -m "
        f"experiments.benchmark`): how many times as fast as the fastest torch_ref, median of "
        f"{rounds} rounds and quartiles. The floor is a step's matrix products and the sums that "
        f"join them, alone, in loops of the same kind.",
        steps_table(parts["steps"]),
        "Against the targets:",
        targets_table(parts["steps"]),
        "What projecting adds to a step of the copy task:",
        projection_table(parts["projection"]),
        scaling_text(parts["scaling"]),
    ]
    return "\n\n".join(blocks)


def by_task(runs: list[dict]) -> dict[str, dict[str, dict]]:
    """Task → contender → run."""
    groups = by_setting(runs, "task")
    return {task: {run["method"]: run for run in group} for task, group in groups.items()}


def steps_table(runs: list[dict]) -> str:
    """A row for each contender, a column for each task."""
    tasks = by_task(runs)
    headings = [title(found["jaxrnn"]) for found in tasks.values()]
    contenders = dict.fromkeys(run["method"] for run in runs)

    def cell(task: str, contender: str) -> str:
        if contender not in tasks[task]:
            return "-"
        final = tasks[task][contender]["final"]
        quartiles = f"{final['speed_up_low']:.2f}–{final['speed_up_high']:.2f}"
        milliseconds = final["ms_per_step"]
        digits = 0 if milliseconds >= 100 else 1
        return f"{final['speed_up']:.2f} ({quartiles}), {milliseconds:,.{digits}f} ms"

    return table(
        ["", *headings],
        [[contender, *(cell(task, contender) for task in tasks)] for contender in contenders],
    )


def targets_table(runs: list[dict]) -> str:
    """What jaxrnn reaches, beside what it had to and what was aimed for."""
    tasks = by_task(runs)
    ours = {task: found["jaxrnn"]["final"] for task, found in tasks.items()}
    names = dict(zip(TARGETS, ("speed_up", "speed_up_over_flax"), strict=True))
    rows = []
    for label, targets in TARGETS.items():
        cells = []
        for task, (needed, aim) in targets.items():
            value = ours[task][names[label]]
            verdict = "missed" if value < needed else "reached" if value < aim else "aim reached"
            cells.append(f"{value:.2f} ({needed} → {aim}): {verdict}")
        rows.append([label, *cells])
    over_floor = [ours[task]["over_floor"] for task in tasks]
    verdicts = ["reached" if value <= WITHIN_FLOOR else "missed" for value in over_floor]
    rows.append(
        [
            f"time over the floor's (at most {WITHIN_FLOOR})",
            *(f"{value:.2f}: {word}" for value, word in zip(over_floor, verdicts, strict=True)),
        ]
    )
    floors = [found["floor"]["final"] for found in tasks.values()]
    rows.append(
        [
            "the floor, of what one large product reaches",
            *(f"{final['gflops'] / final['peak_gflops']:.0%}" for final in floors),
        ]
    )
    return table(["", *tasks], rows)


def percent(cost: dict) -> str:
    """A cost as a share, and its quartiles."""
    return f"{cost['cost']:.0%} ({cost['cost_low']:.0%} to {cost['cost_high']:.0%})"


def projection_table(runs: list[dict]) -> str:
    """The cost of each retraction, as a share of a step without any."""
    rows = []
    for run in runs:
        if run["method"] == "never":
            continue
        final, most = run["final"], PROJECTION.get(run["method"])
        target = ""
        if most is not None:
            target = f"at most {most:.0%}: {'reached' if final['cost'] <= most else 'missed'}"
        rows.append([run["method"], percent(final), target])
    return table(["", "adds (quartiles)", "target"], rows)


def scaling_text(runs: list[dict]) -> str:
    """Exponents, and whether Flax is ever ahead."""
    found = {(run["method"], run["settings"]["axis"]): run for run in runs}
    least = min(
        (ratio, axis, value)
        for (method, axis), run in found.items()
        if method == "jaxrnn"
        for ratio, value in zip(
            run["history"]["speed_up_over_flax"], run["history"][axis], strict=True
        )
    )

    def final(method: str, axis: str, name: str) -> str:
        return f"{found[method, axis]['final'][name]:.2f}"

    times = found["jaxrnn", "T"]["history"]["T"]
    time = final("jaxrnn", "T", "time_exponent")
    memory = final("jaxrnn", "T", "memory_exponent")
    recomputing = final("jaxrnn, recomputing", "T", "memory_exponent")
    return (
        f"On the adding problem (B 16, N 100, T 100, one of them varied) time grows with T, from "
        f"{times[0]} to {times[-1]:,}, as T^{time}, and what the gradient needs in memory (by "
        f"XLA's count, on one device) as T^{memory}, or with `recompute=True` as T^{recomputing}. "
        f"Against Flax's own on one device the least of the sweep over T, N and B is "
        f"{least[0]:.2f} times as fast, at {least[1]} = {least[2]}."
    )
