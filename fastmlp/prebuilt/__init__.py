"""Machine code that came with the package: none in a source tree; `make wheel` puts another file here, and the code beside it.

The digests are in Python so that the code is trusted exactly as far as the package itself is.
"""

MADE_FOR: dict[str, str] = {}  # as compilation/stamps.py tells it of this process: what shapes code, apart from the level
DIGESTS: dict[str, str] = {}  # "level/name of the file": SHA-256, as hexadecimal digits
