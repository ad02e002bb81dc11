"""What compiled code asks of other libraries: nothing of the C library that computes, whose last bits depend on its version. Linux only."""

import struct
import sys

import pytest
from numba import types

from fastmlp.compilation import code_cache
from fastmlp.compilation.decorators import kernel
from fastmlp.compilation.listing import Needed
from fastmlp.compilation.machine_code import Code
from fastmlp.compilation.stamps import code_folder
from fastmlp.kernels.elementary import cos, erf, erfc, exp, exp_bounded, expm1, log, log1p, power, sin, sqrt, tanh

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads ELF files")

SYMBOL_TABLE = 2  # a kind of section
# Of Python and of Numba's own: exceptions, arrays that are made and handed out, threads.
PREFIXES = ("Py", "_Py", "NRT_", "numba_")
THREADS = (
    "get_num_threads get_parallel_chunksize set_parallel_chunksize get_sched_size allocate_sched deallocate_sched do_scheduling_unsigned"
)
OTHERS = {*THREADS.split(), "memcpy", "memset", "printf", "sched_yield"}
POWERS = {"pow", "powf"}  # of formulas that are a user's, for exponents that are no small whole numbers


def undefined(object_file):
    """Return the names that an object file of 64-bit ELF asks for and does not have."""
    (start,) = struct.unpack_from("<Q", object_file, 0x28)
    size, count = struct.unpack_from("<HH", object_file, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", object_file, start + number * size) for number in range(count)]
    found = set()
    for _, kind, _, _, offset, length, link, _, _, entry in sections:
        if kind == SYMBOL_TABLE:
            names = sections[link][4]
            for place in range(offset, offset + length, entry):
                name, _, _, section = struct.unpack_from("<IBBH", object_file, place)
                if section == 0 and name:
                    found.add(object_file[names + name : object_file.index(b"\0", names + name)].decode())
    return found


def computing(object_file):
    """Return what an object file asks for that is not known to leave the numbers alone."""
    return sorted(name for name in undefined(object_file) if not name.startswith(PREFIXES) and name not in OTHERS)


@kernel(inner=True)
def every_function(z):
    """Return the sum of all elementary functions of a number."""
    return exp(z) + exp_bounded(z) + expm1(z) + log(z) + log1p(z) + tanh(z) + erf(z) + erfc(z) + sin(z) + cos(z) + sqrt(z)


@kernel(inner=True)
def a_power(x, y):
    """Return x^y of two numbers."""
    return power(x, y)


def object_file_of(needed):
    needed.kernel.compile(needed.signature)
    return Code.unpacked(code_cache.read(needed.path)).object_file


def test_elementary_functions_are_instructions_but_for_powers():
    for number in (types.float32, types.float64):
        assert computing(object_file_of(Needed(every_function, (number,)))) == []
    assert computing(object_file_of(Needed(a_power, (types.float64, types.float64)))) == ["pow"]


def test_no_code_that_is_kept_asks_for_a_function_that_computes():
    # all that tests have compiled so far with these sources
    files = list(code_folder().glob("*.code"))
    found = {file.name: computing(Code.unpacked(code_cache.read(file)).object_file) for file in files}
    assert {name: asked for name, asked in found.items() if set(asked) - POWERS} == {}
