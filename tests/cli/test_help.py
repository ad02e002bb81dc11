"""Help and version: examples first, defaults shown, nothing else needed."""

import importlib
import inspect
import re
import subprocess
import sys
from typing import get_args

import pytest
from typer.testing import CliRunner

from fastmlp import __version__
from fastmlp.cli import app
from fastmlp.cli.commands import COMMANDS as ENTRIES
from fastmlp.cli.commands import OF_DATA
from fastmlp.cli.configuration import FIELDS, flag
from fastmlp.cli.options import COMMON_SETTINGS

COMMANDS = (
    ("train",),
    ("evaluate",),
    ("predict",),
    ("check",),
    ("report",),
    ("repeat",),
    ("sweep",),
    ("cv",),
    ("lr-find",),
    ("reproduce",),
    ("warmup",),
    ("runs",),
    ("data", "list"),
    ("data", "fetch"),
    ("data", "path"),
    ("bench",),
    ("speedrun",),
    ("doctor",),
)


def help_of(*line, ask="--help"):
    result = CliRunner().invoke(app, [*line, ask])
    assert result.exit_code == 0
    assert result.stderr == ""
    return result.stdout


def test_help_of_a_command_has_examples_before_options(subtests):
    for line in COMMANDS:
        with subtests.test(line=line):
            text = help_of(*line)
            assert 0 < text.index("Examples:") < text.index("Options:")
            assert f"\n    fastmlp {' '.join(line)}" in text


def test_help_is_asked_for_by_one_letter_too():
    for line in ((), ("data",), ("train",), ("data", "list")):
        assert help_of(*line, ask="-h") == help_of(*line)


def test_help_fits_80_columns(subtests):
    for line in [(), ("data",), *COMMANDS]:
        with subtests.test(line=line):
            assert [text for text in help_of(*line).splitlines() if len(text) > 80] == []


def test_help_lists_each_setting_under_the_heading_of_its_group():
    headed, heading = {}, ""
    for text in help_of("train", ask="--help-all").splitlines():
        if found := re.fullmatch(r"(\w+):", text):
            heading = found[1]
        elif found := re.match(r"  (--[a-z0-9-]+)", text):
            headed[found[1]] = heading
    assert {name: headed[flag(name)] for name in FIELDS} == {name: field.metadata["group"] for name, field in FIELDS.items()}


def test_help_lists_common_settings_once_and_points_to_the_others():
    text = help_of("train")
    assert len(text.splitlines()) <= 115
    assert all(flag(name) in text for name in COMMON_SETTINGS)
    assert set(COMMON_SETTINGS) <= set(FIELDS)
    for line in ("repeat", "sweep", "cv", "lr-find"):
        text = help_of(line)
        assert len(text.splitlines()) <= 60
        assert "--help-all" in text
        assert "--momentum" in help_of(line, ask="--help-all")


def test_every_command_has_json_quiet_and_debug(subtests):
    for line in COMMANDS:
        with subtests.test(line=line):
            text = help_of(*line)
            assert all(f"\n  {name} " in text for name in ("--json", "--quiet", "--debug"))


def test_a_flag_says_what_its_value_is():
    for line, words in {"train": "--data-dir DIR", "bench": "--save FILE", "lr-find": "--lowest X", "reproduce": "--seeds N"}.items():
        assert words in help_of(line)


def test_every_setting_is_a_flag_of_train_with_its_help_and_default():
    text = " ".join(help_of("train", ask="--help-all").split())
    for name, field in FIELDS.items():
        assert f" {flag(name)} " in text
        assert field.metadata["help"] in text
        default = field.default[0] if isinstance(field.default, tuple) else field.default
        assert default in (None, False) or f"{field.metadata['help']} [default: {default}]" in text


@pytest.mark.parametrize("line", ["train", "repeat", "cv"])
def test_a_setting_that_is_on_or_off_is_a_pair_of_flags_without_a_value(line):
    text = help_of(line, ask="--help-all")
    switches = [name for name, field in FIELDS.items() if bool in (field.type, *get_args(field.type))]
    assert {"nesterov", "restore_best", "augment_flip", "per_feature"} <= set(switches)
    for name in switches:
        assert re.search(f"^  {flag(name)} / --no-{flag(name)[2:]}( |$)", text, re.MULTILINE)


@pytest.mark.parametrize("line", ["train", "sweep"])
def test_every_name_that_a_setting_takes_is_shown(line):
    text = help_of(line, ask="--help-all")
    for field in FIELDS.values():
        for choice in field.metadata["choices"] or ():
            assert re.search(rf"\b{choice}\b", text), (field.name, choice)


@pytest.mark.parametrize(
    ("line", "commands"), [((), ("train", "evaluate", "predict", "check", "data")), (("data",), ("list", "fetch", "path"))]
)
def test_without_a_command_the_help_is_shown(command, line, commands):
    result = command(*line)
    assert result.code == 0
    assert all(f"\n  {name} " in result.out for name in commands)


def test_version_is_on_standard_output(command):
    assert command("--version") == (0, f"fastmlp {__version__}\n", "")


def test_what_is_said_of_a_command_before_it_is_loaded_is_the_first_line_of_its_documentation():
    for name, entry in {**ENTRIES, **OF_DATA}.items():
        if entry.module:
            function = getattr(importlib.import_module(f"fastmlp.cli.{entry.module}"), entry.function)
            assert entry.summary == inspect.getdoc(function).partition("\n")[0], name


def test_a_command_loads_what_it_needs_alone():
    code = "import sys; from fastmlp import cli; cli.run(['data', 'path', 'mnist']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.splitlines()[-1]
    assert {"fastmlp.cli.train", "fastmlp.rendering.experiments", "pydantic", "numpy", "rich"} & set(loaded.split()) == set()
