"""The errors: one tree, one exit code each, the built-in bases that callers catch."""

import re

import pytest

import fastmlp
from fastmlp import errors

CLASSES = {name: value for name, value in vars(errors).items() if isinstance(value, type)}
EXIT_CODES = {
    "FastmlpError": 70,
    "TrainingError": 1,
    "ScoreMissed": 1,
    "DataError": 65,
    "ModelFileError": 65,
    "InputNotFound": 66,
    "DatasetUnavailable": 69,
    "MissingExtra": 69,
    "MissingName": 69,
    "NotEnoughMemory": 71,
    "OutputError": 73,
    "WriteError": 74,
    "RunInUse": 75,
    "ConfigError": 78,
}


def test_every_error_has_its_exit_code():
    assert {name: error.exit_code for name, error in CLASSES.items()} == EXIT_CODES


def test_the_tree_in_the_docstring_is_that_of_the_classes():
    drawn, parents = {}, {0: "Exception"}
    for line in errors.__doc__.splitlines():
        if match := re.match(r"    ([│├└─ ]*)(\w+)\s*(?:\(\w+\))?\s+(\d+) ", line):
            depth = len(match[1]) // 4
            drawn[match[2]] = (parents[depth], int(match[3]))
            parents[depth + 1] = match[2]
    assert drawn == {name: (error.__bases__[0].__name__, error.exit_code) for name, error in CLASSES.items()}


@pytest.mark.parametrize(
    ("error", "base"),
    [
        ("DataError", ValueError),
        ("ModelFileError", ValueError),
        ("ConfigError", ValueError),
        ("InputNotFound", FileNotFoundError),
        ("MissingExtra", ImportError),
        ("MissingName", AttributeError),
        ("NotEnoughMemory", MemoryError),
    ],
)
def test_an_error_may_be_caught_as_the_built_in_that_it_is(error, base):
    with pytest.raises(base, match="^what happened$"):
        raise CLASSES[error]("what happened")


def test_every_error_is_a_fastmlp_error_and_public():
    assert [name for name, error in CLASSES.items() if not issubclass(error, fastmlp.FastmlpError)] == []
    assert {name: getattr(fastmlp, name) for name in CLASSES} == CLASSES
    assert set(CLASSES) <= set(fastmlp.__all__)


def test_every_message_is_what_was_said_in_one_line():
    said = "x: expected this, got array([[0.],\n       [1.]])"
    found = {name: str(error(said)) for name, error in CLASSES.items()}
    assert found.pop("DatasetUnavailable") == said  # a line for each source that was tried
    assert set(found.values()) == {"x: expected this, got array([[0.], [1.]])"}
