"""What the README says of the speed of language models and the cost of diagnostics."""

from typing import Any

from experiments.harness.records.figures import by_setting, select


def analysis_sentence(results: dict[str, Any]) -> str:
    """How fast language models train, and what diagnosing costs."""
    parts = by_setting(results["runs"], "part")

    def said(run: dict) -> str:
        final = run["final"]
        return f"{final['ratio']:.2f} ({final['ratio_low']:.2f} to {final['ratio_high']:.2f})"

    ours = select(parts["training"], method="jaxrnn")[0]
    alone = select(parts["training"], method="jaxrnn, one device")[0]
    speed = ours["final"]["characters_per_second"]
    costs = ", ".join(f"{said(run)} for {run['method']}" for run in parts["diagnostics"])
    verdict = "reached" if ours["final"]["ratio"] >= 2.5 else "missed"
    return (
        f"A language model (N = 100, T = 35, B = 32) trains {said(ours)} times as fast as the "
        f"fastest torch_ref (target: 2.5, {verdict}), {said(alone)} on one device; {speed:,.0f} "
        "characters a second (median, quartiles; `python -m experiments.analysis_speed`). To "
        "measure the states of a network, their gradients, saturation and dead units takes as long "
        f"as its ordinary gradient, times (target: at most 2): {costs}."
    )
