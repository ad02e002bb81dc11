"""Figures: what is in their files, that they are the same again, and that they touch nothing else."""

import csv
import io
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from fastmlp.errors import DataError, MissingExtra, OutputError
from fastmlp.rendering import plots
from tests.rendering.made_runs import history

RUNS = [history(0.90, 0.95, 0.97), history(0.91, 0.94, 0.96), history(0.88, 0.95)]
SERIES = plots.series_of("three runs", RUNS)
GRID = np.linspace(-2, 2, 9)
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (5, 6, 7), dtype=np.uint8)
POINTS = RANDOM.normal(size=(60, 2))
PLANE = 1 / (1 + np.exp(-np.add.outer(GRID, GRID)))
COUNTS = np.array([[50, 2, 0], [3, 40, 1], [0, 0, 30]])
NAMES = ("cat", "dog", "a rather long name of a class")
WEIGHT = RANDOM.normal(size=(42, 10)).astype(np.float32)


def draw_mistakes(folder, names=NAMES):
    return plots.mistakes(IMAGES, range(5), [0, 1, 2, 0, 1], [1, 2, 0, 2, 0], [0.99, 0.9, 0.8, 0.7, 0.6], names, folder, caption="Chosen.")


FIGURES = {
    "learning_curves": lambda folder: plots.learning_curves(SERIES, folder, loss="cross-entropy"),
    "one_epoch": lambda folder: plots.learning_curves(plots.series_of("", [history(0.9), history(0.8)]), folder),
    "compared_curves": lambda folder: plots.compared_curves([SERIES, plots.series_of("one run", RUNS[:1])], folder),
    "sweep": lambda folder: plots.sweep("learning_rate", [0.001, 0.01, 0.1], [[90, 91], [95, 96], [70, 80]], folder),
    "named_sweep": lambda folder: plots.sweep("hidden", ["300", "300-100"], [[90, 91], [95, 96]], folder),
    "compared_sweeps": lambda folder: plots.compared_sweeps("rate", [0.1, 1, 10], {"a": plots.band([[1, 2, 3], [2, 2, 2]])}, folder),
    "class_distribution": lambda folder: plots.class_distribution({"training": [5, 6, 7], "test": [1, 1, 2]}, NAMES, folder),
    "decision_boundary": lambda folder: plots.decision_boundary(
        POINTS, (POINTS[:, 0] > 0).astype(int), GRID, GRID, PLANE, ("no", "yes"), folder, truth=np.add.outer(0 * GRID, GRID)
    ),
    "confusion_matrix": lambda folder: plots.confusion_matrix(COUNTS, NAMES, folder, rows="validation rows"),
    "mistakes": draw_mistakes,
    "first_layer_weights": lambda folder: plots.first_layer_weights(WEIGHT, (6, 7), folder),
    "timing": lambda folder: plots.timing(["a", "b"], [[1, 2, 3], [0.5]], folder, what="seconds"),
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return {name: draw(tmp_path_factory.mktemp(name)) for name, draw in FIGURES.items()}


def rows_of(plot):
    return list(csv.DictReader(io.StringIO(plot.csv)))


def parse(svg):
    """Return the root of an SVG element; raises where it is not well-formed."""
    return ET.fromstring(svg)  # noqa: S314  what we wrote ourselves


def texts(plot):
    return " ".join(parse(plot.svg).itertext())


def test_each_figure_is_one_column_wide_at_300_dots_per_inch(drawn, subtests):
    for name in FIGURES:
        with subtests.test(name=name):
            with Image.open(drawn[name].paths[0]) as picture:
                assert picture.width == 3.5 * 300
                assert picture.info["dpi"][0] == pytest.approx(300, abs=0.1)


def test_letters_are_large_enough_to_read_in_print(drawn, subtests):
    for name in FIGURES:
        with subtests.test(name=name):
            sizes = [float(size) for size in re.findall(r"font(?:-size)?: (?:\w+ )*([\d.]+)px", drawn[name].paths[1].read_text())]
            assert sizes
            assert min(sizes) >= 6  # points


def test_nothing_is_cut_off_at_the_edges(drawn, subtests):
    for name in FIGURES:
        with subtests.test(name=name):
            with Image.open(drawn[name].paths[0]) as picture:
                dots = np.asarray(picture.convert("L"))
            edges = np.concatenate((dots[0], dots[-1], dots[:, 0], dots[:, -1]))
            assert (edges == 255).all()


def test_data_stand_beside_the_figure(drawn, subtests):
    for name in FIGURES:
        with subtests.test(name=name):
            plot = drawn[name]
            assert [path.suffix for path in plot.paths] == [".png", ".svg", ".csv"]
            assert plot.paths[2].read_text() == plot.csv
            assert len(rows_of(plot)) > 0


# Lines, cells and pictures, pictures alone: what else is drawn goes through the same two calls of savefig.
FEW = ("learning_curves", "decision_boundary", "mistakes")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if name in FEW else [pytest.mark.long]) for name in FIGURES])
def test_same_input_gives_the_same_bytes(drawn, name, tmp_path):
    again = FIGURES[name](tmp_path)
    assert [path.read_bytes() for path in again.paths] == [path.read_bytes() for path in drawn[name].paths]


def test_settings_of_the_user_change_no_figure(drawn, tmp_path):
    import matplotlib

    with matplotlib.rc_context({"font.size": 30, "axes.grid": False, "svg.fonttype": "path", "lines.linewidth": 9, "text.usetex": True}):
        plot = FIGURES["learning_curves"](tmp_path)
    assert plot.svg == drawn["learning_curves"].svg


def test_drawing_leaves_no_trace_in_matplotlib(tmp_path):
    code = """
import pathlib, sys, matplotlib
before = dict(dict.items(matplotlib.rcParams))  # plain reading would choose a backend
from fastmlp.rendering import plots
plots.class_distribution({"training": [1, 2]}, ("a", "b"), pathlib.Path(sys.argv[1]))
print(before == dict(dict.items(matplotlib.rcParams)), "matplotlib.pyplot" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"


def test_element_for_a_page_takes_its_colours_from_the_page(drawn, subtests):
    for name in FIGURES:
        with subtests.test(name=name):
            colours = set(re.findall(r"(?:fill|stroke): (#\w+)", drawn[name].svg))
            assert colours.isdisjoint(plots.VARIABLES)


def test_elements_for_a_page_share_no_id(drawn):
    ids = [found for name in ("sweep", "mistakes", "timing") for found in re.findall(r' id="([^"]+)"', drawn[name].svg)]
    assert len(ids) > 20
    assert len(ids) == len(set(ids))


def test_element_for_a_page_points_at_ids_that_it_has(drawn, subtests):
    for name in FIGURES:
        with subtests.test(name=name):
            ids = set(re.findall(r' id="([^"]+)"', drawn[name].svg))
            used = set(re.findall(r'href="#([^"]+)"', drawn[name].svg)) | set(re.findall(r"url\(#([^)]+)\)", drawn[name].svg))
            assert used <= ids


def test_element_for_a_page_is_told_to_who_cannot_see_it(drawn, subtests):
    for name in FIGURES:
        with subtests.test(name=name):
            element = parse(drawn[name].svg)
            assert element.get("role") == "img"
            assert drawn[name].caption in element.get("aria-label")


def test_band_is_mean_deviation_and_extremes_of_the_runs_that_got_so_far():
    found = plots.band([[1.0, 2.0, None], [3.0, 4.0], [8.0]])
    grid = np.array([[1.0, 2.0], [3.0, 4.0], [8.0, np.nan]])
    np.testing.assert_allclose(found.mean[:2], np.nanmean(grid, axis=0))
    np.testing.assert_allclose(found.std[:2], np.nanstd(grid, axis=0, ddof=1))
    np.testing.assert_array_equal(found.lowest[:2], [1.0, 2.0])
    np.testing.assert_array_equal(found.highest[:2], [8.0, 4.0])
    assert np.isnan([part[2] for part in found]).all()


def test_deviation_of_a_single_run_is_unknown():
    assert np.isnan(plots.band([[1.0, 2.0]]).std).all()


def test_data_of_the_curves_are_the_means_of_the_runs(drawn):
    second = rows_of(drawn["learning_curves"])[1]
    assert float(second["validation_accuracy_mean"]) == pytest.approx((0.95 + 0.94 + 0.95) / 3)
    assert float(second["validation_accuracy_lowest"]) == 0.94


def test_curves_of_a_regression_have_no_panel_of_accuracy(tmp_path):
    run = history(0.9, 0.9, train_accuracy=[None, None], validation_accuracy=[None, None])
    plot = plots.learning_curves(plots.series_of("", [run]), tmp_path)
    assert "accuracy" not in plot.csv
    assert "accuracy" not in texts(plot)


def test_curves_without_validation_rows_show_training_alone(tmp_path):
    run = history(0.9, 0.9, validation_loss=[None, None], validation_accuracy=[None, None])
    plot = plots.learning_curves(plots.series_of("", [run]), tmp_path)
    assert "validation" not in plot.csv + plot.caption + texts(plot)


def test_curves_without_an_epoch_are_refused(tmp_path):
    with pytest.raises(DataError, match="at least one run with an epoch"):
        plots.learning_curves(plots.series_of("", [history()]), tmp_path)


def test_more_settings_than_colours_stay_in_the_data(tmp_path):
    plot = plots.compared_curves([plots.series_of(f"setting {n}", RUNS) for n in range(8)], tmp_path)
    assert "setting 5" in texts(plot)
    assert "setting 6" not in texts(plot)
    assert "2 more are in the data" in plot.caption
    assert {row["series"] for row in rows_of(plot)} == {f"setting {n}" for n in range(8)}


@pytest.mark.parametrize(("higher", "best"), [(True, "0.01"), (False, "0.1")])
def test_sweep_names_the_best_value(tmp_path, higher, best):
    plot = plots.sweep("rate", [0.001, 0.01, 0.1], [[90, 91], [95, 96], [70, 80]], tmp_path, higher_is_better=higher)
    assert f"the best, {best}." in plot.caption


@pytest.mark.parametrize(("values", "logarithmic"), [([0.001, 0.01, 0.1], True), ([1, 2, 3], False), ([0.0, 0.1, 10.0], False)])
def test_axis_is_logarithmic_where_positive_values_span_much(tmp_path, values, logarithmic):
    plot = plots.sweep("rate", values, [[1], [2], [3]], tmp_path)
    assert ("logarithmic" in texts(plot)) == logarithmic


def test_sweep_has_a_tick_at_each_value_as_it_was_given(drawn):
    assert {"0.001", "0.01", "0.1"} <= set(texts(drawn["sweep"]).split())


def test_sweep_leaves_out_values_where_every_run_diverged(tmp_path):
    plot = plots.sweep("rate", [0.1, 10.0], [[90.0], []], tmp_path)
    assert [row["rate"] for row in rows_of(plot)] == ["0.1"]


def test_sweep_without_any_score_is_refused(tmp_path):
    with pytest.raises(DataError, match="diverged"):
        plots.sweep("rate", [1, 2], [[], []], tmp_path)


def test_confusion_matrix_says_how_many_were_right(drawn):
    assert drawn["confusion_matrix"].caption.startswith("126 validation rows, 120 of them right.")
    assert [list(row.values())[1:] for row in rows_of(drawn["confusion_matrix"])] == [["50", "2", "0"], ["3", "40", "1"], ["0", "0", "30"]]


def test_weights_show_the_units_with_the_largest_norm(tmp_path):
    plot = plots.first_layer_weights(WEIGHT, (6, 7), tmp_path, most=3)
    largest = sorted(range(10), key=lambda unit: -float(np.linalg.norm(WEIGHT[:, unit])))[:3]
    assert [int(row["unit"]) for row in rows_of(plot)] == largest
    assert float(rows_of(plot)[0]["w5"]) == pytest.approx(float(WEIGHT[5, largest[0]]), rel=1e-5)


def test_boundary_of_a_network_that_knows_one_class_only_can_be_drawn(tmp_path):
    everywhere = np.full((9, 9), 0.9)
    plot = plots.decision_boundary(POINTS, np.ones(60, int), GRID, GRID, everywhere, ("no", "yes"), tmp_path)
    assert "network" not in texts(plot)


HOSTILE = ("<script>alert(1)</script>", "$\\frac{1}", "a\x00b\x1b[31m\u202e]]>&amp;", "\ud800 雪 🙂", '" onload="alert(1)', "-->", "")


def test_names_of_classes_may_hold_anything(tmp_path):
    names = [*HOSTILE[:3]]
    for plot in (
        draw_mistakes(tmp_path, names),
        plots.confusion_matrix(np.ones((7, 7), int), HOSTILE, tmp_path),
        plots.class_distribution({"training": range(7)}, HOSTILE, tmp_path),
        plots.sweep("hidden", HOSTILE, [[n] for n in range(7)], tmp_path),
        plots.compared_curves([SERIES._replace(name=name) for name in HOSTILE], tmp_path),
        plots.timing(HOSTILE, [[1.0]] * 7, tmp_path, title="".join(HOSTILE)),
    ):
        element = parse(plot.svg)
        assert not [node for node in element.iter() if node.tag.endswith("script")]
        assert not [name for node in element.iter() for name in node.attrib if name.startswith("on")]
        parse(plot.paths[1].read_text())


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    with pytest.raises(MissingExtra, match=r"fastmlp\[plots\]"):
        FIGURES["timing"](tmp_path)


def test_folder_that_cannot_be_made_is_an_output_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="choose another path"):
        FIGURES["timing"](tmp_path / "file" / "figures")
