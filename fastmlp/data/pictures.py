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
from fastmlp.errors import DataError, MissingExtra, warn

if TYPE_CHECKING:
    from PIL.Image import Image

SIZE = 28  # side of a finished picture
BOX = 20  # longest side of the digit in it
MOST_PIXELS = 25_000_000  # a small file can claim a huge picture
FAINT = 0.1  # what is fainter than this part of the darkest ink does not widen the box: paper grain, compression noise
SAME_PAPER = 0.2  # levels that are no further apart may be those of one sheet
MOST = 0.6  # more than this part of a picture is no ink
CELLS = 128  # longest side of the grid in which a frame is followed round the picture
SAME_LIGHT = 0.3  # the same, where one side of it lies in a shadow
FITS = 5
LIT = 32  # longest side of the grid in which light is fitted
DUST = 0.1  # of the longest side of the largest shape: what is smaller is dust, while that is no more than this part of the ink
MOST_SHAPES = 500  # that are told apart
SMALLEST = 0.1  # of a side of the picture: what is smaller in both directions is dust, not the digit


def read_picture(path: str | Path) -> npt.NDArray[np.uint8]:
    """Return a PNG or JPEG file as one picture in MNIST's form: uint8 (28, 28), bright ink on black.

    Raises InputNotFound, MissingExtra without Pillow, or DataError; warns of several digits in one picture.
    """
    grey = read_grey(path)
    try:
        ink = _ink(grey)
    except DataError as error:
        raise DataError(f"{display_name(path)}: {error}") from None
    if (count := _side_by_side(ink)) > 1:
        warn(f"{display_name(path)}: expected one digit, found {count} shapes beside each other; cut the picture into one for each digit")
    return _formed(ink)


def read_grey(path: str | Path) -> npt.NDArray[np.float32]:
    """Return the grey levels of a PNG or JPEG file: float32 (height, width), 0 black to 1 white."""
    name = display_name(path)
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra(f"{name}: reading pictures needs Pillow; run: pip install 'fastmlp[images]'") from error
    file = open_regular(path, name)
    try:
        with file, Image.open(file, formats=("PNG", "JPEG")) as picture:
            width, height = picture.size
            if width * height <= MOST_PIXELS:
                return _grey(picture)
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, EOFError, zlib.error and its own on broken files
        raise DataError(f"{name}: expected a PNG or JPEG file, found another kind of file or a damaged one") from error
    raise DataError(f"{name}: expected at most {MOST_PIXELS:,} pixels, found {width} x {height}; make the picture smaller")


def mnist_form(grey: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Return grey levels (height, width) in 0 ... 1 as a picture in MNIST's form: uint8 (28, 28), bright ink on black.

    The border tells the paper, unless it is a frame round it: where the paper is bright, the picture is inverted.
    """
    return _formed(_ink(grey))


def _ink(grey: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the ink in grey levels (height, width), 0 to 1: what differs from the paper, and is neither frame, shadow nor dust."""
    grey = _evenly_lit(_cropped(grey))
    paper = _paper(grey)
    ink = np.clip(paper - grey if paper > 0.5 else grey - paper, 0.0, None)
    if ink.max() < 1 / 255:
        raise DataError("the picture is blank: expected one digit that differs from its border")
    ink /= ink.max()
    return _without_dust(_without_frame(ink))


def _formed(ink: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Return ink (height, width), 0 to 1, as a picture in MNIST's form: uint8 (28, 28)."""
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


def _cropped(grey: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the picture without a frame along all four sides, which a digit may touch: lines of another level than most of it."""
    widths = [_frame_width(lines, float(np.median(grey))) for lines in (grey, grey[::-1], grey.T, grey.T[::-1])]
    if not all(widths):
        return grey
    (top, bottom, left, right), (height, width) = widths, grey.shape
    return grey[top : height - bottom, left : width - right]


def _frame_width(lines: npt.NDArray[np.float32], of_most: float) -> int:
    """Return how many of the first lines (n, length) belong to a frame."""
    first = lines[: math.ceil(len(lines) * SMALLEST)]
    levels = np.median(first, axis=1, keepdims=True)
    is_frame = (np.abs(levels[:, 0] - of_most) > SAME_PAPER) & ((np.abs(first - levels) < SAME_PAPER / 2).mean(axis=1) > 1 - FAINT)
    return len(first) if is_frame.all() else int(is_frame.argmin())


def _evenly_lit(grey: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return grey levels (height, width) as under even light; as they are where the paper differs little from place to place.

    The light is fitted to the paper as a surface of second degree; what differs much from it, ink, is left out of the next fit. Of bright
    paper a shadow takes a part of the light, of dark paper stray light adds some.
    """
    paper = _paper(grey)
    y, x = np.meshgrid(*(np.linspace(-1.0, 1.0, side, dtype=np.float32) for side in grey.shape), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * x, y * x, y * y])
    step = math.ceil(max(grey.shape) / LIT)
    some, levels = terms[:, ::step, ::step].reshape(len(terms), -1), grey[::step, ::step].ravel()
    light, near = np.full(levels.shape, paper, np.float32), SAME_LIGHT
    for _ in range(FITS):
        is_paper = np.abs(levels - light) < near
        if is_paper.mean() <= MOST / 2:
            return grey
        weights = np.linalg.lstsq(some[:, is_paper].T, levels[is_paper], rcond=None)[0].astype(np.float32)
        light, near = weights @ some, SAME_PAPER / 2
    if np.ptp(light) < FAINT:
        return grey
    everywhere = np.tensordot(weights, terms, 1)
    if paper > 0.5:
        return np.asarray(np.clip(grey / np.maximum(everywhere, 1 / 255), 0.0, 1.0), np.float32)
    return np.asarray(np.clip(grey - everywhere, 0.0, 1.0), np.float32)


def _without_frame(ink: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the ink, 0 to 1, without what reaches a corner of the picture, again 0 to 1; all of it where nothing else is left.

    A frame reaches corners, and so do a line along a side and the table on which a sheet lies; digits do not, unless they fill the picture.
    """
    inked = _cells(ink)
    height, width = inked.shape
    corners = np.zeros_like(inked)
    corners[:: max(1, height - 1), :: max(1, width - 1)] = True
    rest = np.where(_in_pixels(_grown(corners & inked, inked), ink), 0, ink)
    spans = [(rest > FAINT).any(axis=axis).mean() for axis in (0, 1)]
    return rest / rest.max() if max(spans) >= SMALLEST else ink


def _without_dust(ink: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the ink without shapes that are tiny beside the largest; all of it where they are not little of it, as dots."""
    shapes = _shapes(_cells(ink))
    sizes = [max(np.ptp(places) + 1 for places in np.nonzero(shape)) for shape in shapes]
    tiny = [shape for shape, size in zip(shapes, sizes, strict=True) if size < DUST * max(sizes)]
    if not tiny:
        return ink
    rest = np.where(_in_pixels(np.logical_or.reduce(tiny), ink), 0, ink)
    return rest / rest.max() if rest.sum() > (1 - DUST) * ink.sum() else ink


def _side_by_side(ink: npt.NDArray[np.float32]) -> int:
    """Return how many shapes stand beside, or above each other: of at least half the height of the highest, with nothing between them."""
    shapes = _shapes(_cells(ink))
    spans = [[(int(places.min()), int(places.max())) for places in np.nonzero(shape)] for shape in shapes]
    high = [span for span in spans if 2 * (span[0][1] - span[0][0] + 1) >= max(rows[1] - rows[0] + 1 for rows, _ in spans)]
    counts = []
    for axis in (0, 1):
        count, end = 0, -2
        for first, last in sorted(span[axis] for span in high):
            count += first > end + 1
            end = max(end, last)
        counts.append(count)
    return max(counts)


def _cells(ink: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Return where there is ink, in a grid of at most CELLS by CELLS cells over the picture."""
    step = math.ceil(max(ink.shape) / CELLS)
    height, width = (-(-side // step) for side in ink.shape)
    cells = np.zeros((height * step, width * step), np.float32)
    cells[: ink.shape[0], : ink.shape[1]] = ink
    return np.asarray(cells.reshape(height, step, width, step).max(axis=(1, 3)) > FAINT)


def _in_pixels(cells: npt.NDArray[np.bool_], ink: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Return the pixels (height, width) of the picture that lie in these of its cells."""
    step = math.ceil(max(ink.shape) / CELLS)
    return cells.repeat(step, 0).repeat(step, 1)[: ink.shape[0], : ink.shape[1]]


def _grown(cells: npt.NDArray[np.bool_], inked: npt.NDArray[np.bool_], *, diagonally: bool = False) -> npt.NDArray[np.bool_]:
    """Return the inked cells that these are connected with, over sides, or over corners, too."""
    size = -1
    while cells.sum() != size:
        size = cells.sum()
        near = np.pad(cells, 1)
        rows = near[:-2] | near[1:-1] | near[2:]
        over_corners = rows[:, :-2] | rows[:, 2:]
        over_sides = near[1:-1, :-2] | near[1:-1, 2:]
        cells = inked & (rows[:, 1:-1] | (over_corners if diagonally else over_sides))
    return cells


def _shapes(inked: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.bool_]]:
    """Return the cells of each connected shape, the first MOST_SHAPES of them."""
    left = inked.copy()
    shapes: list[npt.NDArray[np.bool_]] = []
    while left.any() and len(shapes) < MOST_SHAPES:
        seed = np.zeros_like(left)
        seed.flat[int(left.argmax())] = True
        shapes.append(_grown(seed, left, diagonally=True))
        left &= ~shapes[-1]
    return shapes


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
