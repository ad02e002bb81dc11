"""`fastmlp reproduce --quick`: every experiment runs, on few rows, and leaves what a page is made of."""

import html
import json
import math
import shutil
import sys
from types import SimpleNamespace

import pytest

from fastmlp.course import reproduce
from fastmlp.course.claims import Findings, Row
from fastmlp.course.reproduce import EXPERIMENTS
from fastmlp.search.statistics import Summary
from fastmlp.search.task import BankProgress
from fastmlp.storage.reading import Model

CLAIMS = {"0", "1a", "1b", "1c", "2a.1", "2a.2", "2a.3", "2b.1", "2b.2", "2b.3", "2c.1", "2c.2", "3a", "3b", "3c", "4a", "4b",
          "final.1", "final.2", "final.3", "final.4", "5a.1", "5b.1", "5c.1", "5c.2", "5c.3"}  # fmt: skip


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory, mnist, fashion_mnist):
    """One run of the command, in a folder of its own: what it printed, and the folder."""
    from typer.testing import CliRunner

    from fastmlp.cli import app

    folder = tmp_path_factory.mktemp("reproduced") / "run"
    result = CliRunner().invoke(app, ["reproduce", "--quick", "--json", "--run-folder", str(folder)])
    assert result.exit_code == 0, result.output
    return result, folder


@pytest.mark.long
def test_every_claim_has_a_row_with_a_verdict(reproduced):
    rows = json.loads(reproduced[0].stdout)["rows"]
    assert {row["id"] for row in rows} >= CLAIMS
    assert len({row["id"] for row in rows}) == len(rows)
    assert {row["same"] for row in rows} <= {"yes", "no", "higher"}
    for row in rows:
        assert row["measured"] is None or math.isfinite(row["measured"]["mean"])


@pytest.mark.long
def test_result_file_holds_rows_and_the_data_of_every_figure(reproduced):
    out, folder = reproduced
    result = json.loads((folder / "result.json").read_text())
    assert result["rows"] == json.loads(out.stdout)["rows"]
    assert set(result["figures"]) == {"1a", "1b", "1c", "2", "3", "4", "5"}
    assert result["quick"] is True
    boundary = result["figures"]["1c"]
    assert len(boundary["probability"]) == len(boundary["x2"])
    assert {len(row) for row in boundary["probability"]} == {len(boundary["x1"])}
    assert [len(curve["epoch"]) for curve in result["figures"]["2"]["series"]] == [20] * 5


@pytest.mark.long
def test_page_tells_every_claim_and_shows_its_figures(reproduced):
    out, folder = reproduced
    record = json.loads(out.stdout)
    page = (folder / "report.html").read_text()
    assert record["page"] == str(folder / "report.html")
    assert all(html.escape(row["report_says"]) in page for row in record["rows"])
    assert page.count("<svg") >= 7


@pytest.mark.long
def test_without_the_library_for_pages_the_results_are_kept(reproduced, tmp_path, command, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(reproduced[1], copy)
    (copy / "report.html").unlink()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = command("reproduce", "--resume", copy, "--json")
    assert (result.code, result.json["page"]) == (0, None)
    assert f"then: fastmlp report {copy}" in result.err
    assert result.err.startswith("results will be kept, but there will be no page")


@pytest.mark.long
def test_models_of_each_experiment_are_kept(reproduced):
    folder = reproduced[1] / "experiments"
    assert {path.name for path in folder.iterdir()} == {"1", "1-final", "2", "3", "4", "final", "5-scan", "5"}
    for path in folder.iterdir():
        models = [json.loads(line) for line in (path / "models.jsonl").read_text().splitlines()]
        assert models
        assert all(tuple(model) == Model._fields for model in models)
        measured = [model["test"] is not None for model in models if model["outcome"] == "done"]
        assert all(measured) == (path.name in ("1-final", "5")) or path.name == "final"


@pytest.mark.long
def test_test_rows_are_opened_once_per_final_model(reproduced):
    folder = reproduced[1]
    openings = json.loads((folder / "manifest.json").read_text())["results"]["test_openings"]
    found = {}
    for name, experiments in {"synthetic": ("1-final",), "mnist": ("2", "3", "4", "final"), "fashion-mnist": ("5-scan", "5")}.items():
        lines = [line for each in experiments for line in (folder / "experiments" / each / "models.jsonl").read_text().splitlines()]
        found[name] = 2 * sum(json.loads(line)["test"] is not None for line in lines)  # x and y
    assert openings == found


@pytest.mark.long
def test_notes_tell_of_each_experiment(reproduced):
    titles = [line for line in reproduced[0].stderr.splitlines() if line.endswith(" models")]
    assert len(titles) >= len(EXPERIMENTS)
    assert "its numbers mean nothing" in reproduced[0].stderr


@pytest.mark.long
def test_models_that_are_there_are_not_trained_again(reproduced, tmp_path, command):
    first, folder = reproduced
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    scan = copy / "experiments" / "5-scan" / "models.jsonl"
    lines = scan.read_bytes().splitlines(keepends=True)
    scan.write_bytes(b"".join(lines[:-1]) + lines[-1][:50])  # killed while it wrote the last
    again = command("reproduce", "--resume", copy, "--json").json
    assert again["rows"] == json.loads(first.stdout)["rows"]
    assert sorted(json.loads(line)["key"] for line in scan.read_bytes().splitlines()) == sorted(json.loads(line)["key"] for line in lines)
    assert again["test_openings"] == {"mnist": 0, "fashion-mnist": 0, "synthetic": 0}  # this time


# --- the command alone, around experiments that are made up ---------------------------------------------------------------


@pytest.fixture
def made_up(monkeypatch):
    """Run no experiment: give one claim and no figure, or raise what `error` holds; keep the laboratory."""
    kept = SimpleNamespace(error=None)

    def reproduce_all(laboratory):
        kept.laboratory = laboratory
        yield reproduce.Stage("1", "an experiment", 3)
        yield BankProgress(3, 3, 1.0, 2.0)
        if kept.error is not None:
            raise kept.error
        measured = Summary(0.974, 0.001, 0.973, 0.975, 3)
        return Findings([Row("1a", "an experiment", "97.5 %", "test accuracy", measured, {"epochs": 7}, "yes", "a note")], {})

    monkeypatch.setattr(reproduce, "reproduce", reproduce_all)
    return kept


def test_what_was_found_is_shown_and_kept(command, made_up, tmp_path):
    result = command("reproduce", "--seeds", "3", "--repeats", "4", "--threads", "1", "--run-folder", "run")
    assert result.code == 0, result.err
    assert "97.40" in result.out
    assert "results run" in result.out.splitlines()
    assert "an experiment: 3 models" in result.err
    made = made_up.laboratory
    assert [each.name for each in made[:3]] == ["mnist", "fashion-mnist", "synthetic"]
    assert (made.seeds, made.repeats, made.cores, len(made.mnist.x_train)) == (3, 4, 1, 60_000)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert (manifest["kind"], manifest["outcome"], manifest["seed"]) == ("reproduce", "done", 0)
    assert manifest["arguments"] == {"seeds": 3, "repeats": 4, "quick": False}
    assert manifest["data"]["name"] == "mnist, fashion-mnist, synthetic"
    assert {name.split("/")[0] for name in manifest["data"]["files"]} == {"mnist", "fashion-mnist", "synthetic"}
    assert manifest["settings"]["train"]["reduction"] == "sum"
    assert manifest["results"]["test_openings"] == {"mnist": 0, "fashion-mnist": 0, "synthetic": 0}
    assert json.loads((tmp_path / "run" / "result.json").read_text())["rows"][0]["id"] == "1a"


def test_without_a_word_there_are_five_seeds_and_thirty_initialisations_and_quick_has_few_rows(command, made_up):
    assert command("reproduce", "--run-folder", "one").code == 0
    assert made_up.laboratory[3:5] == (5, 30)
    result = command("reproduce", "--quick", "--json", "--run-folder", "two")
    assert (result.json["seeds"], result.json["repeats"], result.json["quick"]) == made_up.laboratory[3:5] + (True,)
    assert made_up.laboratory[3:5] < (5, 30)
    assert len(made_up.laboratory.mnist.x_train) < 10_000
    assert "its numbers mean nothing" in result.err


@pytest.mark.parametrize(("error", "outcome"), [(KeyboardInterrupt(), "interrupted"), (RuntimeError("no"), "failed")])
def test_how_a_reproduction_ended_is_kept_and_it_goes_on_with_its_own_settings(command, made_up, tmp_path, error, outcome):
    made_up.error = error
    assert command("reproduce", "--seeds", "3", "--run-folder", "run").code == (130 if outcome == "interrupted" else 70)
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["outcome"] == outcome
    made_up.error = None
    assert command("reproduce", "--resume", "run", "--seeds", "4").code == 2
    assert command("reproduce", "--resume", "run").code == 0
    assert made_up.laboratory.seeds == 3
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["outcome"] == "done"
