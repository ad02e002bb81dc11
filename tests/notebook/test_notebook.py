"""Training inside a notebook, where the process outlives the training."""

import asyncio
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.long

# A batch of this network takes milliseconds, an epoch far longer: the interrupt falls between the ends of two epochs.
PREPARE = """
import numpy as np
import fastmlp

rng = np.random.default_rng(0)
x = rng.integers(0, 256, size=(60_000, 784), dtype=np.uint8)
y = rng.integers(0, 10, size=60_000)
network = fastmlp.Network([784, 300, 10], seed=0)
"""
SHORT = """
def show(network, epoch):
    print("epoch", epoch.epoch, "loss", round(epoch.train_loss, 4), flush=True)

history = fastmlp.train(network, x[:2_000], y[:2_000], epochs=2, callbacks=[show])
"""
LONG = """
print("started", flush=True)
fastmlp.train(network, x, y, epochs=1_000_000)
"""
AGAIN = """
before = network.parameters.copy()
history = fastmlp.train(network, x[:2_000], y[:2_000], epochs=1)
print(len(history), np.isfinite(before).all(), np.isfinite(network.parameters).all(), (before != network.parameters).any())
"""


async def run_cells() -> list[nbformat.NotebookNode]:
    """Run the four cells in one kernel, interrupt the third while it trains, and return them with their outputs."""
    cells = [nbformat.v4.new_code_cell(source) for source in (PREPARE, SHORT, LONG, AGAIN)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    client = NotebookClient(notebook, timeout=None, kernel_name="python3", allow_errors=True, resources={"metadata": {"path": str(ROOT)}})
    async with client.async_setup_kernel():
        for index, cell in enumerate(cells):
            running = asyncio.create_task(client.async_execute_cell(cell, index))
            if cell.source == LONG:
                while not text(cell) and not running.done():
                    await asyncio.sleep(0.05)
                await asyncio.sleep(0.5)  # past the checks of the arguments, into compiled code
                await client.km.interrupt_kernel()
            await running
    return cells


def text(cell: nbformat.NotebookNode) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def errors(cell: nbformat.NotebookNode) -> list[str]:
    return [output.ename for output in cell.outputs if output.output_type == "error"]


@pytest.fixture(scope="module")
def cells():
    return asyncio.run(run_cells())


def test_epochs_are_shown_while_training(cells):
    _, short, _, _ = cells
    assert errors(short) == []
    assert [line.split()[:2] for line in text(short).splitlines()] == [["epoch", "1"], ["epoch", "2"]]


def test_interrupt_ends_the_cell_with_keyboard_interrupt(cells):
    _, _, long, _ = cells
    assert text(long) == "started\n"
    assert errors(long) == ["KeyboardInterrupt"]


def test_training_again_works_after_an_interrupt(cells):
    _, _, _, again = cells
    assert errors(again) == []
    assert text(again) == "1 True True True\n"
