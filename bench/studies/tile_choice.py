"""Whether layers of any width get the tile that is fastest for them: steps of networks by every tile, beside the one that is chosen.

    python bench/studies/tile_choice.py [--avx2] [--widths 40] [--json FILE]

For each width a network of two such layers takes steps by every tile of the instruction set, in turns, on one thread; the best CPU time of
many turns counts. Printed: the time of the chosen tile over that of the fastest.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from tile_shapes import start_without_avx512

INPUTS, OUTPUTS, BATCH = 64, 10, 64
MOST_UNITS = 1100
ROUNDS, TURN_SECONDS = 15, 0.004


def widths(count: int) -> list[int]:
    """Return numbers of units from 1 to MOST_UNITS, closer where they are small, some of them just above a multiple of a vector."""
    import numpy as np

    found = np.unique(np.geomspace(1, MOST_UNITS, count).round().astype(int))
    return [int(units) for units in found]


def measured(count: int) -> dict[str, Any]:
    """Return the seconds of a step for each width and each tile, and which is chosen."""
    import numba
    import numpy as np

    from fastmlp import machine
    from fastmlp.engines import layout
    from fastmlp.engines.tiled import TiledProgram
    from fastmlp.engines.wanted import Steps, Wanted, count_parameters
    from fastmlp.kernels import tiles
    from fastmlp.kernels.textbook_step import TOTALS
    from fastmlp.kernels.updates import Rates
    from fastmlp.kernels.vectors import lanes_of, vector_bytes

    choose, lanes = layout.tiles_for, lanes_of(np.float32)
    candidates = tiles.instruction_set().panels
    generator = np.random.default_rng(0)
    x = generator.standard_normal((BATCH, INPUTS), np.float32)
    target = generator.integers(0, OUTPUTS, (BATCH, 1)).astype(np.float32)

    def steps_by(form: tiles.PanelTiles, units: int) -> Any:
        sizes = (INPUTS, units, units, OUTPUTS)
        layout.tiles_for = lambda units, lanes: form
        program = TiledProgram(Wanted(sizes, ("relu", "relu"), np.float32, BATCH, loss="cross_entropy"), listed=False)
        parameters = generator.standard_normal(count_parameters(sizes), np.float32) / 100
        empty, rates = np.zeros(0, np.float32), np.zeros((1, len(Rates._fields)), np.float32)

        def run(count: int) -> None:
            order = np.tile(np.arange(BATCH), count)
            program.train(Steps(parameters, empty, empty, np.zeros(TOTALS), x, target, None, order, 0, order.size, BATCH,
                                np.ones(INPUTS, np.float32), np.zeros(INPUTS, np.float32), rates, True))  # fmt: skip

        return run

    def seconds(run: Any, count: int) -> float:
        began = time.process_time()
        run(count)
        return (time.process_time() - began) / count

    rows = []
    for units in widths(count):
        runs = {form: steps_by(form, units) for form in candidates}
        chosen = choose(units, lanes)
        counts, best = {}, dict.fromkeys(candidates, float("inf"))
        for form, run in runs.items():
            run(1)
            counts[form] = max(1, int(TURN_SECONDS / max(seconds(run, 3), 1e-7)))
        for _ in range(ROUNDS):
            for form, run in runs.items():
                best[form] = min(best[form], seconds(run, counts[form]))
        loss = best[chosen] / min(best.values())
        times = {form.NV: round(1e6 * best[form], 2) for form in candidates}
        rows.append({"units": units, "microseconds": times, "chosen": chosen.NV, "over_best": round(loss, 3)})
        print(f"{units:5}  chosen NV {chosen.NV}  {loss:6.3f}  {times}", flush=True)
    return {"cpu": machine.cpu_name(), "numba": numba.__version__, "vector_bytes": vector_bytes(), "widths": rows}


def main() -> None:
    """Measure, print, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--avx2", action="store_true", help="do without AVX-512")
    parser.add_argument("--widths", type=int, default=40)
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    options = parser.parse_args()
    if options.avx2:
        start_without_avx512()
    found = measured(options.widths)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
