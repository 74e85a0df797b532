"""The table of causes and remedies is whole, and what it says to type exists."""

import pytest

from experiments.remedies import cases as remedies_cases
from jaxrnn.diagnosis import FIRST_AID, REMEDIES, how
from jaxrnn.diagnosis.findings import finding
from jaxrnn.diagnosis.first_aid import SPECIAL

CONDITIONS = {
    *("vanishing", "exploding", "saturated", "dead_units", "non_finite", "short_memory"),
    *("stuck_at_baseline", "unstable", "crawling", "no_gradient"),
}


def test_every_condition_has_its_aid_and_every_remedy_is_advised_or_was_tried():
    assert set(FIRST_AID) == CONDITIONS
    named = set()
    assert set(SPECIAL) <= CONDITIONS
    for condition, aid in [*FIRST_AID.items(), *SPECIAL.items()]:
        assert len(aid.remedies) >= 4 or aid in SPECIAL.values() or condition == "no_gradient"
        assert len(set(aid.remedies)) == len(aid.remedies)
        for remedy in aid.remedies:
            assert how(remedy)
            named |= set(remedy.split("+"))
        # Numbers that are not there read "?", and never fail.
        assert finding(condition, None, aid).cause
    assert set(REMEDIES) <= named | set(remedies_cases.SINGLE) | set(remedies_cases.REMEDIES)


@pytest.mark.parametrize(
    ("condition", "in_use", "advised"),
    [
        # Better than a GRU there is nothing; than an LSTM, a GRU.
        ("short_memory", {"gru"}, ()),
        ("short_memory", {"lstm"}, ("gru",)),
        # What can be done with gates in place.
        ("vanishing", {"gru"}, ("skip", "higher_rate", "momentum", "lstm_projected")),
        ("vanishing", {"gru", "skip"}, ("higher_rate", "momentum", "lstm_projected")),
        ("saturated", {"gru"}, ("gru_projected",)),
    ],
)
def test_gates_are_not_taken_away(condition, in_use, advised):
    assert finding(condition, "cell", in_use=in_use).first_aid == advised


def test_pairs_and_unknown_names():
    assert how("relu+identity_init") == f"{REMEDIES['relu']}; {REMEDIES['identity_init']}"
    with pytest.raises(ValueError, match=r"remedies are gru, lstm, .*, got prayer"):
        how("relu+prayer")
