"""`fastmlp speedrun`: what it prints, its record, and what it refuses. One seed of the real thing takes a second or two."""

import json
import sys

import pytest


@pytest.fixture(scope="module")
def record(mnist, tmp_path_factory):
    """Return the record of two seeds."""
    import contextlib
    import io

    from fastmlp.cli import run

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert run(["speedrun", "mnist", "--target", "98", "--seeds", "2", "--threads", "1", "--json"]) == 0
    return json.loads(out.getvalue())


def test_record_has_every_run_and_what_follows_from_them(record):
    ours = record["ours"]
    assert [run["seed"] for run in ours["runs"]] == [0, 1]
    accuracies = [run["accuracy"] for run in ours["runs"]]
    assert ours["accuracy"]["mean"] == pytest.approx(sum(accuracies) / 2)
    assert ours["lower_bound"] <= min(accuracies)  # both may be the same
    assert min(run["seconds"] for run in ours["runs"]) <= ours["median_seconds"] <= max(run["seconds"] for run in ours["runs"])
    assert record["reached"] is (ours["accuracy"]["mean"] >= 0.98)


def test_record_says_what_was_run_on_what(record):
    assert (record["command"], record["dataset"], record["target"], record["test_openings"]) == ("speedrun", "mnist", 98, 2)
    assert record["settings"]["train"]["schedule"] == "linear"
    assert record["settings"]["network"]["hidden"] == [record["sizes"][1]]
    assert record["machine"]["cores"] >= 1
    assert record["peers"] == []


def test_record_tells_start_and_compilation_apart(record):
    seconds = record["seconds"]
    assert 0 < seconds["load"] < seconds["total"]
    assert 0 <= seconds["compile"] < seconds["total"]


def test_text_names_recipe_times_and_verdict(command):
    result = command("speedrun", "mnist", "--seeds", 1, "--threads", 1)
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0].startswith("mnist, target 98 %: 784-")
    assert lines[3].startswith("fastmlp ")
    assert lines[-2].split(":")[0] in ("reached", "missed")
    assert lines[-1].startswith("apart from that: imports and loading ")
    assert "seed 0: " in result.err


def test_quiet_leaves_the_verdict(command):
    result = command("speedrun", "mnist", "--seeds", 1, "--threads", 1, "--quiet")
    assert len(result.out.splitlines()) == 1
    assert result.err == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fashion-mnist"], "Invalid value for DATASET: expected mnist, the only data set with such recipes, got fashion-mnist"),
        (["mnist", "--target", "97"], "Invalid value for --target: expected one of 98, 99, got 97"),
        (["mnist", "--peer", "jaks"], "Invalid value for --peer: expected one of jax, torch, numpy, got 'jaks'; "),
        (["mnist", "--seeds", "0"], "Invalid value for '--seeds'"),
    ],
)
def test_what_cannot_be_run_is_refused(command, arguments, message):
    result = command("speedrun", *arguments)
    assert result.code == 2
    assert message in result.err
    assert len(result.err.splitlines()) == 1


def test_a_peer_that_is_not_installed_is_told_before_the_data_are_loaded(command, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    result = command("speedrun", "mnist", "--peer", "jax", "--data-dir", "nowhere")
    assert result.code == 69
    assert "pip install 'fastmlp[bench]'" in result.err
    assert "loading" not in result.err
