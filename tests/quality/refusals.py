"""How a hostile input has to be refused, and changed copies of good ones."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

MOST_LETTERS = 1000  # of a message; the path in it may be long


def fault(call: Callable[[], Any], error: type[Exception]) -> str | None:
    """Return what is wrong with the way in which a call fails; None where it raises `error` with a message of one line."""
    try:
        call()
    except error as raised:
        message = str(raised)
        return None if "\n" not in message and len(message) < MOST_LETTERS else f"a message of {len(message)} letters: {message[:200]!r}"
    except Exception as raised:
        return f"{type(raised).__name__}: {raised}"
    return "it was accepted"


def mutants(seeds: Sequence[bytes], number: int, pieces: Sequence[bytes] = (b"\0", b"\xff")) -> Iterator[bytes]:
    """Yield changed copies of the seeds, the same ones in each run: bits flipped, bytes replaced, cut out, doubled, put in."""
    draw = random.Random(number)
    for _ in range(number):
        data = bytearray(draw.choice(seeds))
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(data) + 1)
            until = min(len(data), at + draw.choice((1, 1, 2, 4, 8, 64)))
            match draw.randrange(6):
                case 0 if at < len(data):
                    data[at] ^= 1 << draw.randrange(8)
                case 1 if at < len(data):
                    data[at] = draw.randrange(256)
                case 2:
                    del data[at:until]
                case 3:
                    data[at:at] = data[at:until]
                case 4:
                    data[at:until] = draw.choice(pieces)
                case _:
                    data[at:at] = draw.choice(pieces)
        yield bytes(data)
