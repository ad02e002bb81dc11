"""`fastmlp bench`: small measurements for real, and kernels that were made wrong or slow."""

import json
import os
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

from fastmlp.benchmark import ladder
from fastmlp.benchmark.ladder import Ladder, Row
from fastmlp.benchmark.machine_peaks import Peaks
from fastmlp.benchmark.protocol import Configuration
from fastmlp.benchmark.workloads import WORKLOADS
from tests.structure.sources import ROOT


@pytest.mark.long
def test_workload_is_measured_printed_and_saved(command, tmp_path):
    result = command("bench", "peers", "--workload", "L", "--quick", "--save", "found.json")
    assert result.code == 0
    assert result.out.startswith(f"L  {WORKLOADS['L'].title}: time per call\n")
    record = json.loads((tmp_path / "found.json").read_text())
    assert {"cpu", "cores", "python"} <= set(record["machine"])
    assert {"fastmlp", "numpy", "numba"} <= set(record["versions"])
    (workload,) = record["workloads"]
    numpy = next(each for each in workload["times"] if each["peer"] == "numpy")
    assert 0 < numpy["best"] <= numpy["median"]
    assert numpy["fault"] is None
    ratio = next(each for each in workload["ratios"] if each["against"]["peer"] == "numpy")
    assert ratio["ratio"] > 0


@pytest.fixture
def made_up(monkeypatch):
    """Measure nothing: let every rung of a ladder that is asked for take as long as this fixture's `seconds` say."""
    asked = SimpleNamespace(seconds={ladder.LISTS: 8.0, ladder.NJIT: 0.5}, fault=None)

    def measure(scenes, repeats, quick, only, data_dir, notify):
        asked.arguments = ([scene.key for scene in scenes], repeats, quick, only, data_dir)
        notify("measuring")
        rows = [
            Row(
                "forward",
                rung,
                Configuration(rung.peer, rung.variant, 1),
                50,
                (seconds,) * (0 if asked.fault else 3),
                error=1e-7,
                fault=asked.fault,
            )
            for rung, seconds in asked.seconds.items()
        ]
        return [Ladder(scene, rows, Peaks(2, 64, (1e11, 2e11), (5e10, 9e10), (1e10, 2e10)), {}) for scene in scenes]

    monkeypatch.setattr(ladder, "measure", measure)
    return asked


def test_ladder_asked_for_is_measured_drawn_and_saved(command, made_up, tmp_path):
    line = ("bench", "kernels", "--rung", "lists", "--rung", "njit", "--repeats", "3", "--data-dir", tmp_path)
    result = command(*line, "--save", "found.json", "--plot", "ladder.svg", "--json")
    assert result.code == 0, result.err
    assert made_up.arguments == (["layer"], 3, False, ["lists", "njit"], tmp_path)
    assert result.json["what"] == "kernels"
    assert [row["median"] for row in result.json["ladders"][0]["rows"]] == [8.0, 0.5]
    assert json.loads((tmp_path / "found.json").read_text())["ladders"][0]["rows"] == result.json["ladders"][0]["rows"]
    assert (tmp_path / "ladder.svg").read_bytes().startswith(b"<?xml")
    assert "a quick run measures few rows" not in result.err
    assert "a quick run measures few rows" in command("bench", "kernels", "--quick").err
    assert made_up.arguments == (["layer"], 5, True, None, None)


def test_rung_that_became_slower_is_told_with_how_much(command, made_up):
    line = ("bench", "kernels")
    assert command(*line, "--save", "before.json").code == 0
    assert command(*line, "--compare", "before.json").code == 0
    made_up.seconds[ladder.NJIT] = 1.0
    result = command(*line, "--compare", "before.json")
    assert result.code == 1
    assert (
        "error: 1 of 2 rows became slower beyond noise, most of all layer forward kernels, @njit on 1, 50 rows: 2.00 times as" in result.err
    )


def test_kernel_that_computes_something_else_is_shown_but_not_saved(command, made_up, tmp_path):
    made_up.fault = "computes something else: error 1.0e+00"
    result = command("bench", "kernels", "--save", "wrong.json")
    assert result.code == 70
    assert "computes something else" in result.out
    assert not (tmp_path / "wrong.json").exists()


@pytest.mark.long
def test_ladder_is_measured_drawn_saved_and_compared(command, tmp_path):
    line = ("bench", "kernels", "--quick", "--rung", "lists", "--rung", "njit", "--rung", "numpy", "--repeats", "1")
    result = command(*line, "--save", "found.json", "--plot", "ladder.svg", "--json")
    assert result.code == 0
    (found,) = result.json["ladders"]
    assert result.json["what"] == "kernels"
    rows = {(row["operation"], row["rung"]): row for row in found["rows"]}
    assert len(rows) == 9
    for operation in ("forward", "backward", "update"):
        assert rows[operation, "lists"]["extrapolated"]
        assert rows[operation, "njit"]["speed_up"] > 1  # of hundreds: even a busy machine is that quick
        assert rows[operation, "njit"]["error"] <= 1e-4
        assert rows[operation, "njit"]["fault"] is None
    assert len(found["peaks"]["flops"]) == 2
    (saved,) = json.loads((tmp_path / "found.json").read_text())["ladders"]
    assert saved["rows"] == found["rows"]
    assert (tmp_path / "ladder.svg").read_bytes().startswith(b"<?xml")


def test_busy_machine_is_told(command, monkeypatch):
    monkeypatch.setattr("os.getloadavg", lambda: (7.25, 0.0, 0.0))
    monkeypatch.setattr("fastmlp.benchmark.startup.measure", lambda repeats, quick, notify: [])
    assert "other programs keep 7.2 of" in command("bench", "startup").err


def test_help_comes_with_examples_and_words(command):
    shown = command("bench", "--help").out
    assert "fastmlp bench --quick" in shown
    for word in ("kernels", "step", "epoch", "scaling", "startup", "predict", "peers", "all"):
        assert word in shown


@pytest.mark.parametrize(
    "arguments",
    [
        ("peers", "--workload", "Z"),
        ("peers", "--repeats", "0"),
        ("peer",),
        ("epoch", "--workload", "A"),
        ("peers", "--rung", "tiles"),
        ("kernels", "--rung", "tile"),
        ("kernels", "--avx2"),
        ("startup", "--plot", "x.svg"),
        ("kernels", "--plot", "x.pdf"),
    ],
)
def test_wrong_flag_is_a_usage_error(command, arguments):
    assert command("bench", *arguments).code == 2


def test_word_that_is_nearly_right_is_suggested(command):
    assert "did you mean 'kernels'?" in command("bench", "kernel").err


def test_file_that_cannot_be_created_is_told_before_anything_is_measured(command):
    assert command("bench", "peers", "--workload", "L", "--save", "no/such/folder.json").code == 73
    assert command("bench", "kernels", "--plot", "no/such/folder.png").code == 73


def test_file_to_compare_with_is_read_before_anything_is_measured(command, tmp_path):
    assert command("bench", "kernels", "--compare", "none.json").code == 66
    (tmp_path / "wrong.json").write_text("{}")
    assert command("bench", "kernels", "--compare", "wrong.json").code == 65


# --- kernels that were changed: a copy of the package, measured as anybody would ------------------------------------------

FORWARD = """        for n in range(N):
            out[m, n] = bias[n]
        for k in range(K):"""


@pytest.fixture
def changed(tmp_path):
    """Run `bench kernels` on a copy of the package in which dense_forward was changed."""
    shutil.copytree(ROOT / "fastmlp", tmp_path / "fastmlp", ignore=shutil.ignore_patterns("__pycache__"))
    source = tmp_path / "fastmlp" / "kernels" / "textbook.py"
    original = source.read_text()
    assert original.count(FORWARD) == 1

    def changed(replacement, *arguments):
        source.write_text(original.replace(FORWARD, replacement))
        line = [sys.executable, "-m", "fastmlp", "bench", "kernels", "--quick", "--rung", "njit", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        return subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)

    return changed


@pytest.mark.long
def test_slowed_kernel_is_caught_by_compare_and_no_other(changed):
    before = changed(FORWARD, "--save", "before.json")
    assert before.returncode == 0, before.stderr
    # the same answer, after 30 times the work
    slowed = "        for again in range(30 * K):\n            for n in range(N):\n                out[m, n] = bias[n] + again\n" + FORWARD
    after = changed(slowed, "--compare", "before.json")
    assert after.returncode == 1
    assert re.search(r"error: \d of 3 rows became slower beyond noise, most of all layer forward kernels, @njit", after.stderr)
    assert [line.split()[1] for line in after.stdout.splitlines() if line.endswith("SLOWER")][:1] == ["forward"]


@pytest.mark.long
def test_wrong_kernel_is_caught_by_the_verification(changed):
    result = changed(FORWARD.replace("bias[n]", "0"), "--save", "wrong.json")  # a bias that is never added
    assert result.returncode == 70
    assert "kernels, @njit forward computes something else: error" in result.stderr
    assert "computes something else" in result.stdout


def test_one_peer_alone_can_be_asked_for(command):
    result = command("bench", "peers", "--workload", "L", "--peer", "numpy", "--quick", "--json")
    assert result.code == 0
    (workload,) = result.json["workloads"]
    assert {each["peer"] for each in workload["times"]} == {"fastmlp", "numpy"}


def test_an_unknown_peer_is_a_usage_error_that_names_the_nearest(command):
    result = command("bench", "peers", "--peer", "numpi")
    assert result.code == 2
    assert "did you mean 'numpy'" in result.err
