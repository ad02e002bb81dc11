"""Pages: nothing that could run, nothing fetched, everything escaped; and what a browser makes of them."""

import base64
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastmlp.errors import MissingExtra, OutputError
from fastmlp.rendering import plots, reports
from fastmlp.rendering.page import Fact, Mark, Page, Section, Table, render, write_page
from fastmlp.rendering.reports.tables import measured_text, model_table
from fastmlp.rendering.reports.words import values_text
from fastmlp.settings import NetworkSettings, TrainingSettings
from fastmlp.storage.reading import Model, read_run
from tests.rendering.made_runs import history, model, summary, write_reproduction, write_run

OWNED = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">'\"><b>&amp;"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def in_chromium(test):
    """Run a test among the long ones, where there is a browser."""
    return pytest.mark.long(pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")(test))


class Elements(HTMLParser):
    """The elements of a page, each with its attributes, and its text."""

    def __init__(self, html):
        super().__init__()
        self.found, self.text = [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


def words(html):
    """Return the text of a page: elements apart by spaces, each space single."""
    body = re.sub(r"<(?:dt|dd|td|th|p|h2|h3|span)\b", r" \g<0>", html[html.index("<body>") :])
    return " ".join(Elements(body).text.split())


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A page in which every text tries to break out."""
    folder = tmp_path_factory.mktemp("hostile")
    plot = plots.confusion_matrix(np.ones((2, 2), int), (OWNED, "b"), folder, rows=OWNED)._replace(title=OWNED, name="plot")
    table = Table((OWNED, "b"), [(OWNED, Mark(OWNED, "no"))], caption=OWNED, stacked=True)
    folded = table._replace(folded=OWNED)
    section = Section(OWNED, (OWNED,), (table, folded), (plot,), {"plot": OWNED}, ((OWNED, OWNED),), (OWNED,))
    return render(Page(OWNED, OWNED, OWNED, [Fact(OWNED, OWNED, OWNED)], [section], OWNED))


def runs(folder):
    """One folder of each kind, written by hand."""
    changed = [{"learning_rate": 0.01}, {"learning_rate": 0.1}]
    swept = [
        model(seed, 0.9, accuracy, changed=change) for change, accuracy in zip(changed, (0.95, 0.97), strict=True) for seed in (0, 1, 2)
    ]
    comparison = {"difference": 0.02, "low": 0.01, "high": 0.03, "n": 3, "beyond_noise": True}
    return {
        "train": write_run(folder / "train", epochs=history(0.9, 0.96), results={"test": {"accuracy": 0.955, "loss": 0.15}}),
        "repeat": write_run(folder / "repeat", "repeat", models=[model(0, 0.90, 0.96), model(1, 0.91, 0.98)], result={"test": None}),
        "sweep": write_run(folder / "sweep", "sweep", models=swept, result={"comparison": comparison}),
        "cv": write_run(folder / "cv", "cv", models=[model(0, 0.9, 0.96, fold=fold) for fold in range(3)]),
        "reproduce": write_reproduction(folder / "reproduce"),
    }


PAGES = {
    "train": lambda run, figures: reports.training_page(run, figures, ["fastmlp train mnist"]),
    "repeat": lambda run, figures: reports.repeat_page(run, figures, []),
    "sweep": lambda run, figures: reports.sweep_page(run, figures, []),
    "cv": lambda run, figures: reports.cv_page(run, figures, []),
    "reproduce": lambda run, figures: reports.reproduction_page(run, figures, []),
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The page of each kind of run as HTML."""
    folder = tmp_path_factory.mktemp("runs")
    return {kind: render(PAGES[kind](read_run(path), path / "figures")) for kind, path in runs(folder).items()}


def test_no_text_becomes_an_element(hostile):
    elements = Elements(hostile).found
    assert not [tag for tag, _ in elements if tag in ("script", "img", "b", "iframe", "object", "link")]
    assert not [name for _, attributes in elements for name in attributes if name.startswith("on")]


def test_every_text_is_shown_as_it_is(hostile):
    assert Elements(hostile).text.count(OWNED) >= 15


@pytest.mark.parametrize("kind", PAGES)
def test_page_forbids_scripts_and_everything_from_elsewhere(pages, kind):
    policies = [attributes["content"] for tag, attributes in Elements(pages[kind]).found if attributes.get("http-equiv")]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"]


@pytest.mark.parametrize("kind", PAGES)
def test_page_needs_no_other_file(pages, kind):
    addresses = [
        attributes[name]
        for _, attributes in Elements(pages[kind]).found
        for name in ("src", "href", "xlink:href", "srcset", "action", "data")
        if name in attributes
    ]
    assert addresses
    assert [address for address in addresses if not address.startswith(("data:", "#"))] == []
    assert re.findall(r"url\((?!#)|@import", pages[kind]) == []


@pytest.mark.parametrize("kind", PAGES)
def test_results_come_first(pages, kind):
    order = [pages[kind].index(mark) for mark in ('class="results"', "<figure>", "<h2>Methods", "<h2>Settings</h2>", "<h2>Machine")]
    assert order == sorted(order)


@pytest.mark.parametrize("kind", PAGES)
def test_ids_of_a_page_are_unique(pages, kind):
    ids = [attributes["id"] for _, attributes in Elements(pages[kind]).found if "id" in attributes]
    assert ids
    assert len(ids) == len(set(ids))


def test_data_of_a_figure_are_in_the_page(pages, tmp_path):
    (link,) = [found for tag, found in Elements(pages["repeat"]).found if found.get("download") == "curves.csv"]
    text = base64.b64decode(link["href"].partition("base64,")[2]).decode()
    assert text.startswith("epoch,train_loss_mean,")
    assert len(text.splitlines()) == 3


def test_training_page_tells_test_and_validation_apart(pages):
    text = words(pages["train"])
    assert "Test accuracy 95.50 %" in text
    assert "Validation accuracy 96.00 %" in text


def test_repeat_page_gives_mean_and_deviation_of_the_runs(pages):
    # 0.96 and 0.98: mean 0.97, standard deviation 0.02 / sqrt(2)
    text = words(pages["repeat"])
    assert "Validation accuracy 97.00 ± 1.41 %" in text
    assert "96.00 % to 98.00 %" in text


def test_sweep_page_ranks_by_validation_and_judges_the_lead(pages):
    text = words(pages["sweep"])
    assert "Best by validation learning rate 0.1" in text
    assert text.index("learning rate 0.1 97.00") < text.index("learning rate 0.01 95.00")
    assert "(learning rate 0.1) is 2.00 points better than (learning rate 0.01), beyond seed noise" in text
    assert "(95 % interval 1.00 to 3.00 points, 3 seeds, by bootstrap)" in text


@pytest.mark.parametrize(
    ("seeds", "spread", "lede"),
    [(1, "3 folds; ", "Each training row was held out once, by a model"), (2, "6 models; ", "was held out once for each seed, by a model")],
)
def test_page_of_a_cross_validation_says_over_what_its_spreads_are(seeds, spread, lede, tmp_path):
    models = [model(seed, 0.9, 0.96 + 0.01 * fold, fold=fold) for seed in range(seeds) for fold in range(3)]
    page = reports.cv_page(read_run(write_run(tmp_path / "cv", "cv", models=models)), tmp_path, [])
    assert [fact.detail.partition("± standard deviation, ")[2].startswith(spread) for fact in page.facts[:2]] == [True, True]
    assert lede in page.lede
    assert "runs" not in " ".join(fact.detail for fact in page.facts)


@pytest.mark.parametrize(
    ("validation", "said"),
    [(0.1, "never by the fold scored. For validation 10 % of the training rows were held out, drawn class by class"),
     (0, "judged by the fold that was scored, so the scores are optimistic")],
)  # fmt: skip
def test_page_of_a_cross_validation_says_by_which_rows_epochs_were_judged(validation, said, tmp_path):
    settings = {"network": {"output": "softmax"}, "train": {"epochs": 2, "restore_best": True, "validation": validation}}
    models = [model(0, 0.9, 0.96, fold=fold) for fold in range(2)]
    page = reports.cv_page(read_run(write_run(tmp_path / "cv", "cv", models=models, settings=settings)), tmp_path, [])
    assert said in next(section for section in page.sections if section.title == "Methods").text[0]


def test_page_of_an_experiment_names_all_values_of_what_was_varied(pages):
    sweep, repeat, cv, reproduced = (words(pages[kind]) for kind in ("sweep", "repeat", "cv", "reproduce"))
    settings = sweep[sweep.index("Settings hidden") :]
    assert "learning rate 0.01 and 0.1 optimizer" in settings
    assert "seed 0 to 2 " in settings
    assert "learning rate 0.01 or 0.1 and gradients averaged" in sweep
    assert "learning rate 0.2" not in sweep
    assert "seed 0 and 1 " in repeat
    assert "Seeds were 0 and 1." in repeat
    assert "fold 0 to 2" in cv  # as on the terminal and in the records
    assert "held out, the last ones" not in cv
    assert "For validation 5,000 training rows were held out, drawn class by class (split seed 0)." in repeat  # by default
    assert "learning rate 0.2" in reproduced


@pytest.mark.parametrize(
    ("train", "text"),
    [
        ({"validation": 0.2, "holdout": "stratified"}, "20 % of the training rows were held out, drawn class by class (split seed 0)."),
        ({"validation": 100, "holdout": "shuffled", "split_seed": 3}, "100 training rows were held out, drawn at random (split seed 3)."),
    ],
)  # fmt: skip
def test_methods_say_which_rows_were_held_out(tmp_path, train, text):
    settings = {"network": NetworkSettings().to_dict(), "train": TrainingSettings(**train).resolved("image").to_dict()}
    run = read_run(write_run(tmp_path / "run", epochs=history(0.9), settings=settings))
    assert text in words(render(PAGES["train"](run, tmp_path / "figures")))


def test_sweep_page_shows_the_last_round_of_a_halving(tmp_path):
    short = [model(seed, 0.99, changed={"momentum": 0.5}, key=f"epochs=1 seed={seed}") for seed in (0, 1)]
    long = [model(seed, 0.5, 0.6, changed={"momentum": 0.5}, key=f"epochs=10 seed={seed}") for seed in (0, 1)]
    run = read_run(write_run(tmp_path / "run", "sweep", models=[*short, *long]))
    text = words(render(reports.sweep_page(run, tmp_path / "figures", [])))
    assert "Validation accuracy 60.00 ± 0.00 %" in text


def test_diverged_models_are_counted_and_left_out(tmp_path):
    models = [model(0, 0.9, 0.96), model(1, 0.1, 0.1, outcome="diverged"), model(2, 0.9, 0.98)]
    run = read_run(write_run(tmp_path / "run", "repeat", models=models))
    text = words(render(reports.repeat_page(run, tmp_path / "figures", [])))
    assert "Validation accuracy 97.00 ± 1.41 %" in text
    assert "Diverged 1 left out of all means" in text
    assert "(band) of 2 runs" in text


def test_experiment_under_way_is_shown_as_far_as_it_is(tmp_path):
    run = read_run(write_run(tmp_path / "run", "repeat", models=[model(0, 0.9, 0.96)], outcome="interrupted"))
    text = Elements(render(reports.repeat_page(run, tmp_path / "figures", []))).text
    assert "Not finished (interrupted)" in text


def test_training_that_ended_before_its_first_epoch_has_a_page(tmp_path):
    run = read_run(write_run(tmp_path / "run", epochs=history(), outcome="diverged"))
    text = words(render(PAGES["train"](run, tmp_path / "figures")))
    assert "0 of 2 epochs. Outcome: diverged." in text
    assert "No epoch was finished." in text


def test_experiment_without_a_finished_model_has_a_page(tmp_path):
    for kind in ("repeat", "sweep", "cv"):
        run = read_run(write_run(tmp_path / kind, kind, outcome=None))
        assert "Not finished (under way)" in render(PAGES[kind](run, tmp_path / "figures"))


@pytest.mark.parametrize(
    ("claim", "measured"),
    [
        ("98 %", "97.56 ± 0.12 % (5 runs), validation accuracy yes"),
        ("97.5 %", "98.01 ± 0.06 % (5 runs), test accuracy higher"),
        ("validation is flat", "+0.21 ± 0.04 points (5 runs), gain in validation accuracy yes"),
        ("87.9 %", "test accuracy: – no"),
        ("its derivative is a (1 − a)", "1.0915, relative error of the derivative no"),
    ],
)
def test_reproduction_sets_each_claim_beside_the_measurement(pages, claim, measured):
    assert f"{claim} {measured}" in words(pages["reproduce"])


def test_reproduction_counts_claims_but_not_slips(pages):
    text = words(pages["reproduce"])
    assert "Claims found the same 2 of 4" in text
    assert "Not the same 1" in text


def test_reproduction_names_only_settings_that_differ(pages):
    rows = re.findall(r'data-label="Other settings">([^<]*)<', pages["reproduce"])
    assert rows == ["epochs 20", "", "", "", ""]


def test_reproduction_has_every_figure_with_what_the_report_says(pages):
    figures = re.findall(r"<h3>(Figure [^<]*)</h3>\s*(?:<p class=\"claim\">(.*?)</p>)?", pages["reproduce"])
    assert {title: claim.rpartition("</strong> ")[2] for title, claim in figures} == {
        "Figure 1a: Classes": "two classes",
        "Figure 1b: Loss": "the loss falls",
        "Figure 1c: Boundary": "",
        "Figure 2: 20 epochs (our weights)": "98 % validation",
        "Figure 2: 20 epochs, compared": "",
        "Figure 3: 30 initialisations": "hardly moves",
        "Figure 4: Learning rates": "0.01 is best",
    }


@pytest.mark.parametrize(
    ("values", "text"),
    [([0.5, 0.01, 0.1], "0.01, 0.1 and 0.5"), ([0, 1, 2], "0 to 2"), ([1, 2.0, 3], "1, 2 and 3"), ([None, 1], "by default and 1")],
)
def test_values_of_a_setting_that_was_varied_are_told_in_short(values, text):
    assert values_text(values) == text


def test_settings_at_their_defaults_wait_behind_a_line(tmp_path):
    settings = {"network": NetworkSettings().to_dict(), "train": TrainingSettings(dropout=0.2).resolved("image").to_dict()}
    page = render(reports.training_page(read_run(write_run(tmp_path / "run", "train", settings=settings)), tmp_path, []))
    chosen, _, usual = page[page.index("<h2>Settings</h2>") : page.index("<h2>Reproduce</h2>")].partition("<details>")
    assert ("<dt>dropout</dt>" in chosen, "<dt>momentum</dt>" in chosen, "<dt>momentum</dt>" in usual) == (True, False, True)


def test_methods_say_what_was_done(pages):
    assert (
        "A multi-layer perceptron with one hidden layer of 300 sigmoid units was trained on MNIST (55,000 rows), for 2 epochs of "
        "stochastic gradient descent with batches of 32 rows, learning rate 0.2 and gradients averaged over the batch"
    ) in pages["train"]


def training_page(folder, network=None, train=None, accuracies=(0.9, 0.97), **manifest):
    """Return the page of a training with these settings."""
    run = write_run(folder / "run", epochs=history(*accuracies), **manifest)
    written = json.loads((run / "manifest.json").read_text())
    written["settings"]["network"] |= network or {}
    written["settings"]["train"] |= train or {}
    (run / "manifest.json").write_text(json.dumps(written))
    return reports.training_page(read_run(run), folder, [])


def methods(page):
    return next(section for section in page.sections if section.title == "Methods").text[0]


GLOROT = "normal with variance 2/(K + N) (Glorot and Bengio 2010)"


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ({"activation": "tanh"}, f"Initial weights are {GLOROT}, for the K inputs and N units of a layer;"),
        ({"activation": "relu"}, f"normal with variance 2/K (He et al. 2015) before relu units, {GLOROT} elsewhere, for"),
        ({"activation": ["relu", "tanh", "silu"]}, f"2/K (He et al. 2015) before relu and silu units, {GLOROT} elsewhere, for"),
        ({"initializer": "lecun_uniform"}, "Initial weights are uniform with variance 1/K (LeCun et al. 1998), for"),
        ({"initializer": "orthogonal"}, "Initial weights are orthogonal (Saxe et al. 2014); biases start at zero."),
    ],
    ids=str,
)
def test_methods_say_how_weights_begin(tmp_path, network, expected):
    assert expected in methods(training_page(tmp_path, network))


def test_methods_name_every_setting_that_is_not_the_default(tmp_path):
    train = {"dropout": [0.2, 0.5], "nesterov": True, "patience": 3, "schedule": "cosine"}
    text = methods(training_page(tmp_path, {"normalization": "batch"}, train))
    assert "for up to 2 epochs of" in text
    assert "Other settings than the default: normalization batch, nesterov yes, schedule cosine, dropout 0.2-0.5, patience 3." in text


def test_methods_of_the_defaults_name_no_other_settings(tmp_path):
    assert "Other settings" not in methods(training_page(tmp_path))


def test_a_page_tells_why_training_stopped_and_of_which_epoch_its_model_is(tmp_path):
    results = {"stopped": "patience", "best": {"epoch": 2}}
    page = training_page(tmp_path, train={"restore_best": True, "epochs": 10}, accuracies=(0.9, 0.97, 0.96), results=results)
    assert page.lede.endswith("3 of 10 epochs, stopped by its patience; the model has the weights of epoch 2.")
    [fact] = [fact for fact in page.facts if fact.label == "Validation accuracy"]
    assert (fact.value, fact.detail) == ("97.00 %", "loss 0.5500; held-out rows, best epoch")


def test_page_that_cannot_be_created_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="choose another path"):
        write_page(tmp_path / "none" / "page.html", Page("", "", "", [], [], ""))


def test_without_jinja_the_extra_is_named(monkeypatch):
    from fastmlp.rendering import page

    page._template.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtra, match=r"fastmlp\[plots\]"):
        render(Page("", "", "", [], [], ""))


# In a browser


def chromium(folder: Path, *arguments: str) -> str:
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder / 'profile'}"]
    done = subprocess.run([str(CHROMIUM), *options, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def test_page_has_colours_for_light_and_dark(pages):
    # what a browser makes of them is seen in `make long`
    assert '<meta name="color-scheme" content="light dark">' in pages["train"]
    assert "@media screen and (prefers-color-scheme: dark)" in pages["train"]
    light, dark = re.findall(r"--back: (#\w+)", pages["train"])
    assert light > dark


@in_chromium
def test_nothing_in_a_hostile_page_runs_in_a_browser(hostile, tmp_path):
    (tmp_path / "page.html").write_text(hostile)
    shown = chromium(tmp_path, "--dump-dom", (tmp_path / "page.html").as_uri())
    assert "<title>owned</title>" not in shown
    assert "document.title=" in Elements(shown).text


@in_chromium
def test_a_script_in_a_page_would_be_stopped_by_its_policy(pages, tmp_path):
    (tmp_path / "page.html").write_text(pages["train"].replace("</body>", "<script>document.title='owned'</script></body>"))
    shown = chromium(tmp_path, "--dump-dom", (tmp_path / "page.html").as_uri())
    assert "<title>owned</title>" not in shown


@in_chromium
@pytest.mark.parametrize(("scheme", "option"), [("light", "1"), ("dark", "0")])
def test_browser_shows_a_page_in_light_and_dark(pages, tmp_path, scheme, option):
    (tmp_path / "page.html").write_text(pages["sweep"])
    picture = tmp_path / "page.png"
    chromium(
        tmp_path, f"--blink-settings=preferredColorScheme={option}", "--window-size=1000,1400", f"--screenshot={picture}",
        (tmp_path / "page.html").as_uri(),
    )  # fmt: skip
    dots = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    assert (dots[2, 2].mean() > 200) == (scheme == "light")
    blueish = (dots[..., 2] - dots[..., 0] > 80).mean()  # the lines of the figures
    assert blueish > 0.001


@in_chromium
@pytest.mark.parametrize("kind", PAGES)
def test_nothing_is_wider_than_a_phone(pages, tmp_path, kind):
    (tmp_path / "page.html").write_text(pages[kind])
    frame = (
        "<iframe src='page.html' width=360 height=800 onload='document.title = this.contentDocument.documentElement.scrollWidth'></iframe>"
    )
    (tmp_path / "phone.html").write_text(f"<title></title>{frame}")
    shown = chromium(tmp_path, "--allow-file-access-from-files", "--dump-dom", (tmp_path / "phone.html").as_uri())
    assert "<title>360</title>" in shown


def test_summary_of_a_single_run_has_no_deviation():
    assert measured_text({"measured": summary(0.5, None, 1), "quantity": "test accuracy"}) == "50.00 %, test accuracy"


def test_models_stand_in_the_order_of_folds_and_seeds_whichever_ended_first():
    ended = [
        Model("", {}, seed, fold, {}, {"accuracy": 0.9, "loss": 0.1}, None, 1.0, "done") for fold, seed in ((1, 0), (0, 1), (2, 0), (0, 0))
    ]
    assert [row[:2] for row in model_table(ended).rows] == [("0", "0"), ("0", "1"), ("1", "0"), ("2", "0")]
