"""What the README says of the cost of checkpoints."""

from typing import Any


def checkpoint_sentence(results: dict[str, Any]) -> str:
    """What a checkpoint every 500 steps costs."""
    shares = ", ".join(
        f"{100 * run['final']['share']:.1f}% ({100 * run['final']['share_low']:.1f} to "
        f"{100 * run['final']['share_high']:.1f}) in {name}"
        for run, name in zip(results["runs"], ("JAX", "PyTorch"), strict=True)
    )
    return (
        "A checkpoint every 500 steps of the adding problem adds to their time (median, quartiles; "
        f"`python -m experiments.checkpoint_cost`; target: under 5%): {shares}."
    )
