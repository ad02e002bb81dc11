"""How evenly the work of a step falls on the shares of a network: arithmetic on the layout, for any number of threads and no machine.

    python bench/studies/shares.py

Printed for each workload, instruction set and number of threads: how many shares are made, and the work of the longest over the mean.
"""

from fastmlp.benchmark.workloads import WORKLOADS
from fastmlp.engines import layout
from fastmlp.kernels import tiles

LANES = {"AVX-512": 16, "AVX2": 8}
THREADS = (2, 4, 8, 16, 32)


def main() -> None:
    """Print the table."""
    print("workload".ljust(12) + "".join(f"{threads} threads".rjust(14) for threads in THREADS))
    for name in "ABCDEF":
        for instructions, lanes in LANES.items():
            layout.instruction_set = lambda instructions=instructions: tiles.INSTRUCTION_SETS[instructions]
            cells = []
            for threads in THREADS:
                shares = layout.fewest_shares.__wrapped__(WORKLOADS[name].sizes, lanes, threads)
                longest, mean = layout.longest_and_mean_work(WORKLOADS[name].sizes, lanes, shares)
                cells.append(f"{shares}, {longest / mean:.3f}".rjust(14))
            print(f"{name} {instructions}".ljust(12) + "".join(cells))


if __name__ == "__main__":
    main()
