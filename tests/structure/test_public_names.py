"""The names that users rely on, and the one source of every setting."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

import fastmlp
from fastmlp import callbacks, errors, preprocessing
from fastmlp.data.formats import read_table
from fastmlp.search import bank, cross_validation, ledger, repeat, sweep
from tests.structure.sources import ROOT

ERRORS = {name for name, value in vars(errors).items() if isinstance(value, type)}
PUBLIC = ERRORS | {
    "Adagrad",
    "Adam",
    "AdamW",
    "Dataset",
    "Epoch",
    "History",
    "LBFGS",
    "Lion",
    "NAdam",
    "Network",
    "NetworkSettings",
    "Progress",
    "RMSprop",
    "LearningRateFinderResult",
    "SGD",
    "TrainingState",
    "OnlineTrainer",
    "Trainer",
    "TrainingSettings",
    "__version__",
    "activation",
    "callbacks",
    "check_gradient",
    "errors",
    "find_learning_rate",
    "kernels",
    "load_dataset",
    "load_table",
    "loss",
    "make_plan",
    "open_table",
    "train",
    "train_ensemble",
    "train_epochs",
}
OF_SCIKIT_LEARN = {"MLPClassifier", "MLPRegressor", "model_selection"}
if find_spec("sklearn") is not None:
    PUBLIC |= OF_SCIKIT_LEARN


def test_all_lists_the_public_names():
    assert sorted(fastmlp.__all__) == sorted(PUBLIC)


def test_dir_shows_the_public_names():
    assert set(fastmlp.__all__) | OF_SCIKIT_LEARN <= set(dir(fastmlp))


@pytest.mark.parametrize(
    ("before", "now"), [("Stepper", "OnlineTrainer"), ("State", "TrainingState"), ("RateSweep", "LearningRateFinderResult")]
)
def test_an_old_public_name_is_taken_with_a_warning(before, now):
    with pytest.warns(FutureWarning, match=f"{before} is called fastmlp.{now} now"):
        assert getattr(fastmlp, before) is getattr(fastmlp, now)


def test_public_names_can_be_used():
    assert [name for name in sorted(PUBLIC) if getattr(fastmlp, name) is None] == []


def test_a_keyword_that_there_is_not_is_refused_by_name():
    others = {"History", "Trainer", "train", "train_epochs", "find_learning_rate", "OnlineTrainer", *OF_SCIKIT_LEARN}
    public = [getattr(fastmlp, name) for name in sorted(PUBLIC - ERRORS - others)]
    records = [getattr(preprocessing, name) for name in preprocessing.__all__]
    records += [getattr(callbacks, name) for name in callbacks.__all__]
    searches = [bank.train_bank, cross_validation.cv_tasks, ledger.Ledger, ledger.complete, repeat.repeat_tasks]
    searches += [sweep.draw, sweep.grid, sweep.run_sweep, sweep.sweep_tasks, read_table]
    net = fastmlp.Network([2, 2])
    methods = [net.compiled, net.evaluate, net.load, net.logits, net.save]
    for make in (*filter(callable, public), *records, *searches, *methods):
        with pytest.raises(errors.ConfigError, match="unknown setting 'no_such_thing'"):
            make(no_such_thing=1)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = fastmlp.no_such_name


def run_python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_importing_fastmlp_imports_neither_numpy_nor_numba():
    assert run_python("import sys, fastmlp; print({'numpy', 'numba'} & set(sys.modules))") == "set()\n"


def test_help_of_every_command_imports_nothing_heavy():
    code = """
import contextlib, io, sys
from fastmlp.cli import main
names = "train evaluate predict check data bench doctor report repeat sweep cv lr-find reproduce runs warmup".split()
for command in ([], *([name] for name in names)):
    sys.argv = ["fastmlp", *command, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
        main()
    if "Usage" not in shown.getvalue():
        print("no help for", command)
print({"numpy", "numba", "pydantic", "pooch", "safetensors", "matplotlib", "jinja2", "plotext"} & set(sys.modules))
"""
    assert run_python(code) == "set()\n"
