"""What docs/training.md says: its code runs and gives what it says, and its tables name what there is."""

import contextlib
import re
from pathlib import Path

import pytest

import fastmlp
from fastmlp.settings import INITIALIZERS
from fastmlp.training import stopping
from fastmlp.training.callbacks import hooks

TEXT = (Path(__file__).parents[2] / "docs" / "training.md").read_text()


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the code of the page leaves behind, and what it prints."""
    folder = tmp_path_factory.mktemp("page")
    printed = []
    found = {"print": lambda *values: printed.append(values)}
    code = "\n".join(re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL))
    with contextlib.chdir(folder):
        exec(compile(code, "training.md", "exec"), found)  # noqa: S102  our own page
    return found | {"printed": printed}


def test_the_code_runs_and_prints_what_it_says(names):
    history = names["history"]
    assert names["printed"][0] == (history.stopped, history.best_epoch, len(history))
    assert list(names["printed"][1][0]) == ["inside", "outside"]  # the labels of its words
    assert set(names["printed"][2][0]) == {"loss", "accuracy"}
    assert names["printed"][3] == ("epochs", True)
    assert names["printed"][4] == ([4, 5, 6],)
    assert names["trainer"].stopped == "epochs"
    assert (names["online"].steps, names["loss"] < 0.7) == (61, True)
    assert names["given"].sizes == (2, 2, 3)
    assert names["scores"]["r2"] > 0.8


def test_every_reason_to_stop_is_in_the_table():
    reasons = {value for name, value in vars(stopping).items() if name.isupper() and isinstance(value, str)}
    assert set(re.findall(r'\| `"(\w+)"` \|\n', TEXT)) == reasons


def test_every_hook_is_in_the_table():
    assert set(re.findall(r"^\| `(on_\w+)` \|", TEXT, re.MULTILINE)) == set(hooks.HOOKS)


def test_every_initialiser_is_in_the_table():
    table = TEXT.partition("## Weight initialisation")[2].partition("\n\nNetworks that")[0]
    assert set(re.findall(r"`(\w+)`", "\n".join(line for line in table.splitlines() if line.startswith("| `")))) - {"initial_value"} == set(
        INITIALIZERS
    )


def test_the_defaults_named_are_those_of_the_activations():
    from fastmlp.kernels.activations import ACTIVATIONS

    [named] = re.findall(r"`he_normal` before relu and its kind \(([^)]*)\)", TEXT)
    he = {name for name, activation in ACTIVATIONS.items() if activation.initializer == "he_normal"}
    assert {"relu", *re.split(r",\s+", named)} == he
    assert [name for name, activation in ACTIVATIONS.items() if activation.initializer == "lecun_normal"] == ["selu"]


def test_what_the_page_names_exists():
    for name in set(re.findall(r"fastmlp\.(\w+)", TEXT)) - {"py"}:
        assert hasattr(fastmlp, name), name
