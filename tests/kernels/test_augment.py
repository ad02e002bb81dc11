"""Augmented images against matrices, B-splines and interpolation by SciPy, all in float64, and the statistics that they promise."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage
from scipy.interpolate import BSpline

from fastmlp.compilation import forms
from fastmlp.kernels import augment
from tests.oracle.randomness import random_64 as bits

KEY = 987654321
H, W = 13, 17
STRENGTH = {"SHIFT": 2.5, "ROTATION": 0.6, "SCALE": 0.4, "SHEAR": 0.5, "ELASTIC": 1.5, "SPACING": 3.2, "FLIP": 1.0}
AFFINE = STRENGTH | {"ELASTIC": 0.0}
GENERATOR = np.random.default_rng(0)
BYTES = GENERATOR.integers(0, 256, (9, H * W), dtype=np.uint8)
FLOATS = GENERATOR.standard_normal((9, H * W))


@pytest.fixture(autouse=True)
def _uint64_may_wrap():
    with np.errstate(over="ignore"):  # interpreted, it does so with a warning
        yield


def strengths(**given):
    found = np.zeros(augment.STRENGTHS)
    found[augment.SPACING] = 4.0
    for name, value in given.items():
        found[getattr(augment, name)] = value
    return found


def points(length, spacing):
    return int(1 + (length - 1) / spacing) + 4


def scratch(strength, height, width, number):
    gy, gx = points(height, strength[augment.SPACING]), points(width, strength[augment.SPACING])
    return augment.Scratch(
        np.full(6, np.nan), np.full((2, gy, gx), np.nan, number), np.full((2, gy, width), np.nan, number),
        np.full((4, width + 1), np.nan, number), np.zeros(width, np.int64), np.zeros((2, height, width), number),
        np.zeros((height + 3) * (width + 3), number), np.full((2, width), np.nan, number), np.zeros(width, np.int32),
    )  # fmt: skip


def augmented(images, height=H, width=W, numbers=None, key=KEY, kernel=augment.augment_images, **given):
    """Return the pictures that a kernel makes of images (n, height * width)."""
    strength, is_bytes = strengths(**given), images.dtype == np.uint8
    number = np.dtype(np.float32) if is_bytes else images.dtype
    numbers = np.arange(len(images)) if numbers is None else np.asarray(numbers)
    out = np.full((len(numbers), height * width), 77 if is_bytes else np.nan, images.dtype)
    half = number.type(0.5 if is_bytes else 0)
    kernel(images, numbers, 0, len(numbers), np.uint64(key), strength, half, scratch(strength, height, width, number), out)
    return out


# --- the oracle: the same random numbers in Python's integers, everything else composed otherwise -------------------------


def uniform(key, counter):
    return ((bits(key, counter) >> 12) + 0.5) / 2**52


def symmetric(key, counter, bound):
    return bound * (2 * uniform(key, counter) - 1)


def forward_map(key, s, height, width):
    """Return the 3 x 3 matrix that takes (x, y, 1) of the image to that of the picture."""

    def moved(x, y):
        return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])

    angle, slant = symmetric(key, 0, s["ROTATION"]), math.tan(symmetric(key, 3, s["SHEAR"]))
    turn = np.array([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]])
    shear = np.array([[1, slant, 0], [0, 1, 0], [0, 0, 1]])
    mirror = -1 if s["FLIP"] and uniform(key, 6) < 0.5 else 1
    scale = np.diag([mirror * (1 + symmetric(key, 1, s["SCALE"])), 1 + symmetric(key, 2, s["SCALE"]), 1])
    x, y = (width - 1) / 2, (height - 1) / 2
    shift = moved(symmetric(key, 4, s["SHIFT"]), symmetric(key, 5, s["SHIFT"]))
    return shift @ moved(x, y) @ turn @ shear @ scale @ moved(-x, -y)


def displacement(key, s, height, width):
    """Return (2, height, width): displacements along x and y as a sum over all points of the grid."""
    spacing = s["SPACING"]
    gy, gx = points(height, spacing), points(width, spacing)
    words = [bits(key, 16 + i) for i in range(2 * gy * gx)]
    sums = np.array([sum(word >> shift & 0xFFFF for shift in (0, 16, 32, 48)) for word in words], float)
    deviation = math.sqrt(4 * np.var(np.arange(2.0**16)))
    grid = (sums - 2 * 65535) / deviation * s["ELASTIC"] / (151 / 315)
    spline = BSpline.basis_element(np.arange(5), extrapolate=False)

    def weights(length, count, start):
        at = start + np.arange(length) / spacing
        return np.nan_to_num(spline(at[:, None] - np.arange(count)[None] + 3))

    rows, columns = weights(height, gy, uniform(key, 8)), weights(width, gx, uniform(key, 7))
    return np.einsum("yk,akl,xl->ayx", rows, grid.reshape(2, gy, gx), columns)


def expected(images, height=H, width=W, **given):
    s = dict.fromkeys(STRENGTH, 0.0) | {"SPACING": 4.0} | given
    pictures = []
    for number, image in enumerate(images):
        key = bits(KEY, number)
        back = np.linalg.inv(forward_map(key, s, height, width))
        y, x = np.mgrid[:height, :width]
        from_x, from_y, _ = np.einsum("ij,jyx->iyx", back, np.stack([x, y, np.ones_like(x)]))
        moved_x, moved_y = displacement(key, s, height, width) if s["ELASTIC"] else (0, 0)
        places = [from_y + moved_y, from_x + moved_x]
        pictures.append(ndimage.map_coordinates(image.reshape(height, width), places, order=1, mode="grid-constant"))
    return np.array(pictures).reshape(len(images), -1)


EACH = [{name: value, **({"SPACING": STRENGTH["SPACING"]} if name == "ELASTIC" else {})} for name, value in STRENGTH.items()]


@pytest.mark.parametrize("given", [*EACH, AFFINE, STRENGTH], ids=lambda given: "-".join(given).lower())
def test_pictures_are_those_of_the_composed_map(given):
    assert_allclose(augmented(FLOATS, **given), expected(FLOATS, **given), rtol=0, atol=1e-10)


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (2, 2), (28, 28), (40, 3)])
def test_images_of_any_shape_are_mapped(shape):
    images = GENERATOR.standard_normal((3, shape[0] * shape[1]))
    assert_allclose(augmented(images, *shape, **STRENGTH), expected(images, *shape, **STRENGTH), rtol=0, atol=1e-10)


def test_bytes_are_rounded_to_the_nearest():
    wanted = expected(BYTES.astype(np.float64), **STRENGTH)
    assert np.abs(augmented(BYTES, **STRENGTH) - wanted).max() <= 0.5 + 1e-3  # float32 between
    assert augmented(BYTES, **STRENGTH).dtype == np.uint8


def test_float32_images_differ_by_rounding_only():
    found = augmented(FLOATS.astype(np.float32), **STRENGTH)
    assert found.dtype == np.float32
    assert_allclose(found, expected(FLOATS, **STRENGTH), rtol=0, atol=1e-4)


@pytest.mark.parametrize("images", [BYTES, FLOATS, FLOATS.astype(np.float32)], ids=["bytes", "float64", "float32"])
def test_without_strength_every_bit_stays(images):
    assert_array_equal(augmented(images), images)


@pytest.mark.parametrize("images", [BYTES[:2], FLOATS[:2]], ids=["bytes", "floats"])
def test_pure_and_compiled_form_agree(images):
    found = augmented(images, kernel=forms.pure(augment.augment_images), **STRENGTH)
    assert_allclose(found, augmented(images, **STRENGTH), rtol=0, atol=1 if images.dtype == np.uint8 else 1e-10)


def test_a_picture_depends_on_its_number_alone():
    order = [4, 0, 8, 4]
    assert_array_equal(augmented(BYTES, numbers=order, **STRENGTH), augmented(BYTES, **STRENGTH)[order])


def test_another_key_gives_other_pictures():
    same = (augmented(BYTES, **STRENGTH) == augmented(BYTES, key=KEY + 1, **STRENGTH)).mean(axis=1)
    assert same.max() < 0.5


def test_nothing_comes_of_nothing():
    """What is 0 wherever a picture looks is exactly 0 there, so that zeros can still be skipped."""
    corner = np.zeros((50, 28, 28), np.uint8)
    corner[:, 20:, 20:] = 255
    found = augmented(corner.reshape(50, -1), 28, 28, SHIFT=3.0, ELASTIC=1.0, SPACING=7.0).reshape(50, 28, 28)
    assert (found[:, :10, :10] == 0).all()
    assert found.any(axis=(1, 2)).all()


def test_beyond_the_edges_there_is_nothing():
    full = np.full((200, H * W), 255, np.uint8)
    found = augmented(full, SHIFT=40.0).reshape(200, H, W)
    assert (found == 0).all(axis=(1, 2)).any()  # moved out as a whole
    assert (found == 255).any()


def test_mirroring_happens_to_every_other_image():
    images = GENERATOR.integers(0, 256, (2000, 6), dtype=np.uint8)
    found = augmented(images, 2, 3, FLIP=1.0)
    mirrored = images.reshape(-1, 2, 3)[:, :, ::-1].reshape(-1, 6)
    is_mirrored = (found == mirrored).all(axis=1)
    assert (is_mirrored | (found == images).all(axis=1)).all()
    assert abs(is_mirrored.mean() - 0.5) < 4 * 0.5 / math.sqrt(2000)


def fields(spacing, count=4000, height=28, width=20):
    strength = strengths(ELASTIC=1.5, SPACING=spacing)
    _, grid, along, weights, places, moved, *_ = scratch(strength, height, width, np.dtype(np.float64))
    found = np.empty((count, *moved.shape))
    for number in range(count):
        augment.displace(np.uint64(bits(KEY, number)), strength, grid, along, weights, places, moved)
        found[number] = moved
    return found


@pytest.mark.parametrize("sigma", [0.5, 4.0, 30.0])
def test_elastic_strength_is_the_root_mean_square_at_every_pixel(sigma):
    found = fields(sigma * math.sqrt(3))
    power = (found**2).mean(axis=0)
    assert_allclose(np.sqrt(power.mean(axis=(1, 2))), 1.5, rtol=0.03)
    assert_allclose(np.sqrt(power), 1.5, rtol=0.1)  # no place is a special one
    assert np.abs(found.mean(axis=0)).max() < 5 * 1.5 / math.sqrt(len(found))


def test_displacements_are_alike_as_if_smoothed_by_a_gaussian():
    """White noise smoothed by a Gaussian of deviation s has the correlation exp(-r^2 / 4 s^2)."""
    found, sigma = fields(4.0 * math.sqrt(3)), 4.0
    for distance in (1, 3, 6, 10):
        measured = (found[..., :, distance:] * found[..., :, :-distance]).mean() / 1.5**2
        assert measured == pytest.approx(math.exp(-(distance**2) / (4 * sigma**2)), abs=0.03)
    assert abs((found[:, 0] * found[:, 1]).mean()) < 0.03  # x and y move independently


def test_numbers_of_the_bell_have_its_moments():
    drawn = np.array([augment.bell(np.uint64(KEY), counter) for counter in range(100_000)])
    assert abs(drawn.mean()) < 4 / math.sqrt(100_000)
    assert drawn.var() == pytest.approx(1.0, abs=0.02)
    assert (drawn**4).mean() == pytest.approx(3 - 6 / 5 / 4, abs=0.06)  # of a sum of four uniform numbers
