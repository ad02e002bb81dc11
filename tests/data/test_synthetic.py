"""The synthetic points are what their formula says: always the same, normal, and cut by the ellipse."""

import hashlib
import math

import numpy as np
import pytest

import fastmlp
from fastmlp.data.synthetic import synthetic_points


@pytest.fixture(scope="module")
def points():
    return synthetic_points()


def test_shapes_and_types(points):
    assert [(array.shape, array.dtype) for array in points] == [
        ((60_000, 2), np.float32), ((60_000,), np.uint8), ((10_000, 2), np.float32), ((10_000,), np.uint8),
    ]  # fmt: skip


def test_the_points_never_change(points):
    digest = hashlib.sha256(b"".join(array.tobytes() for array in points)).hexdigest()
    assert digest == "3d9e199bf64077d9fc44524b47155c87042cfc3ec796f9827a1cb44ce33407c6"
    assert fastmlp.load_dataset("synthetic").hashes == {"synthetic": digest}


def test_the_points_do_not_depend_on_numpys_global_state(points):
    np.random.seed(1)  # noqa: NPY002 - that state is what is tested
    np.testing.assert_array_equal(synthetic_points().x_train, points.x_train)


def test_every_label_follows_from_its_point(points):
    for x, y in ((points.x_train[:2000], points.y_train[:2000]), (points.x_test[:2000], points.y_test[:2000])):
        for (a, b), label in zip(x.tolist(), y.tolist(), strict=True):
            q = a * (1 * a - 0.05 * b) + b * (1 * a + 0.4 * b)
            assert label == (q > 0.6)


def test_both_splits_are_standard_normal(points):
    for x in (points.x_train, points.x_test):
        rows = len(x)
        for column in x.T.tolist():  # Kolmogorov and Smirnov: beyond 1.95 / sqrt(n) once in 1,000 samples
            distribution = [0.5 * (1 + math.erf(value / math.sqrt(2))) for value in sorted(column)]
            distance = max(abs(p - (rank + 0.5) / rows) for rank, p in enumerate(distribution))
            assert distance < 1.95 / math.sqrt(rows)
        assert abs(np.corrcoef(x.T.astype(np.float64))[0, 1]) < 4 / math.sqrt(rows)


def test_the_share_of_class_1_is_that_of_the_integral(points):
    # In polar coordinates q = r² g(angle), and r²/2 is exponential: P(q > 0.6 | angle) = exp(-0.3 / g(angle)).
    steps = 10_000
    angles = [2 * math.pi * step / steps for step in range(steps)]
    share = sum(math.exp(-0.3 / (math.cos(t) ** 2 + 0.95 * math.sin(t) * math.cos(t) + 0.4 * math.sin(t) ** 2)) for t in angles) / steps
    for y in (points.y_train, points.y_test):
        assert abs(y.mean() - share) < 4 * math.sqrt(share * (1 - share) / len(y))


def test_no_test_point_is_a_training_point(points):
    assert not {tuple(row) for row in points.x_test.tolist()} & {tuple(row) for row in points.x_train.tolist()}
