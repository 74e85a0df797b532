"""Claims 3 and 4: projecting seldom, and which retraction."""

from experiments.benchmark.claims import percent
from experiments.harness.records.evidence import Row, last_epochs, load, spread
from experiments.harness.records.figures import select


def claim_3() -> Row:
    """Is every fifth step enough?"""
    runs = load("retractions")["runs"]
    every, fifth = (select(runs, method=method) for method in ("qr", "qr, every 5"))
    every = [run for run in every if run["settings"]["part"] == "training"]
    cost = {
        run["method"]: run["final"]
        for run in load("benchmark")["runs"]
        if run["settings"]["part"] == "projection"
    }
    is_less = cost["qr, every 5"]["cost_high"] < cost["qr"]["cost_low"]
    for_less = "**holds**" if is_less else "**not shown**: the quartiles of the two costs overlap"
    return (
        "Projecting every 5 steps does as well as every step, for less",
        "`experiments.retractions`, `experiments.benchmark`",
        f"validation loss {last_epochs(fifth, 'val_loss', 5, 4)} every 5, "
        f"{last_epochs(every, 'val_loss', 5, 4)} every step (mean of the last five epochs, which "
        f"end 0 to 4 steps after a projection); added to a step: "
        f"{percent(cost['qr, every 5'])} and {percent(cost['qr'])}, quartiles in brackets",
        f"as well **holds**; for less {for_less}",
    )


def claim_4() -> Row:
    """Signs, nearness and stability of the retractions."""
    runs = load("retractions")["runs"]
    trained = [run for run in runs if run["settings"]["part"] == "training"]
    unsigned, nearest, signed = (
        select(trained, method=method) for method in ("qr_unsigned", "polar", "qr")
    )
    single = next(run for run in runs if run["settings"]["part"] == "single steps")["final"]
    accuracy = {
        run["method"]: dict(zip(*run["history"].values(), strict=True))
        for run in runs
        if run["settings"]["part"] == "accuracy"
    }

    def error(name: str, condition: float) -> str:
        value = accuracy[name][condition]
        return "NaN" if value is None else f"{value:.0e}"

    stability = ", ".join(
        f"{label} {error(name, 1e2)} / {error(name, 1e4)}"
        for name, label in (
            ("qr", "Householder"),
            ("gram_schmidt", "classical Gram–Schmidt"),
            ("modified_gram_schmidt", "modified"),
            ("cholesky", "Cholesky"),
        )
    )
    return (
        "Sign correction matters and keeps the determinant stable; QR is the nearest orthogonal "
        "matrix; Householder is more stable than Gram–Schmidt",
        "`experiments.retractions`",
        f"without signs: loss {spread(unsigned, 'val_loss')}, each projection moving W_hh by "
        f"{single['qr_unsigned_distance_median']:.1f} instead of "
        f"{single['qr_distance_median']:.2f}; the determinant changed sign "
        f"{single['qr_unsigned_sign_changes']} times without and "
        f"{single['qr_sign_changes']} with them; polar moves it by "
        f"{single['polar_distance_median']:.2f}, and QR lands "
        f"{single['qr_to_polar_median']:.2f} away from it; polar's loss "
        f"{spread(nearest, 'val_loss', 4)}, QR's {spread(signed, 'val_loss', 4)}; orthogonality "
        f"error at condition 1e2 / 1e4: {stability}",
        "signs **hold**; the determinant **fails**: it keeps its sign either way; QR as the "
        "nearest **fails**: polar is nearer, and learns to half the loss; Householder **holds**",
    )
