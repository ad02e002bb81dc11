"""A setting is declared once: one line more in settings/fields.py is found by every door to fastmlp, and missed by none without a word."""

import json
import os
import shutil
import subprocess
import sys

import fastmlp
from tests.structure.sources import ROOT

BEFORE = "    augment_flip: bool = setting("
LINE = '    dummy: float = setting(0.5, "a setting that a test adds", STEP, minimum=0.0, group="Optimizer")\n'
LOOK = """
import inspect, json, os, pathlib, sys
import fastmlp
from fastmlp import OnlineTrainer, TrainingSettings
from fastmlp.cli import configuration, options, report, resume, sweep
from fastmlp.search import in_process
from fastmlp.search.task import Task
from fastmlp.settings import NetworkSettings
from fastmlp.rendering.reports import methods
from fastmlp.training import keywords, lr_find

pathlib.Path("run.toml").write_text("[train]\\ndummy = 0.25\\n")
now = TrainingSettings(dummy=0.25, optimizer="sgd")
codes = [in_process._code(Task("", NetworkSettings(), TrainingSettings(dummy=value))) for value in (0.5, 0.25)]
shown = [option for option in options.setting_flags() if option.name == "dummy"]
print(json.dumps({
    "keyword of train": inspect.signature(fastmlp.train).parameters["dummy"].default,
    "keyword of OnlineTrainer": inspect.signature(OnlineTrainer.__init__).parameters["dummy"].default,
    "flag": configuration.from_flags({"dummy": "0.25"}),
    "help": shown[0].annotation.__metadata__[0].help,
    "environment": configuration.given_settings({}, {"FASTMLP_DUMMY": "0.25"}, None),
    "file": configuration.from_file(pathlib.Path("run.toml")),
    "JSON": now.to_dict()["dummy"],
    "record": TrainingSettings.from_record(json.loads(json.dumps(now.to_dict()))) == now,
    "axis of a sweep": sweep.read_axes({"dummy": "0.1,0.2"}, ranges=False)[1],
    "range of a sweep": tuple(sweep.read_axes({"dummy": "0.1..0.2"}, ranges=True)[1]["dummy"]),
    "difference of a resumed training": resume._differences(
        TrainingSettings().to_dict(), TrainingSettings(dummy=0.25).to_dict(), resume.may_change(TrainingSettings(schedule="step"))
    ),
    "command of a run": report.setting_flags(now.to_dict(), "train")[-1],
    "in the methods": "dummy" not in methods.SAID,
    "prepared by itself": codes[0] != codes[1],
    "left to a search for a rate": "dummy" not in lr_find.NEUTRAL,
    "typed keywords": keywords.untold(),
}))
"""


def test_a_setting_that_is_declared_is_found_everywhere(tmp_path):
    shutil.copytree(ROOT / "fastmlp", tmp_path / "fastmlp", ignore=shutil.ignore_patterns("__pycache__"))
    path = tmp_path / "fastmlp" / "settings" / "fields.py"
    text = path.read_text()
    assert text.count(BEFORE) == 1
    path.write_text(text.replace(BEFORE, LINE + BEFORE))
    done = subprocess.run(
        [sys.executable, "-c", LOOK],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "keyword of train": 0.5,
        "keyword of OnlineTrainer": 0.5,
        "flag": {"dummy": 0.25},
        "help": "a setting that a test adds  [default: 0.5]",
        "environment": {"dummy": 0.25},
        "file": {"dummy": 0.25},
        "JSON": 0.25,
        "record": True,
        "axis of a sweep": {"dummy": [0.1, 0.2]},
        "range of a sweep": [0.1, 0.2, False],
        "difference of a resumed training": ["dummy 0.5 → 0.25"],
        "command of a run": "--dummy 0.25",
        "in the methods": True,
        "prepared by itself": True,
        "left to a search for a rate": True,
        "typed keywords": ["dummy: float"],  # the one line that is written a second time, for type checkers: the test of them tells it
    }
    assert not hasattr(fastmlp.TrainingSettings, "dummy")
