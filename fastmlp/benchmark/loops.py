"""Loops that exist to be measured: multiply-adds in registers, a stream through memory, one part of a step over and over.

Nothing in a training calls them. What they reach is the roof under which the kernels are shown. They are compiled as those are.
"""

from typing import Any

from fastmlp.compilation.decorators import kernel
from fastmlp.kernels.step import Step, alone, forward, on_shares, update, wait_for_all
from fastmlp.kernels.vectors import BYTES_AVX512, Emitter, emitted, full_width, look, vector_bytes

# Sums that do not wait for each other: two units times five cycles need ten. Two more registers hold the factor and the addend.
CHAINS_OF_32_REGISTERS, CHAINS_OF_16_REGISTERS = 24, 12


def chains() -> int:
    """Return how many independent sums `multiply_adds` keeps in registers: as many as fit with room to spare."""
    return CHAINS_OF_32_REGISTERS if vector_bytes() == BYTES_AVX512 else CHAINS_OF_16_REGISTERS


def _emit_multiply_adds(v: Emitter, data: Any, count: Any) -> None:
    b = v.builder
    loaded = [v.load(data, v.index(i * v.lanes)) for i in range(chains() + 2)]
    factor, addend = loaded[-2:]
    sums = [v.variable(value) for value in loaded[:-2]]
    with v.loop(count):
        for place in sums:
            # the sum is a factor: with a constant product, the compiler would take the multiplication out of the loop
            b.store(v.multiply_add(b.load(place), factor, addend), place)
    for i, place in enumerate(sums):
        v.store(b.load(place), data, v.index(i * v.lanes))


def _multiply_adds_twin(data: Any, count: int) -> None:
    lanes = vector_bytes() // data.itemsize
    factor, addend = data[chains() * lanes : (chains() + 1) * lanes], data[(chains() + 1) * lanes : (chains() + 2) * lanes]
    for i in range(chains()):
        for lane in range(lanes):
            for _ in range(count):
                data[i * lanes + lane] = data[i * lanes + lane] * factor[lane] + addend[lane]


_multiply_adds = emitted(_multiply_adds_twin, _emit_multiply_adds)


@kernel
def multiply_adds(data, count):
    """S = s f + a, `count` times, for chains() vectors s that stay in registers.

    data ((chains() + 2) lanes,), beginning at a multiple of a vector's size: the vectors s, updated in place, then f, then a.
    """
    _multiply_adds(data, count)


@kernel
def add_scaled(a, b, scale, repeats):
    """A += scale b, `repeats` times: two numbers read and one written for each, as an update of weights does.

    a (n,) updated in place, b (n,).
    """
    full_width()
    for _ in range(repeats):
        for i in range(a.shape[0]):
            a[i] += scale * b[i]


@kernel
def barriers(shared, count, threads):
    """Wait `count` times for all threads of a team; see step.py."""
    for i in range(count):
        wait_for_all(shared, (i + 1) * threads)
    return look(shared, 0)


FORWARD, BACKWARD, UPDATE = range(3)  # parts of a step: of the last layer, with the delta of the layer before; of the first layer


@kernel
def repeat_layer(repeats, part, layers_of_threads, runs, memory, rates, M, H, shared, thread, threads):
    """Run one part of a step on a batch of M rows `repeats` times, as one thread of a team; return `repeats`.

    part: FORWARD, BACKWARD or UPDATE, layers_of_threads, runs: see records.py, H hidden layers. A barrier ends each time. memory,
    rates (RATES,): see records.py; what blocks write is overwritten.
    """
    layers, arrived = layers_of_threads[thread], 0
    step = Step(memory.arena, memory.lists, memory.masks, memory.counts, rates, runs[thread], 0, M)
    for _ in range(repeats):
        alone(step.run.list_zeros, step, layers[0])
        alone(step.run.mask_zeros, step, layers[0])
        if part == FORWARD:
            arrived = forward(step, layers, H, shared, arrived, thread, threads)
        elif part == BACKWARD:
            on_shares(layers[H].to_below, step, layers[H], layers[H - 1], thread, threads)
        else:
            update(step, layers[1], layers[0], thread, threads)
        arrived = wait_for_all(shared, arrived + threads)
    return repeats
