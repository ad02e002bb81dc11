"""Pictures of digits, made alike to those of MNIST.

MNIST's makers fitted each digit into 20 x 20 pixels, keeping its proportions, with grey levels from anti-aliasing, and put its
centre of mass at the centre of 28 x 28 pixels (Y. LeCun, C. Cortes, C. Burges, "The MNIST database", section "File formats").
Needs Pillow, the extra `images`.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fastmlp.data.gzipped import display_name, open_regular
from fastmlp.errors import DataError, MissingExtra

if TYPE_CHECKING:
    from PIL.Image import Image

SIZE = 28  # side of a finished picture
BOX = 20  # longest side of the digit in it
MOST_PIXELS = 25_000_000  # a small file can claim a huge picture
FAINT = 0.1  # what is fainter than this part of the darkest ink does not widen the box: paper grain, compression noise
SAME_PAPER = 0.2  # levels that are no further apart may be those of one sheet
MOST = 0.6  # more than this part of a picture is no ink
CELLS = 128  # longest side of the grid in which a frame is followed round the picture
SMALLEST = 0.1  # of a side of the picture: what is smaller in both directions is dust, not the digit


def read_picture(path: str | Path) -> npt.NDArray[np.uint8]:
    """Return a PNG file as one picture in MNIST's form: uint8 (28, 28), bright ink on black.

    Raises InputNotFound, MissingExtra without Pillow, or DataError.
    """
    grey = read_grey(path)
    try:
        return mnist_form(grey)
    except DataError as error:
        raise DataError(f"{display_name(path)}: {error}") from None


def read_grey(path: str | Path) -> npt.NDArray[np.float32]:
    """Return the grey levels of a PNG file: float32 (height, width), 0 black to 1 white."""
    name = display_name(path)
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra(f"{name}: reading pictures needs Pillow; run: pip install 'fastmlp[images]'") from error
    file = open_regular(path, name)
    try:
        with file, Image.open(file, formats=("PNG",)) as picture:
            width, height = picture.size
            if width * height <= MOST_PIXELS:
                return _grey(picture)
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, EOFError, zlib.error and its own on broken files
        raise DataError(f"{name}: expected a PNG file, found another kind of file or a damaged one") from error
    raise DataError(f"{name}: expected at most {MOST_PIXELS:,} pixels, found {width} x {height}; make the picture smaller")


def mnist_form(grey: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Return grey levels (height, width) in 0 ... 1 as a picture in MNIST's form: uint8 (28, 28), bright ink on black.

    The border tells the paper, unless it is a frame round it: where the paper is bright, the picture is inverted.
    """
    paper = _paper(grey)
    ink = np.clip(paper - grey if paper > 0.5 else grey - paper, 0.0, None)
    if ink.max() < 1 / 255:
        raise DataError("the picture is blank: expected one digit that differs from its border")
    ink /= ink.max()
    ink = _without_frame(ink)
    rows = np.flatnonzero((ink > FAINT).any(axis=1))
    columns = np.flatnonzero((ink > FAINT).any(axis=0))
    digit = _fit(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    height, width = digit.shape
    top = _centred(digit.sum(axis=1), height)
    left = _centred(digit.sum(axis=0), width)
    form = np.zeros((SIZE, SIZE), np.uint8)
    form[top : top + height, left : left + width] = np.rint(digit * 255)
    return form


def _grey(picture: "Image") -> npt.NDArray[np.float32]:
    """Return the grey levels of an open picture; what is transparent becomes paper."""
    if picture.mode.startswith("I"):  # 16 bits per pixel; convert("L") would clip them
        return np.asarray(picture, np.float32) / 65535.0
    if not picture.has_transparency_data:
        return np.asarray(picture.convert("L"), np.float32) / 255.0
    solid = picture.convert("RGBA")
    alpha = np.asarray(solid.getchannel("A"), np.float32) / 255.0
    grey = np.asarray(solid.convert("RGB").convert("L"), np.float32) / 255.0
    opaque = alpha.sum()
    paper = 0.0 if opaque and (grey * alpha).sum() / opaque > 0.5 else 1.0  # bright ink was drawn for dark paper
    return np.asarray(grey * alpha + paper * (1.0 - alpha), np.float32)


def _paper(grey: npt.NDArray[np.float32]) -> float:
    """Return the level of the paper: that of the border, or of most of the picture, where the border is a frame."""
    border = np.concatenate([grey[0], grey[-1], grey[1:-1, 0], grey[1:-1, -1]])
    at_border, of_most = float(np.median(border)), float(np.median(grey))
    is_frame = abs(at_border - of_most) > SAME_PAPER and (np.abs(grey - of_most) < SAME_PAPER).mean() > MOST
    return of_most if is_frame else at_border


def _without_frame(ink: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the ink, 0 to 1, without what reaches a corner of the picture, again 0 to 1; all of it where nothing else is left.

    A frame reaches corners, and so do a line along a side and the table on which a sheet lies; digits do not, unless they fill the picture.
    """
    step = math.ceil(max(ink.shape) / CELLS)
    height, width = (-(-side // step) for side in ink.shape)
    cells = np.zeros((height * step, width * step), np.float32)
    cells[: ink.shape[0], : ink.shape[1]] = ink
    inked = cells.reshape(height, step, width, step).max(axis=(1, 3)) > FAINT
    frame = np.zeros_like(inked)
    frame[:: max(1, height - 1), :: max(1, width - 1)] = True
    frame &= inked
    size = -1
    while frame.sum() != size:
        size = frame.sum()
        near = np.pad(frame, 1)
        frame = inked & (frame | near[:-2, 1:-1] | near[2:, 1:-1] | near[1:-1, :-2] | near[1:-1, 2:])
    rest = np.where(frame.repeat(step, 0).repeat(step, 1)[: ink.shape[0], : ink.shape[1]], 0, ink)
    spans = [(rest > FAINT).any(axis=axis).mean() for axis in (0, 1)]
    return rest / rest.max() if max(spans) >= SMALLEST else ink


def _fit(digit: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the digit (height, width) resized with anti-aliasing, so that its longest side is 20 pixels."""
    from PIL import Image

    height, width = digit.shape
    scale = BOX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    resized = Image.fromarray(digit).resize(size, Image.Resampling.BICUBIC)
    return np.clip(np.asarray(resized, np.float32), 0.0, 1.0)


def _centred(mass: npt.NDArray[np.float32], length: int) -> int:
    """Return where a digit with this mass per row begins, so that its centre of mass is nearest to pixel 14, as in MNIST."""
    centre = float((mass * np.arange(length)).sum() / mass.sum())
    return min(max(math.floor(SIZE / 2 - centre + 0.5), 0), SIZE - length)
