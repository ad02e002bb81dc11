"""The tables of the documents are those that recorded results make, and the maker of them can be trusted."""

import importlib.util
import json

import pytest

from tests.structure.sources import ROOT

SPECIFICATION = importlib.util.spec_from_file_location("make_tables", ROOT / "bench" / "make_tables.py")
make_tables = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(make_tables)

DOCUMENTS = sorted({ROOT / "README.md", *ROOT.glob("docs/**/*.md")})


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_document_holds_what_the_recorded_results_say(path):
    text = path.read_text(encoding="utf-8")
    assert make_tables.with_tables(text, ROOT / "bench" / "results") == text


def test_every_marker_of_a_document_is_one_that_is_understood():
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        assert text.count("<!-- bench:") == text.count("<!-- /bench -->") == len(make_tables.BLOCK.findall(text)), path.name


def a_row(rung, seconds, **facts):
    found = {"title": rung, "rung": rung, "operation": "", "threads": 1, "median": seconds, "fault": None, "rows": 60}
    found |= {"extrapolated": False, "skips_zeros": False, "gflops": 12.345, "share_of_peak": 0.25, "speed_up": 1234.5}
    return found | facts


def a_workload(name):
    times = [
        {"peer": peer, "variant": variant, "threads": threads, "median": median, "fault": None}
        for (peer, variant, threads), median in (
            (("fastmlp", "auto", 2), 0.1), (("fastmlp", "auto", 1), 0.05), (("torch", "eager", 1), 0.8), (("torch", "in-place", 2), 0.4),
            (("jax", "unroll 1", 2), None),
        )
    ]  # fmt: skip
    limit = {"text": "90 ms per epoch", "allowed": 0.09, "seconds": 0.1, "missed_by": 0.11}
    ratios = [a_ratio("torch", 4.0, 5.0), a_ratio("jax", 3.0, 2.5), a_ratio("numpy", 2.0, None)]
    return {"name": name, "title": "a network", "instruction_set": "native", "times": times, "ratios": ratios, "limit": limit}


def a_ratio(peer, ratio, target):
    found = {"ours": "fastmlp auto, 2 threads", "theirs": peer, "of": {"peer": "fastmlp"}, "against": {"peer": peer}, "ratio": ratio}
    found["ratio_of_bests"] = ratio + 0.5
    missed_by = None if target is None else max(0.0, 1.0 - ratio / target)
    return found | {"ratio_without_zero_skipping": None, "target": target, "missed_by": missed_by}


RECORD = {
    "machine": {"cpu": "a processor", "cores": 2},
    "ladders": [
        {
            "scene": "mnist-epoch", "unit": "epoch", "unit_rows": 60_000, "peaks": {"flops": [100e9, 190e9], "threads": 2},
            "rows": [a_row("lists", 1200.0, extrapolated=True), a_row("tiles", 0.2, skips_zeros=True), a_row("jax", None, fault="missing")],
        }
    ],
    "workloads": [a_workload("A")],
    "scaling": [
        {
            "axis": "width", "exponents": {"fastmlp": 1.5},
            "points": [{"size": 1000, "unit": "step", "seconds": {"fastmlp": 1e-3, "jax": 2e-3}}],
        }
    ],
    "startup": [{"what": "import fastmlp", "median": 0.05, "fault": None}],
}  # fmt: skip


@pytest.fixture
def results(tmp_path):
    (tmp_path / "xeon.json").write_text(json.dumps(RECORD))
    return tmp_path


def table(results, marker):
    text = f"before\n<!-- bench:{marker} -->\nold\n<!-- /bench -->\nafter\n"
    first, begin, *lines, end, last = make_tables.with_tables(text, results).splitlines()
    assert (first, begin, end, last) == ("before", f"<!-- bench:{marker} -->", "<!-- /bench -->", "after")
    return lines


def test_ladder_has_a_row_for_every_time_that_counts(results):
    lines = table(results, "mnist-epoch")
    assert lines[2:4] == [
        "| lists | 1 | ≈ 1,200 s | 12.3 | 25 % | 1,230 |",
        "| tiles | 1 | 200 ms | 12.3 * | 25 % | 1,230 |",
    ]
    assert lines[-1].startswith("≈ scaled up to 60,000 rows from 60. \\* Counted as if nothing had been skipped. Peak measured")


def test_peers_are_multiples_of_our_time_on_all_threads(results):
    assert table(results, "peers")[2:] == ["| A: a network | 100 ms | – | 8.0× | 4.0× | – | – |"]


def test_targets_stand_beside_the_ratios_that_have_one(results):
    without = {**a_workload("A"), "instruction_set": "avx2", "ratios": [{**a_ratio("jax", 1.5, 2.5), "ratio_at_peak": 2.25}]}
    (results / "xeon.json").write_text(json.dumps({**RECORD, "workloads": [*RECORD["workloads"], without]}))
    assert table(results, "targets")[2:] == [
        "| A | fastmlp auto, 2 threads : torch | 4.00× | 4.50× | – | – | 5× | 20 % short |",
        "|  | fastmlp auto, 2 threads : jax | 3.00× | 3.50× | – | – | 2.5× | reached |",
        "|  | 90 ms per epoch: 100 ms | – | – | – | – | – | 11 % over |",
    ]
    assert table(results, "targets avx2")[2].startswith("| A | fastmlp auto, 2 threads : jax | 1.50× | 2.00× | – | 2.25× | 2.5× |")


def test_scaling_ends_with_the_exponents(results):
    assert table(results, "scaling width")[2:] == ["| 1,000 | 1.00 ms | 2.00 ms (2.0×) |", "| grows to the power of | 1.50 | – |"]


def test_recipes_have_a_row_with_mean_and_spread(results):
    runs = [{"accuracy": accuracy, "seconds": seconds, "threads": 2} for accuracy, seconds in ((0.98, 10.0), (0.99, 13.0))]
    entry = {"dataset": "mnist", "name": "plain", "summary": "784-300-10", "runs": runs}
    record = {"machine": {"cpu": "a processor"}, "version": "1.0", "recipes": [entry]}
    (results / "recipes.json").write_text(json.dumps(record))
    assert table(results, "recipes from recipes")[2:] == [
        "| `mnist` | `plain` | 784-300-10 | 98.50 ± 0.71 % | 98.00–99.00 % | 10.0 s | 2 |",
        "",
        "On 2 threads of a processor; fastmlp 1.0.",
    ]


def test_recipe_that_was_never_trained_makes_no_table(results):
    record = {"machine": {"cpu": "a processor"}, "version": "1.0", "recipes": [{"dataset": "mnist", "name": "plain", "runs": []}]}
    (results / "recipes.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="expected trainings of mnist/plain, found none"):
        table(results, "recipes from recipes")


def test_costs_are_multiples_of_the_epoch_that_they_stand_beside(results):
    found = [("nothing", 0.1, "nothing"), ("silu", 0.2, "nothing"), ("yours", 0.25, "silu")]
    rows = [{"what": what, "seconds": seconds, "beside": beside} for what, seconds, beside in found]
    record = {"machine": {"cpu": "a processor", "cores": 2}, "version": "1.0", "costs": rows}
    (results / "costs.json").write_text(json.dumps(record))
    assert table(results, "costs from costs")[2:] == [
        "| nothing | 100 ms | – | nothing |",
        "| silu | 200 ms | 2.00× | nothing |",
        "| yours | 250 ms | 1.25× | silu |",
        "",
        "On 2 cores of a processor; fastmlp 1.0.",
    ]


def test_speedrun_has_a_row_for_everybody(results):
    accuracy = {"n": 2, "mean": 0.981, "std": 0.001, "lowest": 0.98, "highest": 0.982}
    ours = {
        "peer": "fastmlp",
        "variant": "",
        "threads": 2,
        "runs": [{}, {}],
        "median_seconds": 0.75,
        "accuracy": accuracy,
        "lower_bound": 0.9795,
    }
    absent = {"peer": "jax", "variant": "unroll 1", "threads": 2, "runs": [], "fault": "jax is missing", "accuracy": None}
    record = {"ours": ours, "peers": [absent], "sizes": [784, 256, 10], "settings": {"train": {"batch_size": 64, "epochs": 5}}}
    (results / "speedrun.json").write_text(json.dumps({**record, "machine": {"cpu": "a processor"}, "version": "1.0"}))
    assert table(results, "speedrun from speedrun")[2:] == [
        "| fastmlp | 750 ms | 98.10 ± 0.10 % | 97.95 % | 2 |",
        "| JAX unroll 1 | jax is missing | – | – | 0 |",
        "",
        "784-256-10 ReLU, batches of 64, 5 epochs, on 2 threads of a processor; fastmlp 1.0.",
    ]


def test_starts_are_a_table(results):
    assert table(results, "startup")[2:] == ["| import fastmlp | 50.0 ms |"]


def test_results_of_several_machines_are_told_apart(results):
    (results / "epyc.json").write_text(json.dumps({**RECORD, "startup": [{"what": "import fastmlp", "median": 1.0, "fault": None}]}))
    assert table(results, "startup from epyc")[2:] == ["| import fastmlp | 1.00 s |"]
    with pytest.raises(ValueError, match="found epyc, xeon"):
        table(results, "startup")


@pytest.mark.parametrize("marker", ["layer", "scaling depth", "startup from nowhere"])
def test_table_without_results_is_an_error(results, marker):
    with pytest.raises(ValueError, match="expected"):
        table(results, marker)


def test_results_of_a_quick_run_make_no_table(results):
    (results / "xeon.json").write_text(json.dumps({**RECORD, "quick": True}))
    with pytest.raises(ValueError, match="quick"):
        table(results, "startup")


def test_text_without_markers_stays_as_it_is(tmp_path):
    assert make_tables.with_tables("no tables\n", tmp_path) == "no tables\n"


def test_check_tells_of_old_tables_and_writes_nothing(results, monkeypatch, capsys):
    monkeypatch.setattr(make_tables, "RESULTS", results)
    path = results / "README.md"
    path.write_text("<!-- bench:startup -->\nold\n<!-- /bench -->\n")
    assert make_tables.main(["--check", str(path)]) == 1
    assert "has old tables" in capsys.readouterr().out
    assert "old" in path.read_text()
    assert make_tables.main([str(path)]) == 0
    assert make_tables.main(["--check", str(path)]) == 0
