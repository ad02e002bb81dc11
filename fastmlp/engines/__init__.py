"""What runs a network: which loops, where its numbers lie, on how many threads.

    choice      which engine: tiles, or the textbook loops
    wanted      what is asked of it: a network, a run of steps, rows
    program     the textbook loops made ready; the addresses of their blocks are in `addresses`
    tiled       tiles made ready: packing, threads, passes
    layout      where the numbers of a network by tiles lie in one array
    records     where compiled code finds them, and which blocks it calls
    threads     the threads of a run of steps

Sizes and names in, arrays out. Decides before the first step and after the last one; what is done to each number is a loop of kernels/.
"""

import fastmlp.compilation  # noqa: F401  it looks whether there is room for a compiler, before a file of this folder loads one
