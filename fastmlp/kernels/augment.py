"""Images seen through random maps: moved, turned, stretched, slanted, mirrored and distorted, each picture in its own way.

    map        output pixel (y, x) -> a place in the image: an affine map about the centre, plus a smooth random displacement
    sample     the value there: bilinear between the four pixels around it, 0 outside of the image

What a picture gets is a function of a key and of its number alone, so neither threads nor the order of work change a bit.

The displacement of Simard, Steinkraus and Platt (2003, section 2), random numbers of each pixel smoothed by a Gaussian, is made here
by a uniform cubic B-spline over a coarse grid of random numbers: its bell has the variance spacing^2 / 3, and differs from the Gaussian
of that variance by 4 % of its height at most. One picture of 28 x 28 takes 128 random numbers and 8,000 multiply-adds at sigma 4, where the
Gaussian over a field with margins takes 5,400 and 110,000.
"""

import math
from typing import NamedTuple

import numpy as np

from fastmlp.compilation.decorators import kernel
from fastmlp.kernels.elementary import cos, sin
from fastmlp.kernels.random import random_bits, uniform

# What `strength` holds: how far each change may go. Lengths in pixels, angles in radians, SCALE a share, FLIP 0 or 1; SPACING is the one of
# the grid of the displacement, and not read where ELASTIC is 0.
SHIFT, ROTATION, SCALE, SHEAR, ELASTIC, SPACING, FLIP = range(7)
STRENGTHS = 7
# The random numbers of a picture, by their counters. Those of the grid begin at GRID.
ROTATED, SCALED_X, SCALED_Y, SHEARED, SHIFTED_X, SHIFTED_Y, FLIPPED, GRID_X, GRID_Y = range(9)
GRID = 16
MARGIN = 3  # rows and columns of zeros around an image: one before it, two behind it
SUPPORT = 4  # points of the grid along an axis that have a part in one place
# The mean square of a sum of random numbers of variance 1, weighted by the spline, over all places between two points of the grid.
SPLINE_POWER = 151.0 / 315.0
U = np.uint64
PART = np.uint64(0xFFFF)
PART_BITS = np.uint64(16)
# Four numbers of 16 bits: twice their mean, and the standard deviation of their sum.
FOUR_PARTS_MEAN, FOUR_PARTS_DEVIATION = 2.0 * 65535.0, math.sqrt((65536.0**2 - 1.0) / 3.0)


@kernel(inner=True, counted=True)
def between(key, counter, bound):
    """Return the random number of a counter, uniform in (-bound, bound)."""
    return bound * (2.0 * uniform(key, counter) - 1.0)


@kernel
def bell(key, counter):
    """Return a random number of mean 0 and variance 1, nearly normal: the sum of four uniform ones, from one draw of 64 bits."""
    bits = random_bits(key, counter)
    total = (bits & PART) + (bits >> PART_BITS & PART) + (bits >> U(32) & PART) + (bits >> U(48))
    return (np.float64(total) - FOUR_PARTS_MEAN) / FOUR_PARTS_DEVIATION


@kernel(inner=True, counted=True)
def draw_affine(key, strength, height, width, affine):
    """affine (6,), overwritten: output pixel (y, x) comes from x' = a0 x + a1 y + a2, y' = a3 x + a4 y + a5.

    About the centre, an image is mirrored, scaled along each axis, slanted, turned, then moved; this is the way back. strength
    (STRENGTHS,).
    """
    angle = between(key, ROTATED, strength[ROTATION])
    cosine, sine = cos(angle), sin(angle)
    angle = between(key, SHEARED, strength[SHEAR])
    slant = sin(angle) / cos(angle)
    scale_x = 1.0 / (1.0 + between(key, SCALED_X, strength[SCALE]))
    scale_y = 1.0 / (1.0 + between(key, SCALED_Y, strength[SCALE]))
    if strength[FLIP] > 0.0 and uniform(key, FLIPPED) < 0.5:
        scale_x = -scale_x
    affine[0], affine[1] = scale_x * (cosine + slant * sine), scale_x * (sine - slant * cosine)
    affine[3], affine[4] = -scale_y * sine, scale_y * cosine
    centre_x, centre_y = 0.5 * (width - 1), 0.5 * (height - 1)
    from_x = centre_x + between(key, SHIFTED_X, strength[SHIFT])
    from_y = centre_y + between(key, SHIFTED_Y, strength[SHIFT])
    affine[2] = centre_x - (affine[0] * from_x + affine[1] * from_y)
    affine[5] = centre_y - (affine[3] * from_x + affine[4] * from_y)


@kernel(inner=True, counted=True)
def spline_weights(part, out, place):
    """out[k, place], overwritten: weights of the four points around a place that is `part` of a spacing behind the second. Unser 1999."""
    rest = 1.0 - part
    out[0, place] = rest * rest * rest / 6.0
    out[1, place] = ((3.0 * part - 6.0) * part * part + 4.0) / 6.0
    out[2, place] = ((3.0 * rest - 6.0) * rest * rest + 4.0) / 6.0
    out[3, place] = part * part * part / 6.0


@kernel
def displace(key, strength, grid, along, weights, places, moved):
    """moved[0], moved[1] (H, W), overwritten: how far each pixel moves along x and along y; ELASTIC is their root mean square.

    Where the grid lies is drawn, too, so that no place of the image is a special one. Scratch: grid (2, GY, GX), along (2, GY, W),
    weights (4, W + 1), places (W,).
    """
    _, GY, GX = grid.shape
    _, H, W = moved.shape
    spacing = strength[SPACING]
    amount = strength[ELASTIC] / SPLINE_POWER  # the spline lowers the variance by this along each of the two axes
    for axis in range(2):
        for y in range(GY):
            for x in range(GX):
                grid[axis, y, x] = amount * bell(key, GRID + (axis * GY + y) * GX + x)
    start = uniform(key, GRID_X)
    for x in range(W):
        at = start + x / spacing
        places[x] = int(at)
        spline_weights(at - int(at), weights, x)
    for axis in range(2):
        for y in range(GY):
            for x in range(W):
                k = places[x]
                along[axis, y, x] = (
                    weights[0, x] * grid[axis, y, k]
                    + weights[1, x] * grid[axis, y, k + 1]
                    + weights[2, x] * grid[axis, y, k + 2]
                    + weights[3, x] * grid[axis, y, k + 3]
                )
    start = uniform(key, GRID_Y)
    for y in range(H):
        at = start + y / spacing
        k = int(at)
        spline_weights(at - k, weights, W)
        w0, w1, w2, w3 = weights[0, W], weights[1, W], weights[2, W], weights[3, W]
        for axis in range(2):
            for x in range(W):
                moved[axis, y, x] = (
                    w0 * along[axis, k, x] + w1 * along[axis, k + 1, x] + w2 * along[axis, k + 2, x] + w3 * along[axis, k + 3, x]
                )


@kernel(inner=True, counted=True)
def sample(image, affine, moved, half, padded, parts, corners, out):
    """out[y W + x] = the image at the place that pixel (y, x) comes from: affine, plus what `moved` (2, H, W) adds. (H W,) -> (H W,).

    Scratch: padded ((H + MARGIN) (W + MARGIN),), with zeros at its edges already; parts (2, W), corners (W,) of 32-bit numbers. half: 0.5
    where out holds whole numbers, else 0.
    """
    _, H, W = moved.shape
    row_length = W + MARGIN
    for y in range(H):
        for x in range(W):
            padded[(y + 1) * row_length + x + 1] = image[y * W + x]
    number = padded.dtype.type
    zero = number(0)
    last_x, last_y = number(W + 1), number(H + 1)
    step_x, step_y = number(affine[0]), number(affine[3])
    for y in range(H):
        begin_x, begin_y = number(affine[1] * y + affine[2] + 1.0), number(affine[4] * y + affine[5] + 1.0)
        for x in range(W):  # by vectors: places in the padded image; beyond its edges there are zeros only, as at the edges
            at_x = min(max(begin_x + step_x * number(x) + moved[0, y, x], zero), last_x)
            at_y = min(max(begin_y + step_y * number(x) + moved[1, y, x], zero), last_y)
            column, row = np.int32(at_x), np.int32(at_y)
            parts[0, x], parts[1, x] = at_x - number(column), at_y - number(row)
            corners[x] = row * np.int32(row_length) + column
        for x in range(W):  # one by one; unsigned places, of which Numba does not ask whether they count from the end
            above, below = U(corners[x]), U(corners[x]) + U(row_length)
            left, right = padded[above], padded[above + U(1)]
            upper = left + parts[0, x] * (right - left)
            left, right = padded[below], padded[below + U(1)]
            lower = left + parts[0, x] * (right - left)
            out[y * W + x] = out.dtype.type(upper + parts[1, x] * (lower - upper) + half)


class Scratch(NamedTuple):
    """What augment_images writes on its way. GY, GX: points of the grid along y and x; see displace, sample."""

    affine: np.ndarray  # (6,)
    grid: np.ndarray  # (2, GY, GX)
    along: np.ndarray  # (2, GY, W)
    weights: np.ndarray  # (4, W + 1)
    places: np.ndarray  # (W,)
    moved: np.ndarray  # (2, H, W): zeros at first, and where ELASTIC is 0
    padded: np.ndarray  # ((H + MARGIN) (W + MARGIN),): zeros at first
    parts: np.ndarray  # (2, W)
    corners: np.ndarray  # (W,) of 32 bits


@kernel
def augment_images(images, numbers, first, last, key, strength, half, scratch, out):
    """out[i] = image numbers[i] as the random numbers of (key, numbers[i]) change it, for first <= i < last.

    images (n, H W) and out (m, H W) of bytes or floats, numbers (m,), strength (STRENGTHS,), half: see sample.
    """
    affine, moved = scratch.affine, scratch.moved
    _, H, W = moved.shape
    for i in range(first, last):
        image_key = random_bits(key, numbers[i])
        draw_affine(image_key, strength, H, W, affine)
        if strength[ELASTIC] > 0.0:
            displace(image_key, strength, scratch.grid, scratch.along, scratch.weights, scratch.places, moved)
        sample(images[numbers[i]], affine, moved, half, scratch.padded, scratch.parts, scratch.corners, out[i])
