"""The table of causes and remedies is whole, and what it says to type exists."""

import pytest

from jaxrnn.diagnosis import FIRST_AID, REMEDIES, how
from jaxrnn.diagnosis.findings import finding
from jaxrnn.diagnosis.first_aid import BAD_DATA, TRUNCATED

CONDITIONS = {
    *("vanishing", "exploding", "saturated", "dead_units", "non_finite", "short_memory"),
    *("stuck_at_baseline", "unstable", "crawling"),
}


def test_every_condition_has_its_aid_and_every_remedy_its_use():
    assert set(FIRST_AID) == CONDITIONS
    named = set()
    special = {"vanishing": TRUNCATED, "non_finite": BAD_DATA}
    for condition, aid in [*FIRST_AID.items(), *special.items()]:
        assert len(aid.remedies) >= 5 or aid in special.values()
        assert len(set(aid.remedies)) == len(aid.remedies)
        for remedy in aid.remedies:
            assert how(remedy)
            named |= set(remedy.split("+"))
        # Numbers that are not there read "?", and never fail.
        assert finding(condition, None, aid).cause
    alternatives = {"sgd", "momentum", "rmsprop", "henaff_init", "clip_norm_5"}
    alternatives |= {"gru_projected", "lstm_projected"}
    assert set(REMEDIES) - named <= alternatives


def test_pairs_and_unknown_names():
    assert how("relu+identity_init") == f"{REMEDIES['relu']}; {REMEDIES['identity_init']}"
    with pytest.raises(ValueError, match=r"remedies are gru, lstm, .*, got prayer"):
        how("relu+prayer")
