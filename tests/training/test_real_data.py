"""What is claimed about MNIST and about the synthetic points, on them."""

import pytest

import fastmlp
from fastmlp import Network
from fastmlp.settings import OPTIMIZERS


def test_the_plain_defaults_reach_97_5_percent_on_mnist(mnist):
    net = Network([784, *fastmlp.NetworkSettings().hidden, 10])
    fastmlp.train(net, mnist.x_train, mnist.y_train, **mnist.training_defaults)
    assert net.evaluate(mnist.x_test, mnist.y_test)["accuracy"] >= 0.975


def test_the_settings_of_the_report_reach_97_3_percent_on_mnist(mnist):
    net = Network([784, 300, 10], "sigmoid")
    history = fastmlp.train(
        net, mnist.x_train, mnist.y_train, epochs=5, batch_size=50, learning_rate=0.01, reduction="sum", normalize="standardize"
    )
    assert net.evaluate(mnist.x_test, mnist.y_test)["accuracy"] >= 0.973
    assert history[-1].train_loss < history[0].train_loss


def test_mnist_pixels_are_standardised_by_the_numbers_that_everyone_uses(mnist):
    net = Network([784, 10])
    fastmlp.train(net, mnist.x_train, mnist.y_train, epochs=0, normalize="standardize")
    assert float(net.input_scaling.mean) == pytest.approx(0.1307, abs=5e-5)
    assert float(net.input_scaling.std) == pytest.approx(0.3081, abs=5e-5)


def test_the_defaults_of_the_synthetic_points_reach_97_percent_of_the_separate_ones():
    data = fastmlp.load_dataset("synthetic")
    net = Network([2, *data.network_defaults["hidden"], 2], data.network_defaults["activation"])
    fastmlp.train(net, data)
    assert net.sizes == (2, 3, 2)
    assert net.evaluate(data.x_test, data.y_test)["accuracy"] >= 0.97


def test_the_reports_learning_rate_stays_near_chance_on_the_synthetic_points():
    data = fastmlp.load_dataset("synthetic")
    net = Network([2, 3, 2], "sigmoid")
    history = fastmlp.train(net, data.x_train, data.y_train, batch_size=1, learning_rate=0.00001, epochs=5)
    assert all(epoch.train_loss >= 0.65 for epoch in history)


@pytest.mark.long
@pytest.mark.parametrize(("hidden", "least"), [((300,), 0.97), ((30,), 0.95)])
def test_every_optimizer_by_its_name_alone_learns_mnist_in_two_epochs(mnist, hidden, least, subtests):
    for name in OPTIMIZERS:
        if name == "lbfgs":  # its epochs are iterations
            continue
        accuracies = []
        for seed in range(5):  # one alone is up to half a point better or worse
            network = fastmlp.Network([784, *hidden, 10], seed=seed)
            fastmlp.train(network, mnist, optimizer=name, epochs=2, seed=seed)
            accuracies.append(network.evaluate(mnist.x_test, mnist.y_test)["accuracy"])
        with subtests.test(name):
            # 0.2 points are two standard errors of such a mean: vectors of other widths round otherwise
            assert sum(accuracies) / len(accuracies) >= least - 0.002, accuracies
