"""A folder of pictures by class, as torchvision's ImageFolder has it: one folder per class, named as the class is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fastmlp import machine
from fastmlp.data.formats.backend import polars
from fastmlp.data.gzipped import display_name
from fastmlp.data.known_formats import HEAD, recognise
from fastmlp.errors import DataError, MissingExtra, NotEnoughMemory

READ = ("PNG", "JPEG")
MOST_COLUMNS = 1 << 16


def read_folder(folder: Path, notify: Callable[[str], None] | None = None) -> Any:
    """Return the pictures in the folders of a folder: label, the name of its folder, then the grey levels x1, x2, … row by row, UInt8.

    Pictures are taken in the order of their names; hidden files are passed over. They must be of one size. Colours become grey.
    Raises DataError, MissingExtra without Pillow, NotEnoughMemory.
    """
    pl = polars()
    shown = display_name(folder)
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra(f"{shown}: reading pictures needs Pillow; run: pip install 'fastmlp[images]'") from error
    classes = sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    files = [(each.name, file) for each in classes for file in sorted(each.iterdir()) if file.is_file() and not file.name.startswith(".")]
    if not files:
        raise DataError(f"{shown}: expected a folder of pictures for each class, found {'empty folders' if classes else 'no folder in it'}")
    pixels, size = np.empty((0, 0), np.uint8), (0, 0)
    for row, (_, file) in enumerate(files):
        name = display_name(file)
        try:
            with Image.open(file, formats=READ) as picture:
                if row == 0:
                    size, pixels = picture.size, _room(len(files), picture.size, shown)
                if picture.size != size:
                    raise DataError(
                        f"{name}: expected {size[0]} x {size[1]} pixels as in the first, found {' x '.join(map(str, picture.size))}"
                    )
                pixels[:, row] = np.asarray(picture.convert("L")).ravel()
        except (DataError, NotEnoughMemory):
            raise
        except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, EOFError, zlib.error and its own on broken files
            with open(file, "rb") as opened:
                found = recognise(file.name, opened.read(HEAD))
            what = f"{found.name}; {found.way_out}" if found and found.name not in READ else "another kind of file or a damaged one"
            raise DataError(f"{name}: expected a PNG or JPEG file, found {what}") from error
    if notify is not None:
        notify(f"{shown}: {len(files):,} pictures of {size[0]} x {size[1]} pixels in {len(classes)} classes")
    label = pl.Series("label", [of_class for of_class, _ in files], pl.String)
    return pl.DataFrame([label, *(pl.Series(f"x{number + 1}", pixels[number]) for number in range(len(pixels)))])


def _room(rows: int, size: tuple[int, int], shown: str) -> np.ndarray:
    """Return room for pictures of a size: (pixels, rows), as a frame has columns."""
    wanted = size[0] * size[1]
    if wanted > MOST_COLUMNS:
        raise DataError(f"{shown}: expected pictures of at most {MOST_COLUMNS:,} pixels, found {size[0]} x {size[1]}; make them smaller")
    left = machine.memory_left()
    if left is not None and rows * wanted > left // 2:
        raise NotEnoughMemory(
            f"{shown}: {rows:,} pictures of {size[0]} x {size[1]} need {rows * wanted >> 20} MiB, more than half of the memory there is"
        )
    return np.empty((wanted, rows), np.uint8)
