"""How fast each shape of tile is by itself, data in the first-level cache: the measurement behind the table in kernels/tiles.py.

    python bench/studies/tile_shapes.py [--avx2] [--json FILE]

Printed for each kind and shape: the share of the peak of one core, best of many short runs in turns with the peak's own loop, and how many
sums the compiler moved out of registers (spills). On a busy machine the best of many is still close; CPU time counts, not the clock's.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

INPUTS = 64  # of a product, as in half a block of a layer; rows of an update
ROUNDS, TURN_SECONDS = 25, 0.002
PRODUCTS_16 = (
    [(m, 1) for m in (4, 6, 8, 10, 12)]
    + [(m, 2) for m in (3, 4, 5, 6)]
    + [(m, 3) for m in (2, 3, 4)]
    + [(2, 4), (3, 4), (2, 5), (2, 6), (1, 8), (1, 9), (1, 10), (1, 12)]
)
PRODUCTS_32 = (
    [(m, 1) for m in (6, 8, 12, 16, 24)]
    + [(m, 2) for m in (4, 6, 8, 10, 12, 14)]
    + [(m, 3) for m in (4, 6, 8, 9)]
    + [(m, 4) for m in (3, 4, 5, 6)]
    + [(m, 5) for m in (2, 3, 4, 5)]
    + [(4, 6), (3, 8)]
)
UPDATES_16 = (
    [(k, 1) for k in (4, 6, 8, 10, 12)]
    + [(k, 2) for k in (2, 3, 4, 5, 6)]
    + [(k, 3) for k in (2, 3, 4)]
    + [(1, 4), (2, 4), (2, 6), (3, 4), (1, 8)]
)
UPDATES_32 = (
    [(k, 1) for k in (4, 8, 12, 16)]
    + [(k, 2) for k in (4, 8, 10, 12)]
    + [(k, 3) for k in (4, 6, 8)]
    + [(k, 4) for k in (2, 4, 5, 6)]
    + [(k, 5) for k in (2, 4, 5)]
    + [(2, 10)]
)
DOTS_16 = [(4, 1), (8, 1), (4, 2), (5, 2), (6, 2), (3, 3), (4, 3), (3, 4), (2, 5), (2, 4), (5, 5), (6, 4)]
WITHOUT_AVX512 = "TILE_STUDY_WITHOUT_AVX512"  # set for the process that measures
DOTS_32 = [(8, 1), (12, 1), (8, 2), (4, 4), (5, 4), (6, 4), (5, 5), (6, 2), (4, 5), (8, 3), (3, 5)]


def start_without_avx512() -> None:
    """Start this program anew in a process from which AVX-512 is hidden, and end with its exit code; return in that process."""
    if WITHOUT_AVX512 in os.environ:
        return
    from fastmlp.benchmark.processes import check_instruction_set, instructions

    check_instruction_set("avx2")
    environment = os.environ | instructions("avx2") | {WITHOUT_AVX512: "1"}
    raise SystemExit(subprocess.call([sys.executable, *sys.argv], env=environment))


def best_seconds(calls: list[Callable[[int], Any]]) -> list[float]:
    """Return the least CPU seconds of one repetition of each call, taken in turns."""
    counts = []
    for call in calls:
        call(10)
        count = 10
        while True:
            began = time.thread_time()
            call(count)
            if time.thread_time() - began > TURN_SECONDS:
                break
            count *= 2
        counts.append(count)
    best = [float("inf")] * len(calls)
    for _ in range(ROUNDS):
        for index, (call, count) in enumerate(zip(calls, counts, strict=True)):
            began = time.thread_time()
            call(count)
            best[index] = min(best[index], (time.thread_time() - began) / count)
    return best


def measured() -> dict[str, Any]:
    """Return the share of the peak of every kind and shape, and its spills."""
    import numba
    import numpy as np

    from fastmlp import machine
    from fastmlp.benchmark import loops
    from fastmlp.kernels import tiles
    from fastmlp.kernels.vectors import BYTES_AVX512, aligned_zeros, lanes_of, vector_bytes

    wide = vector_bytes() == BYTES_AVX512
    lanes = lanes_of(np.float32)
    register = {64: "zmm", 32: "ymm", 16: "xmm"}[vector_bytes()]
    spill = re.compile(rf"\(%rsp.*%{register}|%{register}\d+, -?\d*\(%rsp")
    fma = re.compile(rf"\bvfn?m(?:add|sub)\w*ps\b.*%{register}")
    arena, lists = aligned_zeros(40_000, np.float32), np.zeros(1, np.uint16)
    w0, x0, out0 = 0, 16_384, 28_672

    def repeated(kind: str, rows: int, columns: int) -> Any:
        width = columns * lanes
        if kind == "product":
            tile = tiles.product(tiles.Shape(rows, columns), False)

            @numba.njit
            def repeat(times, arena, lists):
                for _ in range(times):
                    tile(arena, (w0, 0), arena, (x0, INPUTS + 16, 1), lists, (0, INPUTS), arena, (out0, width, 0), (out0, width, 0))
        elif kind == "update":
            tile = tiles.update(rows, columns, False)

            @numba.njit
            def repeat(times, arena, lists):
                for _ in range(times):
                    tile(arena, (out0, 0), arena, (x0, 16, 1), arena, (w0, width, 0), INPUTS)
        else:
            tile = tiles.dot(rows, columns)
            vectors = INPUTS * 4 // lanes

            @numba.njit
            def repeat(times, arena, lists):
                for _ in range(times):
                    tile(arena, (x0, 4 * INPUTS + lanes, 0), arena, (w0, 4 * INPUTS + lanes, 0), 1, vectors, arena, (out0, 16))

        return repeat

    data = aligned_zeros((loops.chains() + 2) * lanes, np.float32)
    shapes = {
        "product": PRODUCTS_32 if wide else PRODUCTS_16,
        "update": UPDATES_32 if wide else UPDATES_16,
        "dot": DOTS_32 if wide else DOTS_16,
    }
    rows = []
    for kind, all_shapes in shapes.items():
        for MR, NV in all_shapes:
            repeat = repeated(kind, MR, NV)
            repeat(1, arena, lists)
            (signature,) = repeat.signatures
            lines = repeat.inspect_asm(signature).splitlines()
            places = [number for number, line in enumerate(lines) if fma.search(line)]
            spills = sum(1 for line in lines[places[0] : places[-1] + 1] if spill.search(line))
            peak, taken = best_seconds([lambda n: loops.multiply_adds(data, n), lambda n, repeat=repeat: repeat(n, arena, lists)])
            sums = MR * NV * lanes * INPUTS if kind != "dot" else MR * NV * INPUTS * 4
            rate, roof = sums / taken, loops.chains() * lanes / peak
            rows.append({"kind": kind, "MR": MR, "NV": NV, "share": round(rate / roof, 3), "spills": spills, "gflops": 2e-9 * rate})
            print(f"{kind:8}{MR:3} x {NV:2}  {rate / roof:6.1%}  {2e-9 * rate:6.1f} GFLOP/s  spills {spills}", flush=True)
    return {"cpu": machine.cpu_name(), "numba": numba.__version__, "vector_bytes": vector_bytes(), "inputs": INPUTS, "shapes": rows}


def main() -> None:
    """Measure, print, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--avx2", action="store_true", help="do without AVX-512")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    options = parser.parse_args()
    if options.avx2:
        start_without_avx512()
    found = measured()
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
