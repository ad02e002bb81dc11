"""How a kernel becomes machine code: options, calls by address, levels of processors, the cache of code, the code of the package.

The only room that names Numba's options, its passes and its cache. May not know what a layer, a network or a file format is.
"""

from fastmlp import machine
from fastmlp.errors import NotEnoughMemory

# What Numba, LLVM and the first kernels take. Where it is missing, LLVM ends the process without a word to Python.
ADDRESS_SPACE = 384 << 20

if (_left := machine.address_space_left()) is not None and _left < ADDRESS_SPACE:
    raise NotEnoughMemory(
        f"the compiler needs {ADDRESS_SPACE >> 20} MiB of address space, this process may use {_left >> 20} MiB more; "
        "raise the limit (ulimit -v)"
    )
