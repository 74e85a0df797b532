"""The rules, on evidence made by hand."""

import math

import pytest

from jaxrnn.diagnosis import FIRST_AID, Thresholds
from jaxrnn.diagnosis.judge_network import find
from jaxrnn.diagnosis.measure_network import Kernel
from tests.diagnosis.support import evidence

NAN, INF = math.nan, math.inf
LIMITS = Thresholds(vanishing=1e-3, exploding=1e3, saturated=0.5, dead_units=0.4, short_memory=0.1)


def found(**changes):
    return [(one.condition, one.layer) for one in find(evidence(**changes), LIMITS)]


@pytest.mark.parametrize(
    ("condition", "faulty", "sound"),
    [
        ("vanishing", {"memory": (0.9e-3, 0.1, 1.0)}, {"memory": (1.1e-3, 0.1, 1.0)}),
        ("vanishing", {"memory": (0.0, 0.0, 1.0)}, {"memory": (0.01, 0.0, 1.0)}),
        ("exploding", {"memory": (1.1e3, 10.0, 1.0)}, {"memory": (0.9e3, 10.0, 1.0)}),
        ("exploding", {"memory": (1.0, 1.1e3, 1.0)}, {"memory": (1.0, 0.9e3, 1.0)}),
        ("exploding", {"memory": (NAN, INF, 1.0)}, {"memory": (NAN, 10.0, 1.0)}),
        ("saturated", {"saturated": 0.51}, {"saturated": 0.49}),
        ("saturated", {"saturated": 1.0}, {"saturated": NAN}),
        ("dead_units", {"dead": 0.41}, {"dead": 0.39}),
    ],
)
def test_a_layer_at_either_side_of_a_threshold(condition, faulty, sound):
    assert found(**faulty) == [(condition, "cell")]
    assert found(**sound) == []
    assert found(upper=faulty) == [(condition, "upper")]


def test_the_whole_model():
    assert found() == []
    assert found(early_share=0.09) == [("short_memory", None)]
    assert found(early_share=0.11) == found(early_share=NAN) == []
    assert found(not_finite="the loss") == [("non_finite", None)]


def test_of_states_that_are_not_finite_only_growth_is_judged():
    faulty = {"first_not_finite": 3, "saturated": 1.0, "dead": 1.0}
    assert found(**faulty, memory=(0.0, 0.0, 1.0)) == []
    assert found(**faulty, memory=(1e9, NAN, 1.0)) == [("exploding", "cell")]


def test_several_hold():
    vanished = {"memory": (0.0, 1e-5, 1.0), "saturated": 0.9}
    assert found(**vanished, early_share=0.0, upper={"dead": 1.0}) == [
        ("saturated", "cell"),
        ("vanishing", "cell"),
        ("dead_units", "upper"),
        ("short_memory", None),
    ]


def test_findings_name_cause_numbers_and_first_aid():
    (one,) = find(evidence(memory=(2.5e-7, 0.1, 1.0), memory_rate=0.03, steps=2), LIMITS)
    assert "at the end 2.5e-07 is left 2 steps before (a factor of 0.03 a step" in one.cause
    assert "spectral radius is 0.90" in one.cause
    assert one.numbers["memory_left"] == 2.5e-7
    assert one.first_aid == FIRST_AID["vanishing"].remedies
    (one,) = find(evidence(not_finite="parameter cell/h/kernel"), LIMITS)
    assert "the first place with NaN or Inf is parameter cell/h/kernel" in one.cause


def test_a_special_cause():
    (one,) = find(evidence(not_finite="targets"), LIMITS)
    assert "targets: the data have it" in one.cause
    assert one.first_aid == ("clean_data",)

    # atanh(√0.9)² = 3.31: of W_hh alone half the units are saturated from a norm of 1.286 on.
    for norms, advice in (
        ([1.28], "scaled_inputs"),
        ([1.29], FIRST_AID["saturated"].remedies[0]),
        ([0.1, 0.1], FIRST_AID["saturated"].remedies[0]),  # gates
    ):
        kernels = {f"cell/h{i}/kernel": Kernel(0.1, (norm,)) for i, norm in enumerate(norms)}
        (one,) = find(evidence(saturated=0.5001, kernels=kernels), LIMITS)
        assert one.first_aid[0] == advice
    assert "W_hh (spectral norm 1.1) is too small" in find(evidence(saturated=0.6), LIMITS)[0].cause

    def first_aid(cell, *memory):
        (one,) = find(evidence(cell=cell, memory=memory, steps=2), LIMITS)
        return one.first_aid[0]

    assert first_aid("TruncatedCell(GRUCell)", 0.0, 0.8, 1.0) == "longer_bptt"
    # Without the cut it would not be better.
    advised = FIRST_AID["vanishing"].remedies[0]
    assert first_aid("TruncatedCell(VanillaCell)", 0.0, 1e-7, 1.0) == advised
    assert first_aid("VanillaCell", 0.0, 0.8, 1.0) == advised


def test_a_cell_whose_kernels_have_other_names():
    (one,) = find(evidence(memory=(0.0, 0.0, 1.0), kernels={}), LIMITS)
    assert "spectral radius is ?" in one.cause


@pytest.mark.parametrize(
    ("layer", "in_use"),
    [
        ({"cell": "MGUCell", "activation": "modrelu"}, "modrelu"),
        ({"cell": "VanillaCell", "activation": "relu"}, "relu"),
    ],
)
def test_what_a_cell_is_already_is_not_advised(layer, in_use):
    (one,) = find(evidence(early_share=0.0, **layer), LIMITS)
    advised = FIRST_AID["short_memory"].remedies
    assert in_use in advised
    assert one.first_aid == tuple(name for name in advised if name != in_use)
    (one,) = find(evidence(memory=(1e9, 10.0, 1.0), **layer), LIMITS)
    assert in_use not in one.first_aid


@pytest.mark.parametrize(
    ("cell", "advised"),
    [("GRUCell", ()), ("SkipCell(LeakyCell(OptimizedLSTMCell))", ("gru",))],
)
def test_gates_are_advised_what_keeps_them_and_was_better(cell, advised):
    (one,) = find(evidence(early_share=0.0, cell=cell), LIMITS)
    assert one.first_aid == advised


def test_without_a_gradient():
    (one,) = find(evidence(gradient_norm=0.0, gradient=(0.0,) * 5, loss=0.25), LIMITS)
    assert (one.condition, one.layer) == ("no_gradient", None)
    assert "the gradient of the loss, 0.25, is exactly 0" in one.cause
    (one,) = find(evidence(upper={}, gradient=(0.0,) * 5), LIMITS)
    assert (one.condition, one.layer) == ("no_gradient", "cell")
    # What vanishes is still there at the end; what is not finite is not zero.
    assert not find(evidence(gradient=(0.0, 0.0, 0.0, 0.0, 1e-30)), LIMITS)
    assert not find(evidence(gradient=(NAN,) * 5), LIMITS)


def test_what_could_not_be_measured_is_left_open():
    (one,) = find(evidence(memory=(0.0, 0.0, 1.0), memory_rate=NAN), LIMITS)
    assert "(a factor of ? a step" in one.cause
