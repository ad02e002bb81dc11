"""docs/agreement.md, written where PyTorch is installed: it speaks of everything there is, and nothing in it disagrees without a reason."""

from pathlib import Path

from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.losses import LOSSES
from fastmlp.settings import OPTIMIZERS, SCHEDULES

TABLE = (Path(__file__).parents[2] / "docs" / "agreement.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TABLE.splitlines() if line.startswith("|")][2:]
NAMES = {row[1].split(",")[0] for row in ROWS}


def test_it_speaks_of_everything_there_is():
    assert {*ACTIVATIONS, *LOSSES, *OPTIMIZERS, *SCHEDULES} - {"constant"} - NAMES == set()


def test_it_agrees_or_says_how_the_definitions_differ(subtests):
    for row in ROWS:
        with subtests.test(row[1]):
            _, _, _, difference, verdict = row
            if difference == "–":
                assert len(verdict) > 10
            elif verdict == "yes":
                assert float(difference) <= 1e-9
            else:
                assert verdict.startswith("differs: ")
                assert float(difference) < 0.01
