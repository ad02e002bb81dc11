"""The notebooks among the examples: they run from first to last, and nothing is kept in them."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.long


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_finds_its_own_results_right(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")
    NotebookClient(notebook, timeout=None, kernel_name="python3", resources={"metadata": {"path": str(EXAMPLES)}}).execute()
    assert sum("assert " in cell.source for cell in notebook.cells) >= 2
