"""Reports as text, JSON and a figure."""

import json
import math

from jaxrnn.diagnosis import FIRST_AID, REMEDIES, Report, Thresholds
from jaxrnn.diagnosis.judge_network import find
from tests.diagnosis.support import evidence

FAULTY = {
    "memory": (0.0, 1e-30, math.nan, math.inf, 1.0),
    "memory_rate": math.nan,
    "saturated": 0.9,
}


def report(**changes):
    seen = evidence(**changes)
    return Report(find(seen, Thresholds()), seen, Thresholds())


def test_healthy():
    text = str(report())
    assert report().conditions == ("healthy",)
    assert text.startswith("healthy\n")
    assert "loss 1.25, gradient norm 0.5, early inputs move the outputs by 40%" in text
    assert "→" not in text


def test_each_condition_once_but_each_layer_named():
    faulty = report(**FAULTY, upper=FAULTY, early_share=math.nan)
    assert faulty.conditions == ("saturated", "vanishing", "exploding")
    text = str(faulty)
    assert "vanishing (cell)" in text
    assert "vanishing (upper)" in text
    first = FIRST_AID["vanishing"].remedies[0]
    assert f"→ {first}: {str(REMEDIES[first])[:20]}" in text
    assert max(map(len, text.splitlines())) <= 102


def test_json_has_no_nan(tmp_path):
    def refuse(constant):
        raise AssertionError(f"{constant} in a report")

    path = tmp_path / "report.json"
    report(**FAULTY, early_share=math.nan).save(path)
    loaded = json.loads(path.read_text(), parse_constant=refuse)
    assert loaded["conditions"] == ["saturated", "vanishing", "exploding"]
    layer = loaded["evidence"]["layers"]["cell"]
    assert layer["memory"] == [0.0, 1e-30, None, None, 1.0]
    assert loaded["evidence"]["early_share"] is None
    assert loaded["thresholds"]["saturated"] == Thresholds().saturated
    second = loaded["findings"][1]
    assert (second["condition"], second["layer"]) == ("vanishing", "cell")
    assert list(second["how"]) == second["first_aid"] == list(FIRST_AID["vanishing"].remedies)


def test_figures(tmp_path):
    faulty = {**FAULTY, "early_share": math.nan}
    for name, changes in (("faulty", faulty), ("sound", {"upper": {}})):
        path = tmp_path / f"{name}.png"
        report(**changes).figure(path)
        assert path.read_bytes().startswith(b"\x89PNG")
