"""Vectors of numbers in registers, as wide as the CPU's: the few instructions that the tiles are made of.

Numba has no vector type, and its loops of constant length do not become vectors. So a tile is *emitted*: ordinary Python loops over
its rows and vectors write LLVM instructions one by one, and what runs is straight-line code. `Emitter` is that writer; each tile in
tiles.py has a pure-Python twin that says the same in scalar loops, and runs where compilation is off.
"""

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmlp.compilation import levels
from fastmlp.compilation.intrinsics import with_arity
from fastmlp.compilation.options import JIT

INDEX = ir.IntType(64)
BYTES_AVX512, BYTES_AVX, BYTES_SSE_NEON = 64, 32, 16
CACHE_LINE = 64  # bytes
WORD, BYTES = ir.IntType(32), ir.IntType(8).as_pointer()
FLUSH_TO_ZERO = 1 << 15  # a bit of the control register of SSE and AVX


@functools.cache
def vector_bytes() -> int:
    """Return the width of a vector register in bytes, by the features that code is made for (not by the machine's)."""
    if has_feature("avx512f"):
        return BYTES_AVX512
    return BYTES_AVX if has_feature("avx") else BYTES_SSE_NEON


def has_feature(name: str) -> bool:
    """Return whether code is made for a feature of the CPU, by LLVM's name; never where compilation is off."""
    return JIT and name in levels.target().features


def is_arm() -> bool:
    """Return whether code is made for 64-bit ARM."""
    return JIT and levels.target().triple.startswith(("aarch64", "arm64"))


def is_x86() -> bool:
    """Return whether code is made for x86-64."""
    return JIT and levels.target().triple.startswith("x86_64")


def aligned_zeros(count: int, dtype: Any) -> np.ndarray:
    """Return zeros (count,) that begin where a cache line does: at a multiple of every vector's size."""
    number = np.dtype(dtype)
    whole = np.zeros(count + CACHE_LINE // number.itemsize, number)
    first = -whole.ctypes.data % CACHE_LINE // number.itemsize
    return whole[first : first + count]


def lanes_of(dtype: Any) -> int:
    """Return how many numbers of a type a vector has."""
    number: np.dtype[Any] = np.dtype(dtype)
    return vector_bytes() // number.itemsize


class Emitter:
    """Writes the instructions of one tile on vectors of `lanes` numbers."""

    def __init__(self, context: Any, builder: Any, number: Any) -> None:
        self.context, self.builder = context, builder
        self.scalar = context.get_value_type(number)
        self.lanes = vector_bytes() // (number.bitwidth // 8)
        self.type = ir.VectorType(self.scalar, self.lanes)
        self.bytes = vector_bytes()

    def index(self, value: int) -> Any:
        """Return a whole number as a value."""
        return ir.Constant(INDEX, value)

    def at(self, base: Any, *terms: Any) -> Any:
        """Return base plus terms, of which pairs are multiplied: `at(w0, (k, width), 3)` is w0 + k * width + 3."""
        for term in terms:
            if isinstance(term, tuple):
                term = self.builder.mul(*(self.index(t) if isinstance(t, int) else t for t in term))
            elif isinstance(term, int):
                term = self.index(term)
            base = self.builder.add(base, term)
        return base

    def load(self, data: Any, place: Any) -> Any:
        """Return the vector that begins at data[place]."""
        value = self.builder.load(self._pointer(data, place))
        value.align = self.bytes
        return value

    def store(self, vector: Any, data: Any, place: Any) -> None:
        """data[place : place + lanes] = vector."""
        self.builder.store(vector, self._pointer(data, place)).align = self.bytes

    def _pointer(self, data: Any, place: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(data, [place]), self.type.as_pointer())

    def number(self, data: Any, place: Any) -> Any:
        """Return data[place]."""
        return self.builder.load(self.builder.gep(data, [place]))

    def broadcast(self, number: Any, kind: Any = None) -> Any:
        """Return a vector, of a kind of its own or of floats, with a number in every lane."""
        kind = kind or self.type
        first = ir.Constant(ir.IntType(32), 0)
        nothing = ir.Constant(kind, ir.Undefined)
        vector = self.builder.insert_element(nothing, number, first)
        return self.builder.shuffle_vector(vector, nothing, ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count))

    def zero(self) -> Any:
        """Return a vector of zeros."""
        return ir.Constant(self.type, [0.0] * self.lanes)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """Return a * b + c: one instruction where the CPU has it, two otherwise."""
        product = self.builder.fmul(a, b, flags=("contract",))
        return self.builder.fadd(product, c, flags=("contract",))

    def sums_of_lanes(self, vectors: list[Any]) -> tuple[list[Any], int]:
        """Return the sums of the lanes of each vector, in order, in vectors that begin with so many of them; behind the last is anything.

        Halves first: lane i + lane i + lanes/2, and so on. As long as there are several vectors, the halves of two share one: half the
        additions, and sums come to lie side by side.
        """
        registers, width, count = vectors, self.lanes, 1  # each register holds `count` sums of `width` lanes, one after the other
        while width > 1:
            half = width // 2
            lower = [first * width + i for first in range(count) for i in range(half)]
            upper = [place + half for place in lower]
            packs = len(registers) > 1
            if packs:
                lower, upper = ([*of, *(self.lanes + place for place in of)] for of in (lower, upper))
                of_pairs = [*registers, registers[-1]]  # an odd one is its own partner
                pairs = [(of_pairs[i], of_pairs[i + 1]) for i in range(0, len(registers), 2)]
            else:
                pairs = [(register, register) for register in registers]
            registers = [self.builder.fadd(self.shuffled(*pair, lower), self.shuffled(*pair, upper)) for pair in pairs]
            width, count = half, count * (2 if packs else 1)
        return registers, count

    def shuffled(self, first: Any, second: Any, places: list[int]) -> Any:
        """Return a vector of the numbers at these places of two vectors; what is behind them does not count."""
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [*places, *[0] * (self.lanes - len(places))])
        return self.builder.shuffle_vector(first, second, mask)

    def store_part(self, vector: Any, first: int, count: int, data: Any, place: Any) -> None:
        """data[place : place + count] = count numbers of a vector, from its lane `first` on, at any place."""
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), count), list(range(first, first + count)))
        part = self.builder.shuffle_vector(vector, vector, lanes)
        pointer = self.builder.bitcast(self.builder.gep(data, [place]), part.type.as_pointer())
        self.builder.store(part, pointer).align = self.bytes // self.lanes

    def variable(self, value: Any) -> Any:
        """Return a place for a value that changes in a loop; the compiler keeps it in a register."""
        return cgutils.alloca_once_value(self.builder, value)

    def variables(self, rows: int, columns: int) -> list[list[Any]]:
        """Return rows x columns places for vectors."""
        return [[cgutils.alloca_once(self.builder, self.type) for _ in range(columns)] for _ in range(rows)]

    def call(self, name: str, returns: Any, *values: Any) -> Any:
        """Return what a function gives: an instruction that LLVM knows by name, or one of the C library."""
        kind = ir.FunctionType(returns, [value.type for value in values])
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), values)

    def loop(self, count: Any) -> Any:
        """Return a context whose body runs count times; `.index` of what it gives is the counter."""
        return cgutils.for_range(self.builder, count, intp=INDEX)

    def loop_over_bits(self, bits: Any, body: Callable[[Any], None]) -> None:
        """Run body(i) for each bit i that is set in a 64-bit number, from the lowest to the highest."""
        builder = self.builder
        left = self.variable(bits)
        test, inside, after = (builder.append_basic_block(name) for name in ("bits.test", "bits.body", "bits.end"))
        builder.branch(test)
        builder.position_at_end(test)
        now = builder.load(left)
        builder.cbranch(builder.icmp_unsigned("!=", now, self.index(0)), inside, after)
        builder.position_at_end(inside)
        builder.store(builder.and_(now, builder.sub(now, self.index(1))), left)
        body(builder.cttz(now, ir.Constant(ir.IntType(1), 1)))
        builder.branch(test)
        builder.position_at_end(after)


def emitted(twin: Callable[..., Any], emit: Callable[..., Any], returns: Any = types.void) -> Any:
    """Return a function for compiled code that runs what `emit` writes; its twin where compilation is off.

    emit(emitter, *values) gets the data pointer of an array argument, the values of a tuple of whole numbers, and the value of any other
    argument; what it gives back is of the type `returns`. All arrays of floats hold the same kind of number.
    """
    if not JIT:
        return twin

    def declare(typing_context: Any, *kinds: Any) -> Any:
        floats = [kind.dtype for kind in kinds if isinstance(kind, types.Array) and isinstance(kind.dtype, types.Float)]
        number = floats[0] if floats else types.float32

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            def raw(kind: Any, value: Any) -> Any:
                if isinstance(kind, types.Array):
                    return context.make_array(kind)(context, builder, value).data
                return cgutils.unpack_tuple(builder, value) if isinstance(kind, types.BaseTuple) else value

            given = emit(Emitter(context, builder, number), *map(raw, signature.args, values))
            return context.get_dummy_value() if given is None else given

        def taken(kind: Any) -> Any:
            if isinstance(kind, types.BaseTuple):
                return types.UniTuple(types.intp, len(kind))
            return kind if isinstance(kind, (types.Array, types.Float)) or kind == types.uint64 else types.intp

        return returns(*map(taken, kinds)), generate

    return intrinsic(with_arity(declare, len(inspect.signature(emit).parameters) - 1))


# --- what a whole kernel does: nothing, where it is interpreted ------------------------------------------------------------


def _emit_full_width(v: Emitter) -> None:
    # llvmlite offers no attribute that has a value; its set of attributes takes one all the same
    set.add(v.builder.function.attributes, '"prefer-vector-width"="512"')


# Let the loops of the kernel that calls this, first of all, become vectors as wide as the registers. LLVM halves them on Intel's AVX-512
# cores, which guarded the first of those against a lower clock.
full_width = emitted(lambda: None, _emit_full_width)


def _emit_short_loops(v: Emitter) -> None:
    v.builder.function.attributes.add("optsize")


# Leave the loops of the kernel that calls this as they are: getting ready for vectors takes longer than a few turns.
short_loops = emitted(lambda: None, _emit_short_loops)


def _move_float_mode(v: Emitter, instruction: str, word: Any) -> None:
    """Store the control register of SSE and AVX to a word in memory, "stmxcsr", or load it from there, "ldmxcsr"."""
    v.call(f"llvm.x86.sse.{instruction}", ir.VoidType(), v.builder.bitcast(word, BYTES))


def _emit_flush_subnormals(v: Emitter) -> Any:
    if not is_x86():
        return v.index(0)
    word = cgutils.alloca_once(v.builder, WORD)
    _move_float_mode(v, "stmxcsr", word)
    before = v.builder.load(word)
    v.builder.store(v.builder.or_(before, ir.Constant(WORD, FLUSH_TO_ZERO)), word)
    _move_float_mode(v, "ldmxcsr", word)
    return v.builder.zext(before, INDEX)


# Let this thread's results below the smallest normal number be 0, until restore_float_mode(what this returns). Sums that fade, such as the
# mean gradient of a unit that is dead, never reach 0 by themselves, and each operation on a subnormal number takes an x86 processor some
# hundred cycles. On other processors nothing changes.
flush_subnormals = emitted(lambda: 0, _emit_flush_subnormals, types.int64)


def _emit_restore_float_mode(v: Emitter, mode: Any) -> None:
    if is_x86():
        _move_float_mode(v, "ldmxcsr", cgutils.alloca_once_value(v.builder, v.builder.trunc(mode, WORD)))


restore_float_mode = emitted(lambda mode: None, _emit_restore_float_mode)


def _emit_prefetch(v: Emitter, data: Any, place: Any) -> None:
    to_read, second_level, of_data = (ir.Constant(WORD, number) for number in (0, 2, 1))
    pointer = v.builder.bitcast(v.builder.gep(data, [place]), BYTES)
    v.call("llvm.prefetch.p0", ir.VoidType(), pointer, to_read, second_level, of_data)


# prefetch(x, place): ask for the cache line of the number at that place of an array, counted through its rows, without waiting for it.
prefetch = emitted(lambda x, place: None, _emit_prefetch)


# --- what threads see of each other in a shared array of whole numbers ------------------------------------------------------


def _emit_count(v: Emitter, shared: Any, place: Any) -> None:
    v.builder.atomic_rmw("add", v.builder.gep(shared, [place]), v.index(1), "acq_rel")


def _count_twin(shared: np.ndarray, place: int) -> None:  # interpreted, one thread does all shares
    shared[place] += 1


def _emit_look(v: Emitter, shared: Any, place: Any) -> Any:
    return v.builder.load_atomic(v.builder.gep(shared, [place]), "acquire", 8)


def _emit_pause(v: Emitter) -> None:
    if is_x86():
        v.call("llvm.x86.sse2.pause", ir.VoidType())


def _emit_give_way(v: Emitter) -> None:
    v.call("SwitchToThread" if sys.platform == "win32" else "sched_yield", ir.IntType(32))


count_up = emitted(_count_twin, _emit_count)  # shared[place] += 1, by one thread at a time
look = emitted(lambda shared, place: int(shared[place]), _emit_look, types.int64)  # shared[place] as it is now
pause = emitted(lambda: None, _emit_pause)  # tell the processor that this is a waiting loop
give_way = emitted(lambda: None, _emit_give_way)  # let another thread have the processor
