"""The pieces of the reproduction that can be checked by themselves."""

import numpy as np
import pytest

import fastmlp
from fastmlp.experiments.claims import NO
from fastmlp.experiments.reproduce import AS_READ, NETWORK, Laboratory, non_negative_weights, printed_sigmoid
from fastmlp.network import network_for


@pytest.fixture(scope="module")
def laboratory(mnist):
    few = mnist.first_rows(1200, 100)
    return Laboratory(few, few, few, seeds=2, repeats=3)


def test_weights_like_the_reports_are_whole_hundredths_from_0_to_8():
    network = fastmlp.Network([784, 300, 10], "sigmoid", seed=3)
    non_negative_weights(network)
    for weight in network.weights:
        counts = np.bincount(np.rint(100 * weight).astype(int).ravel())
        assert len(counts) == 9
        assert counts.max() - counts.min() <= 1
        np.testing.assert_allclose(100 * weight, np.rint(100 * weight), atol=1e-5)
    assert all((bias == 0).all() for bias in network.biases)


def test_weights_like_the_reports_differ_by_seed():
    first, second = (fastmlp.Network([784, 300, 10], seed=seed) for seed in (0, 1))
    non_negative_weights(first)
    non_negative_weights(second)
    assert (first.weights[0] != second.weights[0]).mean() > 0.8  # 8 of 9 by chance


def test_printed_sigmoid_fails_the_gradient_check(laboratory):
    events = printed_sigmoid(laboratory)
    next(events)
    with pytest.raises(StopIteration) as end:
        next(events)
    [row] = end.value.value.rows
    assert row.same == NO
    assert row.measured.mean > 0.1


def test_settings_of_the_report_hold_out_a_twelfth_of_a_smaller_data_set(laboratory, mnist):
    few = laboratory.group(laboratory.mnist, {"learning_rate": 0.001})
    assert [(task.training.seed, task.training.validation, task.training.learning_rate) for task in few] == [
        (0, 100, 0.001),
        (1, 100, 0.001),
    ]
    assert laboratory.group(mnist, {})[0].training == AS_READ


def test_final_models_alone_open_the_test_rows_and_see_all_others(laboratory):
    assert not any(task.opens_test for task in laboratory.group(laboratory.mnist, {}))
    assert [(task.opens_test, task.training.validation) for task in laboratory.finals(laboratory.mnist, {})] == [(True, 0)] * 2


@pytest.mark.long
def test_report_reaches_its_test_accuracy_as_it_is_read_here(mnist):
    network = network_for(mnist, NETWORK, seed=0)
    settings = {name: getattr(AS_READ, name) for name in ("epochs", "batch_size", "learning_rate", "reduction", "normalize")}
    fastmlp.train(network, mnist.x_train, mnist.y_train, **settings)
    assert network.evaluate(mnist.x_test, mnist.y_test)["accuracy"] > 0.972  # the report says 0.975
