"""`fastmlp lr-find`: a suggestion for people and programs, a picture, and errors before anything is loaded."""

import struct

import pytest

import fastmlp

QUICK = ("lr-find", "synthetic", "--batch-size", "50")


def test_it_ends_with_a_flag_to_copy(command):
    result = command(*QUICK)
    assert result.code == 0
    last = result.out.splitlines()[-1]
    assert last.startswith("suggestion: --learning-rate ")
    assert 0.01 < float(last.split()[-1]) < 10


def test_quiet_prints_the_suggestion_alone(command):
    result = command(*QUICK, "--quiet")
    assert len(result.out.splitlines()) == 1
    assert result.err == ""


def test_json_has_the_curve_and_what_it_suggests(command):
    record = command(*QUICK, "--json").json
    assert record["command"] == "lr-find"
    assert len(record["learning_rates"]) == len(record["losses"]) == len(record["smoothed"]) > 100
    assert record["learning_rates"][0] == pytest.approx(1e-6)
    assert record["steepest"] < record["suggestion"] < record["smallest"]
    assert record["settings"]["train"]["learning_rate"] is None
    assert record["settings"]["train"]["batch_size"] == 50
    assert record["plot"] is None


def test_it_finds_what_the_library_finds(command):
    data = fastmlp.load_dataset("synthetic")
    found = fastmlp.find_learning_rate(fastmlp.Network([2, 3, 2], "sigmoid"), data.x_train, data.y_train, batch_size=50, optimizer="sgd")
    record = command(*QUICK, "--json").json
    assert record["losses"] == found.losses.tolist()
    assert record["suggestion"] == found.suggestion


def test_settings_of_a_training_apply(command):
    plain, other = command(*QUICK, "--json").json, command(*QUICK, "--optimizer", "adam", "--json").json
    assert other["suggestion"] < plain["suggestion"]


def test_bounds_and_steps_are_those_asked_for(command):
    record = command("lr-find", "synthetic", "--lowest", "1e-4", "--highest", "1e-3", "--steps", "30", "--json").json
    assert len(record["learning_rates"]) == 30
    assert (record["learning_rates"][0], record["learning_rates"][-1]) == pytest.approx((1e-4, 1e-3))
    assert record["stopped"] == "highest"
    assert record["suggestion"] is None


def test_without_a_suggestion_it_says_why(command):
    result = command("lr-find", "synthetic", "--lowest", "1e-12", "--highest", "1e-11", "--steps", "100")
    assert result.code == 0
    assert "no suggestion: the loss never fell beyond the noise" in result.out


def test_a_picture_is_drawn_into_the_file_named(command, tmp_path):
    record = command(*QUICK, "--plot", "rates.png", "--json").json
    assert record["plot"] == "rates.png"
    head = (tmp_path / "rates.png").read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", head[16:24])
    assert width > 900
    assert height > 500
    assert [path.name for path in tmp_path.iterdir()] == ["rates.png"]


def test_a_drawing_names_its_rates(command, tmp_path):
    command(*QUICK, "--plot", "rates.svg")
    text = (tmp_path / "rates.svg").read_text()
    for words in ("suggestion", "falls fastest", "smallest", "learning rate", "training loss (cross_entropy)", "0.0001"):
        assert words in text
    assert "mathdefault" not in text


def test_a_plot_in_the_terminal_has_ticks_at_powers_of_ten(command):
    result = command(*QUICK, "--plot", "-")
    assert "learning rate" in result.out
    assert "0.0001" in result.out
    assert max(map(len, result.out.splitlines())) <= 78


REFUSED = {
    "another kind of picture": (("--plot", "rates.pdf"), 2, "ends in .png or .svg"),
    "a folder that is not there": (("--plot", "no/such/rates.png"), 73, "create its folder first"),
    "a learning rate": (("--learning-rate", "0.1"), 2, "as it is looked for"),
    "bounds the wrong way round": (("--lowest", "1", "--highest", "0.1"), 2, "less than --highest 0.1, got 1"),
    "no rate at all": (("--steps", "1"), 2, "expected at least 2, got 1"),
    "an unknown setting": (("--optimizer", "sdg"), 2, "did you mean 'sgd'"),
    "an optimizer without a rate": (("--optimizer", "lbfgs"), 78, "has a learning rate"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_makes_no_sense_is_refused_in_one_line(command, what):
    words, code, hint = REFUSED[what]
    result = command(*QUICK, *words)
    assert result.code == code
    assert hint in result.err
    assert len([line for line in result.err.splitlines() if line.startswith("error")]) == 1
    assert result.out == ""
