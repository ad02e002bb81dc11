"""What docs/optimizers.md says: its code runs, and its tables name all that there is."""

import re
from pathlib import Path

import pytest

import fastmlp
from fastmlp.settings import OPTIMIZERS, SCHEDULES

TEXT = (Path(__file__).parents[2] / "docs" / "optimizers.md").read_text()


@pytest.fixture(scope="module")
def printed():
    """What the code of the page prints."""
    values = []
    code = "\n".join(re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL))
    exec(compile(code, "optimizers.md", "exec"), {"print": lambda value: values.append(value)})  # noqa: S102  our own page
    return values


def test_the_code_runs_and_learns(printed):
    adam, nesterov, rate, limited, in_order = printed
    assert all(0 < loss < 0.69 for loss in (adam, nesterov, limited))
    assert 0 < rate < 0.001
    assert in_order is True


def test_every_optimizer_is_in_the_table():
    table = TEXT[TEXT.index("| `optimizer` |") : TEXT.index("PyTorch's rules")]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) - {"optimizer"} == set(OPTIMIZERS)


def test_every_record_of_the_table_can_be_used():
    records = re.findall(r"\| `([A-Z]\w+)\((.*?)\)` \|", TEXT)
    assert {name for name, _ in records} == {"SGD", "RMSprop", "Adagrad", "Adam", "AdamW", "NAdam", "Lion"}
    assert all(getattr(fastmlp, name)()._fields for name, _ in records)


def test_every_schedule_is_in_the_table():
    table = TEXT[TEXT.index("| `schedule` |") : TEXT.index("The loss that `plateau`")]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) - {"schedule"} == set(SCHEDULES)
