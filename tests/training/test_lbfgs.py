"""L-BFGS on functions whose minimum is known, and each of its parts against its definition."""

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der

from fastmlp.training import lbfgs
from fastmlp.training.lbfgs import Pair, Point


def rosenbrock(parameters):
    return Point(parameters, float(rosen(parameters)), rosen_der(parameters))


def steps_of(function, start, most=300):
    """Return the points of a minimisation, the start first, and the lengths of its steps."""
    points, lengths, pairs = [function(np.asarray(start))], [], []
    while len(lengths) < most and not lbfgs.is_minimal(points[-1].gradient):
        found = lbfgs.step(function, points[-1], pairs)
        if found is None:
            break
        points.append(found[0])
        lengths.append(found[1])
    return points, lengths


@pytest.mark.parametrize("size", [2, 5, 30])
def test_minimum_of_rosenbrocks_valley_is_found(size):
    points, _ = steps_of(rosenbrock, np.full(size, -1.2))
    np.testing.assert_allclose(points[-1].parameters, 1.0, atol=1e-8)
    assert np.abs(points[-1].gradient).max() < lbfgs.SMALLEST_GRADIENT


def test_every_step_fulfils_the_strong_wolfe_conditions():
    points, lengths = steps_of(rosenbrock, np.full(5, -1.2))
    assert len(lengths) > 20
    for before, after, length in zip(points, points[1:], lengths, strict=False):
        along = (after.parameters - before.parameters) / length
        slope = before.gradient @ along
        assert slope < 0
        assert after.value <= before.value + 1e-4 * length * slope
        assert abs(after.gradient @ along) <= 0.9 * abs(slope) * (1 + 1e-9)


@pytest.mark.parametrize("count", [1, 3, 10])
def test_direction_is_that_of_the_bfgs_matrix(count):
    """Nocedal and Wright, (6.17), applied to (s y / y y) I, the matrix written out."""
    generator = np.random.default_rng(count)
    root = generator.standard_normal((6, 6))
    steps = generator.standard_normal((count, 6))
    pairs = [Pair(s, (root @ root.T + np.eye(6)) @ s) for s in steps]  # changes of a convex quadratic
    gradient = generator.standard_normal(6)
    s, y = pairs[-1]
    inverse = s @ y / (y @ y) * np.eye(6)
    for s, y in pairs:
        left = np.eye(6) - np.outer(s, y) / (s @ y)
        inverse = left @ inverse @ left.T + np.outer(s, s) / (s @ y)
    np.testing.assert_allclose(lbfgs.direction(gradient, pairs), -inverse @ gradient, rtol=1e-10, atol=1e-12)


def test_no_more_pairs_are_kept_than_the_memory_holds_and_they_are_the_last():
    point, pairs, moves = rosenbrock(np.full(4, -1.2)), [], []
    for _ in range(15):
        before, (point, _) = point, lbfgs.step(rosenbrock, point, pairs)
        moves.append(point.parameters - before.parameters)
    np.testing.assert_array_equal([pair.step for pair in pairs], moves[-lbfgs.MEMORY :])


def test_where_the_function_is_infinite_the_search_turns_back():
    def barrier(parameters):  # x - log(1 - x) - log x: a minimum within (0, 1), nothing beyond
        (x,) = parameters
        if not 0 < x < 1:
            return Point(parameters, np.inf, np.full(1, np.nan))
        return Point(parameters, x - np.log(1 - x) - np.log(x), np.array([1 + 1 / (1 - x) - 1 / x]))

    points, _ = steps_of(barrier, [1e-6])
    assert points[-1].parameters[0] == pytest.approx((3 - np.sqrt(5)) / 2, rel=1e-7)


def test_a_function_that_falls_for_ever_gives_longer_and_longer_steps():
    _, lengths = steps_of(lambda w: Point(w, float(-w[0]), np.array([-1.0])), [0.0], most=1)
    assert lengths[0] > 1e6


@pytest.mark.parametrize("slope", [0.0, np.nan])
def test_no_step_is_taken_where_none_makes_the_value_smaller(slope):
    assert lbfgs.step(lambda w: Point(w, 1.0, np.array([slope])), Point(np.zeros(1), 1.0, np.array([slope])), []) is None


def test_pairs_that_lead_uphill_are_given_up():
    uphill = [Pair(np.array([1.0, 0.0]), np.array([-1.0, 0.0]))]
    start = rosenbrock(np.array([-1.2, 1.0]))
    end, _ = lbfgs.step(rosenbrock, start, uphill)
    assert end.value < start.value
    assert len(uphill) == 1
    assert lbfgs.dot(*uphill[0]) > 0


def test_single_precision_ends_where_it_can_tell_no_better():
    points, _ = steps_of(lambda w: rosenbrock(w.astype(np.float64))._replace(parameters=w), np.full(2, -1.2, np.float32))
    assert points[-1].parameters.dtype == np.float32
    np.testing.assert_allclose(points[-1].parameters, 1.0, atol=1e-3)
    assert all(after.value < before.value for before, after in zip(points, points[1:], strict=False))


def test_the_same_start_gives_the_same_bits():
    first, second = (steps_of(rosenbrock, np.full(30, -1.2))[0] for _ in range(2))
    assert [point.parameters.tobytes() for point in first] == [point.parameters.tobytes() for point in second]
