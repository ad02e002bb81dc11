"""What Numba is told of every kernel, and whether it is asked at all."""

from fastmlp.compilation import supported

with supported.parts():
    from numba.core import config

# Without nnan and ninf: a NaN must be seen. Without reassoc: additions stay in the order of the source, so that the serial
# and the parallel form of a kernel give the same bits.
FASTMATH = frozenset({"contract", "nsz", "arcp"})
# For sums whose order is free; a kernel asks for it by name.
FASTMATH_REASSOCIATE = FASTMATH | {"reassoc"}

JIT = not config.DISABLE_JIT
