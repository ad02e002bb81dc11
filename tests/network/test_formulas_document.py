"""What docs/formulas.md says: its tables are the registries, its formulas theirs, and its code runs."""

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.losses import LOSSES
from fastmlp.network import duals

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "formulas.md").read_text(encoding="utf-8")
CELL = r" *`?([^|`]*)`? *\|"
ROWS = {
    form if (form := f"{row[0]}_of_{row[1].strip()}") in LOSSES else row[0]: [cell.strip() for cell in row[1:]]
    for row in re.findall(rf"^\| `(\w+)` \|{CELL}{CELL}{CELL}(?:{CELL}{CELL})?$", TEXT, re.MULTILINE)
}
BUILT_IN = {name: record for name, record in (ACTIVATIONS | LOSSES).items()}
POINTS = (-6.5, -2.5, -0.75, 0.0, 0.25, 1.0, 2.5, 4.0)


def value(expression, z, **names):
    """Return a formula of the document at z, by Python's own mathematics."""
    u = math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)
    du = math.sqrt(2 / math.pi) * (1 + 0.134145 * z**2)
    letters = {"z": z, "u": u, "du": du, "s": 1 / (1 + math.exp(-z)), "λ": 1.0507009873554805, "α": 1.6732632423543772}
    functions = {"abs": abs, "min": min, "max": max, "sign": lambda x: (x > 0) - (x < 0)}
    return eval(expression, vars(math) | functions | letters | names)  # noqa: S307  the document is ours


def test_every_activation_and_loss_has_its_row_and_no_other_name_has_one():
    assert set(ROWS) == set(BUILT_IN)


def test_sources_are_those_of_the_registry():
    assert [name for name in BUILT_IN if BUILT_IN[name].source not in ROWS[name]] == []


def test_formula_and_derivative_of_an_activation_are_those_of_the_kernels(subtests):
    for name in ACTIVATIONS:
        with subtests.test(name=name):
            formula, derivative, *_ = ROWS[name]
            record = ACTIVATIONS[name]
            for z in POINTS:
                a = record.formula(z)
                assert a == pytest.approx(value(formula, z), rel=1e-9, abs=1e-12)
                assert record.derivative(z, a) == pytest.approx(value(derivative, z, a=a), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", [name for name, record in LOSSES.items() if record.formula])
def test_formula_and_derivative_of_a_loss_are_those_of_the_kernels(name):
    output, parameter, formula, derivative, _ = ROWS[name]
    record = LOSSES[name]
    assert (output, parameter) == (record.output, record.parameter or "")
    p = 0.7 if parameter in ("huber_delta", "quantile") else 0.0
    for z in POINTS:
        for t in (0.0, 1.0, 2.5):
            assert record.formula(z, t, p) == pytest.approx(value(formula, z, t=t, p=p), rel=1e-9, abs=1e-12)
            assert record.derivative(z, t, p) == pytest.approx(value(derivative, z, t=t, p=p), rel=1e-9, abs=1e-12)


def test_every_function_that_a_formula_may_call_is_named():
    for name in (*duals.FUNCTIONS, "abs", "min", "max", "pow", "np.where", "np.square"):
        assert re.search(rf"^    .*\b{re.escape(name)}\b", TEXT, re.MULTILINE), name


def test_python_of_the_document_runs(tmp_path):
    script = tmp_path / "document.py"
    script.write_text("\n".join([*re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL), "print(net, net.loss, any_name(0.0))"]))
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Network(2-16-1, swish → identity, float32) squared_log_error 0.5\n"
