"""`fastmlp data`: what there is, where it is, how it comes here."""

import pytest

from fastmlp.data.dataset import DATASETS
from fastmlp.data.fetch import FILES
from fastmlp.errors import InputNotFound


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty cache, no data folder, no network."""
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("FASTMLP_OFFLINE", "1")
    monkeypatch.delenv("FASTMLP_DATA_DIR", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def mine(mnist, tmp_path):
    """A data folder of the user's with the files of MNIST, as links."""
    from fastmlp.data.fetch import fetch_dataset

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mnist").symlink_to(fetch_dataset("mnist").resolve())
    return tmp_path / "mine"


def test_list_shows_every_data_set(command):
    result = command("data", "list")
    assert result.code == 0
    assert [line for line in result.out.splitlines() if not line.startswith(" ")] == list(DATASETS)


def test_list_says_how_to_get_what_is_not_here(command, cache):
    assert "fastmlp data fetch mnist" in command("data", "list").out


def test_list_says_where_files_are(command, mine, cache):
    record = command("data", "list", "--data-dir", mine, "--json").json
    folders = {data["name"]: data["folder"] for data in record["datasets"]}
    assert folders == {"mnist": str(mine / "mnist"), "fashion-mnist": None, "synthetic": None}


def test_fetch_prints_the_folder(command, mine, cache):
    assert command("data", "fetch", "mnist", "--data-dir", mine) == (0, f"{mine / 'mnist'}\n", "")
    assert command("data", "fetch", "mnist", "--data-dir", mine, "--json").json == {
        "command": "data fetch",
        "dataset": "mnist",
        "folder": str(mine / "mnist"),
    }


def test_fetch_without_any_source_exits_with_69_and_says_what_to_do(command, cache):
    result = command("data", "fetch", "mnist")
    assert result.code == 69
    assert result.out == ""
    assert "--data-dir" in result.err
    assert "--source npm" in result.err
    assert not cache.exists()


def test_fetch_without_any_source_with_json_is_one_object(command, cache):
    error = command("data", "fetch", "mnist", "--json").json["error"]
    assert (error["type"], error["exit_code"]) == ("DatasetUnavailable", 69)


@pytest.mark.parametrize("name", FILES)
def test_path_is_a_folder_in_the_cache(command, cache, name):
    assert command("data", "path", name).out == f"{cache / 'data' / name}\n"
    assert command("data", "path", name, "--json").json["exists"] is False


def test_path_prefers_the_data_folder(command, mine, cache):
    assert command("data", "path", "mnist", "--data-dir", mine).out == f"{mine / 'mnist'}\n"


def test_what_a_command_fetches_it_tells(command, monkeypatch, digits, subtests):
    def load_dataset(name, data_dir=None, *, notify):
        notify(f"fetching {name} from afar")
        raise InputNotFound("nothing there")

    monkeypatch.setattr("fastmlp.data.dataset.load_dataset", load_dataset)
    lines = [["train", "mnist"], ["lr-find", "mnist"], ["evaluate", digits, "mnist"], ["repeat", "mnist"], ["cv", "mnist"]]
    for line in [*lines, ["sweep", "mnist", "--learning-rate", "0.1,0.2"], ["speedrun", "mnist"], ["reproduce"]]:
        with subtests.test(line[0]):
            result = command(*line)
            assert result.code == 66
            assert "fetching mnist from afar\n" in result.err
