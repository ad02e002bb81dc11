"""Random combinations of all settings take the steps of the float64 oracle."""

from collections import Counter

import pytest

from fastmlp.engines.choice import tiles_pay
from fastmlp.settings import SCHEDULES
from tests.combinations import cases
from tests.combinations.agreement import assert_equal_to_the_oracle
from tests.oracle import losses
from tests.oracle.activations import ACTIVATIONS
from tests.quality.counts import count, recorded

COUNT = count(cases.FEW, 2000)


@pytest.mark.parametrize("number", range(COUNT))
def test_random_combination_trains_as_the_oracle_does(number):
    with recorded("N9"):
        assert_equal_to_the_oracle(cases.drawn(number))


@pytest.mark.parametrize("number", range(20))
def test_random_combination_trains_as_the_oracle_does_without_a_compiler(number):
    assert_equal_to_the_oracle(cases.drawn(number), kernels="python")


def test_what_is_drawn_covers_everything_there_is():
    drawn = [cases.first_draw(number) for number in range(cases.FEW)]
    found = Counter(value for case in drawn for value in {*case.activations, case.loss, case.normalization, case.settings["optimizer"]})
    found.update(value for case in drawn for value in (case.settings["schedule"], case.settings["average"]))
    found.update(name for case in drawn for name in cases.DEFAULTS if case.settings.get(name, 0) != cases.DEFAULTS[name])
    found.update(name for case in drawn for name in ("validation", "sample_weight", "class_weight") if getattr(case, name) is not None)
    expected = {*ACTIVATIONS, *losses.OUTPUT_OF, *cases.LEARNING_RATES, *SCHEDULES, *cases.DEFAULTS, "batch", "layer", "ema", "swa"}
    assert {name: found[name] for name in expected if found[name] < 5} == {}
    by_tiles = [case for case in drawn if case.settings["kernels"] == "auto" and tiles_pay(tuple(case.sizes), case.settings["batch_size"])]
    assert len(by_tiles) >= 45
