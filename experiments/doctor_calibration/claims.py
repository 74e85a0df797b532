"""How often diagnose is right, in a sentence."""

from experiments.harness.records.evidence import load
from experiments.harness.records.figures import by_setting


def doctor_sentence() -> str:
    """How often diagnose is right."""
    said = []
    for name, runs in by_setting(load("doctor")["runs"], "set").items():
        right = sum(run["final"]["right"] for run in runs)
        healthy = [run for run in runs if run["settings"]["label"] == "healthy"]
        wrong = sum(run["final"]["conditions"] != ["healthy"] for run in healthy)
        said.append(
            f"{right} of {len(runs)} networks of the {name.replace('_', '-')} set, "
            f"and finds a fault in {wrong} of its {len(healthy)} healthy ones"
        )
    return (
        "On networks whose condition is known by their construction, or by whether they learn to "
        "recall their first input (`python -m experiments.doctor_calibration`), it is right on "
        f"{'; on '.join(said)}. Thresholds were chosen on the calibration set; the held-out one, "
        "of other families, was frozen before that. This is the second scoring: how early inputs "
        "and padded sequences are measured was fixed after the first, which had come out the same. "
        "Most networks are clearly healthy or clearly not."
    )
