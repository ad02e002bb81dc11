"""Rounds and statistics, on clocks that tick by hand."""

import pytest

from fastmlp.benchmark.protocol import Configuration, Measurement, in_rounds


class Table:
    """Turns that take given seconds of a clock that only they move, and note when they were called."""

    def __init__(self, **seconds):
        self.now = 0.0
        self.calls = []
        self.turns = {name: lambda name=name, taken=taken: self.turn(name, taken) for name, taken in seconds.items()}

    def turn(self, name, taken):
        self.calls.append(name)
        self.now += taken
        return [taken]

    def play(self, repeats, patience=100.0):
        return in_rounds(self.turns, repeats, patience, clock=lambda: self.now, sleep=lambda seconds: self.calls.append("pause"))


def test_everybody_has_a_turn_in_each_round_and_another_begins():
    table = Table(a=1, b=1, c=1)
    table.play(3)
    assert "".join(call for call in table.calls if call != "pause") == "abcbcacab"


def test_times_of_all_rounds_are_returned():
    assert Table(a=1, b=2).play(2) == {"a": [1, 1], "b": [2, 2]}


def test_turn_may_give_several_times():
    assert in_rounds({"a": lambda: [0.1, 0.2]}, 2, 100.0, sleep=lambda seconds: None) == {"a": [0.1, 0.2, 0.1, 0.2]}


def test_slow_one_sits_out_when_patience_is_at_an_end():
    assert Table(slow=20, quick=1).play(4, patience=30.0) == {"slow": [20, 20], "quick": [1, 1, 1, 1]}


def test_slowest_one_still_has_one_turn():
    assert Table(slow=1000).play(3, patience=30.0) == {"slow": [1000]}


def test_cores_are_left_alone_before_every_turn():
    table = Table(a=1, b=1)
    table.play(2)
    assert table.calls[::2] == ["pause"] * 4


def test_rounds_are_announced():
    said = []
    in_rounds({"a": list}, 2, 1.0, said.append, sleep=lambda seconds: None)
    assert said == ["round 1 of 2", "round 2 of 2"]


def test_nobody_to_time_is_no_error():
    assert in_rounds({}, 2, 1.0) == {}


@pytest.mark.parametrize(("seconds", "median", "best"), [((3.0, 1.0, 2.0), 2.0, 1.0), ((1.0, 4.0), 2.5, 1.0), ((), None, None)])
def test_median_and_best(seconds, median, best):
    measurement = Measurement(Configuration("numpy", "plain", 1), seconds)
    assert (measurement.median, measurement.best) == (median, best)
