"""Pictures: brought into MNIST's form whatever their size, paper and file type; broken ones are refused."""

import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from fastmlp.data.pictures import MOST_PIXELS, mnist_form, read_picture
from fastmlp.errors import DataError, InputNotFound, MissingExtra


def centre_of_mass(picture):
    mass = picture / picture.sum()
    return [float((mass.sum(axis=axis) * np.arange(28)).sum()) for axis in (1, 0)]


def bounds(picture):
    rows, columns = np.flatnonzero(picture.any(axis=1)), np.flatnonzero(picture.any(axis=0))
    return rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1


@pytest.fixture
def save(tmp_path):
    def save(array, mode=None, **options):
        path = tmp_path / "digit.png"
        Image.fromarray(array, mode).save(path, **options) if mode else Image.fromarray(array).save(path, **options)
        return path

    return save


@pytest.fixture
def seven():
    """A seven drawn with a pen of 12 pixels, black on white, off the centre of 160 x 200 pixels."""
    paper = np.full((160, 200), 255, np.uint8)
    paper[20:32, 30:90] = 0
    for row in range(20, 120):
        left = 78 - (row - 20) // 3
        paper[row, left : left + 12] = 0
    return paper


def test_digit_fits_into_20_pixels_and_keeps_its_proportions(save, seven):
    height, width = bounds(read_picture(save(seven)))
    assert height == 20
    assert width == pytest.approx(20 * 60 / 100, abs=1)


def test_centre_of_mass_lies_at_pixel_14(save, seven):
    assert centre_of_mass(read_picture(save(seven))) == pytest.approx([14, 14], abs=0.51)


def test_bright_border_means_inverted(save, seven):
    np.testing.assert_array_equal(read_picture(save(seven)), read_picture(save(255 - seven)))


def test_ink_is_bright_and_paper_black(save, seven):
    picture = read_picture(save(seven))
    assert picture.dtype == np.uint8
    assert picture.shape == (28, 28)
    assert picture.max() == 255
    assert picture[0].max() == picture[-1].max() == 0


def test_digit_in_mnist_form_stays_nearly_as_it_is(save, mnist):
    differences = [np.abs(read_picture(save(image)).astype(int) - image).mean() for image in mnist.x_train[:200]]
    assert np.median(differences) < 0.1  # of 255
    assert np.mean(differences) < 1


def test_position_and_size_on_the_paper_do_not_matter(save, seven):
    moved = np.full((300, 400), 255, np.uint8)
    moved[100:260, 150:350] = seven
    np.testing.assert_array_equal(read_picture(save(moved)), read_picture(save(seven)))


def test_grey_paper_counts_as_blank(save, seven):
    dim = (60 + 0.5 * seven).astype(np.uint8)  # black became 60, white 187
    np.testing.assert_allclose(read_picture(save(dim)), read_picture(save(seven)), atol=2)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_kind_of_pixel_gives_the_same_picture(tmp_path, save, seven, mode):
    path = tmp_path / "mode.png"
    if mode == "I;16":
        Image.fromarray(seven.astype(np.uint16) * 257).save(path)
    else:
        Image.fromarray(seven).convert(mode).save(path)
    np.testing.assert_array_equal(read_picture(path), read_picture(save(seven)))


@pytest.mark.parametrize("ink", [0, 255])
def test_transparent_paper_is_paper_for_dark_and_for_bright_ink(tmp_path, save, seven, ink):
    pixels = np.zeros((*seven.shape, 4), np.uint8)
    pixels[..., :3] = ink
    pixels[..., 3] = 255 - seven
    path = tmp_path / "transparent.png"
    Image.fromarray(pixels).save(path)
    np.testing.assert_array_equal(read_picture(path), read_picture(save(seven)))


@pytest.mark.parametrize("shape", [(1, 3), (40, 1), (3, 3), (2, 500)])
def test_picture_of_few_pixels_is_read(shape):
    grey = np.zeros(shape, np.float32)
    grey[shape[0] // 2, shape[1] // 2] = 1
    assert mnist_form(grey).max() == 255


@pytest.mark.parametrize("level", [0, 127, 255])
def test_blank_picture_is_refused(save, level):
    path = save(np.full((50, 50), level, np.uint8))
    with pytest.raises(DataError, match="blank") as caught:
        read_picture(path)
    assert str(path) in str(caught.value)


def png(width, height, data=b""):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def test_huge_picture_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "huge.png"
    path.write_bytes(png(6000, MOST_PIXELS // 6000 + 1))
    with pytest.raises(DataError, match="at most"):
        read_picture(path)


def test_damaged_picture_is_refused(tmp_path, save, seven):
    content = save(seven).read_bytes()
    for length in (0, 8, 20, 40, len(content) // 2):
        path = tmp_path / "cut.png"
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match="damaged"):
            read_picture(path)


def test_other_kind_of_picture_is_refused(tmp_path, seven):
    path = tmp_path / "digit.png"
    Image.fromarray(seven).save(path, format="BMP")
    with pytest.raises(DataError, match="PNG"):
        read_picture(path)


def test_missing_picture_is_not_found(tmp_path):
    with pytest.raises(InputNotFound):
        read_picture(tmp_path / "none.png")


def test_without_pillow_the_message_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra, match=r"pip install 'fastmlp\[images\]'"):
        read_picture(tmp_path / "digit.png")


@pytest.mark.parametrize(("faint", "same"), [(20, True), (60, False)])
def test_what_is_fainter_than_a_tenth_of_the_ink_does_not_count_as_part_of_the_digit(save, seven, faint, same):
    clean = bounds(read_picture(save(seven)))
    seven[150:165, 180:195] = 255 - faint
    assert (bounds(read_picture(save(seven)) > 25) == clean) is same


def test_faint_speck_does_not_widen_the_box():
    digit = np.zeros((100, 100), np.float32)
    digit[40:70, 45:55] = 1.0
    specked = digit.copy()
    specked[3, 4] = 0.05
    np.testing.assert_array_equal(mnist_form(specked), mnist_form(digit))


def turned(paper):
    """A sheet that lies a little slanted on a black table."""
    return np.asarray(Image.fromarray(paper).rotate(12, fillcolor=0))


def with_lines(paper, level, *places):
    lined = paper.copy()
    for place in places:
        lined[place] = level
    return lined


TOP, BOTTOM, LEFT, RIGHT = np.s_[:3], np.s_[-3:], np.s_[:, :3], np.s_[:, -3:]


def test_a_frame_or_a_line_along_a_side_is_no_part_of_the_digit(save, seven, subtests):
    for places in ((TOP, BOTTOM, LEFT, RIGHT), (LEFT,), (BOTTOM,)):
        for level in (0, 128, 208):
            with subtests.test(places=places, level=level):
                np.testing.assert_array_equal(read_picture(save(with_lines(seven, level, *places))), read_picture(save(seven)))


def test_the_table_under_a_slanted_sheet_is_no_part_of_the_digit(save, seven):
    paper = np.full((200, 200), 255, np.uint8)
    paper[20:180] = seven
    slanted = read_picture(save(np.asarray(Image.fromarray(paper).rotate(12, fillcolor=255))))
    np.testing.assert_array_equal(read_picture(save(turned(paper))), slanted)


def test_a_digit_that_fills_the_picture_stays(save, seven):
    """It reaches the corners, and a speck of dust is no digit."""
    filled = seven[20:120, 30:90].copy()
    np.testing.assert_array_equal(read_picture(save(filled)), read_picture(save(seven)))
    filled[90:93, 5:8] = 0
    changed = np.abs(read_picture(save(filled)).astype(int) - read_picture(save(seven)))
    assert np.count_nonzero(changed > 60) < 5


def shaded(paper, lowest):
    """Under light that falls off towards the left."""
    return np.rint(paper * np.linspace(lowest, 1.0, paper.shape[1])).astype(np.uint8)


def test_neither_dust_nor_a_shadow_over_the_paper_is_ink(save, seven, subtests):
    clean = read_picture(save(seven)).astype(int)
    dusty = seven.copy()
    for row, column in ((3, 150), (30, 4), (150, 190), (151, 20)):
        dusty[row : row + 3, column : column + 2] = 60
    for name, picture in (
        ("dust", dusty),
        ("shadow", shaded(seven, 0.5)),
        ("both", shaded(dusty, 0.6)),
        ("dark", 255 - shaded(seven, 0.7)),
    ):
        with subtests.test(name):
            assert np.abs(read_picture(save(picture)) - clean).mean() < 1.0  # of 255


def test_a_dotted_digit_is_no_dust(save):
    dots = np.full((160, 160), 255, np.uint8)
    dots[30:130:4, 78:81] = 0
    dots[20:40, 70:90] = 0  # the largest shape, beside which each dot is tiny
    height, width = bounds(read_picture(save(dots)))
    assert (height, width) == (20, pytest.approx(20 * 20 / 109, abs=1))


def test_a_frame_that_the_digit_touches_is_no_part_of_it(save, seven):
    touching = seven[:124].copy()  # the digit ends in row 120
    clean = read_picture(save(touching)).astype(int)
    found = read_picture(save(with_lines(touching, 30, np.s_[:6], np.s_[-6:], np.s_[:, :6], np.s_[:, -6:])))
    assert np.abs(found - clean).mean() < 3.0  # of 255: two rows of the digit lie under the frame


@pytest.mark.parametrize("join", [np.hstack, np.vstack])
def test_several_digits_in_a_picture_are_warned_of(save, seven, join, recwarn):
    read_picture(save(join([seven, seven, seven])))
    assert [str(each.message).split(": ", 1)[1] for each in recwarn] == [
        "expected one digit, found 3 shapes beside each other; cut the picture into one for each digit"
    ]


def test_pictures_of_mnist_and_a_digit_of_two_strokes_are_one_digit(save, seven, mnist, recwarn):
    for image in mnist.x_train[:200]:
        read_picture(save(255 - image))
    seven[64:68] = 255  # a gap
    read_picture(save(seven))
    assert len(recwarn) <= 2  # where two strokes stand beside each other


def test_jpeg_is_read_like_png(save, seven, tmp_path):
    Image.fromarray(seven).save(tmp_path / "seven.jpg", quality=90)
    assert np.abs(read_picture(tmp_path / "seven.jpg").astype(int) - read_picture(save(seven))).mean() < 1.0  # of 255
