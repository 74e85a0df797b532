"""The rows of results.json, put together for tables, figures and pages."""

from typing import Any, NamedTuple

Row = dict[str, Any]
PART = "part"  # the method of the row that says how a part went


class Cell(NamedTuple):
    """What a cell is called, and PyTorch's module of it."""

    title: str
    torch_module: str


CELLS = {
    "vanilla": Cell("tanh RNN", "RNN"),
    "gru": Cell("GRU", "GRU"),
    "lstm": Cell("LSTM", "LSTM"),
}


class Compared(NamedTuple):
    """The comparisons of one kind.

    Attributes:
      name: of the kind.
      numbers: how many were compared.
      share: the largest share of its bound that any of them reached.
      difference, bound: of that one.
      failed: how many of the kind's rows failed.
    """

    name: str
    numbers: int
    share: float
    difference: float
    bound: float
    failed: int


def rows_of(results: Row, part: str) -> list[Row]:
    """The rows of a part, without the one that says how it went."""
    return [
        run for run in results["runs"] if run["settings"]["part"] == part and run["method"] != PART
    ]


def is_measured(results: Row) -> bool:
    """Whether this comes from a GPU."""
    return results["environment"].get("gpu") is not None


def kind(method: str) -> tuple[str, str]:
    """What a row of parity compares, and in which precision."""
    name, _, parameters = method.partition("[")
    dtype = "float64" if "float64" in parameters else "float32"
    return name.removeprefix("test_").replace("_", " "), dtype


def compared(results: Row) -> list[Compared]:
    """A line for each kind of comparison, in the order in which they stand."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows_of(results, "parity"):
        if row["final"].get("bound") is not None:
            groups.setdefault(kind(row["method"]), []).append(row["final"])
    lines = []
    for (name, dtype), finals in groups.items():
        worst = max(finals, key=_share)
        failed = sum("failed" in final for final in finals)
        count = sum(final["count"] for final in finals)
        lines.append(
            Compared(
                f"{name}, {dtype}",
                count,
                _share(worst),
                worst["difference"],
                worst["bound"],
                failed,
            )
        )
    return lines


def share_of_bound(difference: float | None, bound: float) -> float:
    """How much of its bound a difference takes; None is one that was not finite."""
    if difference is None or (difference and not bound):
        return float("inf")
    return difference / bound if bound else 0.0


def _share(final: Row) -> float:
    return share_of_bound(final["difference"], final["bound"])


def by_size(rows: list[Row], *names: str) -> dict[tuple, dict[str, Row]]:
    """Settings → method → what was measured."""
    groups: dict[tuple, dict[str, Row]] = {}
    for row in rows:
        size = tuple(row["settings"].get(name) for name in names)
        groups.setdefault(size, {})[row["method"]] = row["final"]
    return groups


def of_jaxrnn(by_method: dict[str, Row]) -> Row:
    """What jaxrnn measured by the path that it takes by default; nothing where it did not."""
    return by_method.get("jaxrnn, fused") or by_method.get("jaxrnn, scan") or {}
