"""Which inputs are zero: bit masks of a batch, and from them the lists and masks by which tiles skip products with zero.

    row mask      bit k of row m: x[m, k] != 0
    live list     the inputs that are not zero in at least one of the MR rows of a tile: what a `product` tile visits
    group mask    bit m of 2 adjacent inputs: at least one of them is not zero in row m: what an `update` tile visits

Of MNIST's pixels 19 % are not zero, 22 % of the pairs. A tile over two panels keeps ten sums of one row, or twenty of a pair of inputs, in
registers: enough to be bound by arithmetic, where a compressed row without tiles is bound by loads.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from fastmlp.compilation.decorators import kernel
from fastmlp.kernels.vectors import Emitter, emitted, has_feature

WORD = 64  # inputs per word of a row mask
MOST_LISTED_INPUTS = 2**16  # a live list holds 16-bit numbers
GROUP = 2  # adjacent inputs per group mask
GROUPS_PER_WORD = WORD // GROUP
PLANE_BITS = 16  # group bits of 64 rows are transposed so many at a time
PLANES = GROUPS_PER_WORD // PLANE_BITS
LISTED_BLOCK = 64  # inputs that all rows visit before the next ones: their part of two panels, 20 KiB, stays in the first-level cache
# Bits become numbers by one instruction where there is one for 16-bit numbers.
COMPRESSES = has_feature("avx512vbmi2")
COMPRESSED_BYTES = 64
# Elsewhere a table has for each byte the places of the bits that are set in it, lowest first: no branch depends on a bit.
BYTE = 8
PLACES_IN_BYTE = np.array([sorted(range(BYTE), key=lambda i: (~byte >> i & 1, i)) for byte in range(2**BYTE)], np.uint16)
U = np.uint64
PLANE_MASK = np.uint64(2**PLANE_BITS - 1)


def _emit_nonzero_bits(v: Emitter, x: Any, place: Any, out: Any, out_place: Any) -> None:
    bits = ir.Constant(ir.IntType(64), 0)
    for first in range(0, WORD, v.lanes):
        # "unordered or not equal": a NaN is no zero
        differs = v.builder.fcmp_unordered("!=", v.load(x, v.at(place, first)), v.zero())
        part = v.builder.zext(v.builder.bitcast(differs, ir.IntType(v.lanes)), ir.IntType(64))
        bits = v.builder.or_(bits, v.builder.shl(part, ir.Constant(ir.IntType(64), first)))
    v.builder.store(bits, v.builder.gep(out, [out_place]))


def _nonzero_bits_twin(x: Any, place: int, out: Any, out_place: int) -> None:
    bits = 0
    for i in range(WORD):
        if x[place + i] != 0:
            bits |= 1 << i
    out[out_place] = bits


# out[out_place] = the mask of the 64 numbers from x[place] on.
nonzero_bits = emitted(_nonzero_bits_twin, _emit_nonzero_bits)


def _emit_compress(v: Emitter, bits: Any, base: Any, out: Any, place: Any) -> None:
    b = v.builder
    lanes = COMPRESSED_BYTES // 2
    numbers, chosen = ir.VectorType(ir.IntType(16), lanes), ir.VectorType(ir.IntType(1), lanes)
    name = f"llvm.experimental.vector.compress.v{lanes}i16"
    nothing = ir.Constant(numbers, ir.Undefined)
    for first in range(0, WORD, lanes):
        start = v.broadcast(b.trunc(v.at(base, first), ir.IntType(16)), numbers)
        part = b.trunc(b.lshr(bits, v.index(first)), ir.IntType(lanes))
        packed = v.call(name, numbers, b.add(start, ir.Constant(numbers, list(range(lanes)))), b.bitcast(part, chosen), nothing)
        b.store(packed, b.bitcast(b.gep(out, [place]), numbers.as_pointer())).align = 2
        count = b.ctpop(b.zext(part, ir.IntType(64)))
        place = b.add(place, count)


def _count_bits_twin(bits: Any) -> int:
    return int(bits).bit_count()


count_bits = emitted(_count_bits_twin, lambda v, bits: v.builder.ctpop(bits), types.int64)  # how many are set


def _compress_twin(bits: Any, base: int, out: Any, place: int) -> None:
    for i in range(WORD):
        if int(bits) >> i & 1:
            out[place] = base + i
            place += 1


# Write base + i to out, from out[place] on, for each bit i that is set, lowest first; whatever is behind it, up to 64 numbers, may change.
compress_set_bits = emitted(_compress_twin, _emit_compress)


def _emit_places(v: Emitter, table: Any, byte: Any, base: Any, out: Any, place: Any) -> None:
    b = v.builder
    numbers = ir.VectorType(ir.IntType(16), BYTE)
    row = b.load(b.bitcast(b.gep(table, [b.mul(byte, v.index(BYTE))]), numbers.as_pointer()))
    row.align = 2
    start = v.broadcast(b.trunc(base, ir.IntType(16)), numbers)
    b.store(b.add(start, row), b.bitcast(b.gep(out, [place]), numbers.as_pointer())).align = 2


def _places_twin(table: Any, byte: Any, base: int, out: Any, place: int) -> None:
    for i in range(BYTE):
        out[place + i] = (base + int(table[int(byte), i])) % MOST_LISTED_INPUTS


# out[place + i] = base + table[byte, i] for 8 numbers i: the places of the bits that are set in the byte, and whatever is behind them.
write_places = emitted(_places_twin, _emit_places)


@kernel
def append_set_bits(bits, base, out, place):
    """Write base + i to out, from out[place] on, for each bit i that is set, lowest first; return the place after it.

    Up to 64 numbers from out[place] on may change.
    """
    if COMPRESSES:
        compress_set_bits(bits, base, out, place)
        return place + count_bits(bits)
    for first in range(0, WORD, BYTE):
        byte = bits >> U(first) & U(2**BYTE - 1)
        write_places(PLACES_IN_BYTE, byte, base + first, out, place)
        place += count_bits(byte)
    return place


@kernel
def fold_groups(bits):
    """Return 32 bits: bit g tells whether any of the bits 2 g and 2 g + 1 is set."""
    bits = (bits | (bits >> U(1))) & U(0x5555555555555555)
    bits = (bits | (bits >> U(1))) & U(0x3333333333333333)
    bits = (bits | (bits >> U(2))) & U(0x0F0F0F0F0F0F0F0F)
    bits = (bits | (bits >> U(4))) & U(0x00FF00FF00FF00FF)
    bits = (bits | (bits >> U(8))) & U(0x0000FFFF0000FFFF)
    return (bits | (bits >> U(16))) & U(0x00000000FFFFFFFF)


def _emit_transpose(v: Emitter, folded: Any, place: Any, out: Any, out_place: Any) -> None:
    b = v.builder
    rows = ir.VectorType(ir.IntType(16), WORD)
    column = b.load(b.bitcast(b.gep(folded, [place]), rows.as_pointer()))
    column.align = 2
    for group in range(PLANE_BITS):
        chosen = b.and_(column, ir.Constant(rows, [1 << group] * WORD))
        differs = b.icmp_unsigned("!=", chosen, ir.Constant(rows, [0] * WORD))
        b.store(b.bitcast(differs, ir.IntType(64)), b.gep(out, [v.at(out_place, group)]))


def _transpose_twin(folded: Any, place: int, out: Any, out_place: int) -> None:
    for group in range(PLANE_BITS):
        bits = 0
        for m in range(WORD):
            bits |= (int(folded[place + m]) >> group & 1) << m
        out[out_place + group] = bits


# out[out_place + g] = the mask over 64 rows m of bit g of folded[place + m].
transpose_bits = emitted(_transpose_twin, _emit_transpose)
