"""Starts: what is measured is a process from its start to its end."""

import importlib.util

import pytest

from fastmlp.benchmark import startup
from fastmlp.benchmark.startup import IMPORTS, Start
from fastmlp.errors import FastmlpError


def test_process_that_sleeps_takes_its_time():
    assert startup._run(["-c", "import time; time.sleep(0.3)"], None) >= 0.3


def test_process_that_fails_is_an_error_that_quotes_it():
    with pytest.raises(FastmlpError, match="code 1: ZeroDivisionError"):
        startup._run(["-c", "1 / 0"], None)


def test_every_start_is_measured_and_the_missing_ones_say_so(monkeypatch):
    monkeypatch.setitem(IMPORTS, "torch", "PyTorch")
    monkeypatch.setattr(startup.importlib.util, "find_spec", lambda name: None if name == "torch" else object())
    monkeypatch.setattr(startup, "_run", lambda arguments, cache: 0.25 if cache is None else 0.5)
    found = {start.what: start for start in startup.measure(3)}
    assert found["import PyTorch"].fault.startswith("not installed: torch; pip install")
    assert found["import NumPy"].seconds == (0.25,) * 3
    assert found["first training, PyTorch"].fault == found["import PyTorch"].fault
    assert found["first training, fastmlp"].median == found["first prediction, scikit-learn"].median == 0.5
    assert found["first training ever, fastmlp, with compilation"].seconds == (0.5,)


@pytest.mark.parametrize("title", startup.FIRST)
def test_what_a_script_does_first_runs_in_each_that_is_installed(title):
    package, *scripts = startup.FIRST[title]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    for script in scripts:
        assert startup._run(["-c", script], None) > 0


def test_start_without_a_time_has_none():
    assert (Start("x").median, Start("x").best) == (None, None)
