"""A network shown: what its summary says, against counts made by hand, and what it cannot do to the page or the terminal."""

import numpy as np

import fastmlp
from fastmlp import Network

X = np.random.default_rng(2).normal(size=(30, 4))
LABELS = np.array(["<b>", "\x1b[31m", "𝕏"])[np.arange(30) % 3]


def trained(**changes):
    net = Network([4, 6, 5, 3], ("relu", "tanh"), normalization="batch")
    fastmlp.train(net, X, LABELS, epochs=1, **changes)
    return net


def test_summary_of_a_network_says_what_it_is():
    assert Network([1000, 3]).summary().splitlines() == [
        "Network 1000-3: 3,003 parameters, float32",
        "",
        "layer  inputs  units  activation  parameters",
        "1       1,000      3  softmax          3,003",
        "",
        "inputs   decided by the first training",
        "loss     cross_entropy",
        "classes  0 to 2",
    ]


def test_summary_counts_every_parameter_and_names_classes_and_preprocessing():
    net = trained(normalize="standardize")
    text = net.summary()
    assert "Network 4-6-5-3: 94 parameters and 22 running statistics, float32" in text
    assert [line.split()[-1] for line in text.splitlines()[3:6]] == [str(4 * 6 + 2 * 6), str(6 * 5 + 2 * 5), str(5 * 3 + 3)]
    assert "batch normalisation, relu" in text
    assert "standardised: less the mean" in text
    assert "'\\x1b[31m', '<b>' and '𝕏'" in text
    assert repr(text) == str(text)  # as a prompt shows it


def test_page_of_a_network_shows_labels_as_text():
    page = trained()._repr_html_()
    assert not [unsafe for unsafe in ("<b>", "\x1b") if unsafe in page]
    assert "&lt;b&gt;" in page
    assert page.count("<tr>") == 4


def test_regression_says_how_targets_are_scaled_and_names_no_classes():
    net = Network([4, 3, 1])
    fastmlp.train(net, X, X[:, 0], epochs=1)
    assert "targets  standardised inside" in net.summary()
    assert "classes" not in net.summary()


def test_repr_names_labels_and_is_one_line():
    assert repr(trained()) == "Network(4-6-5-3, relu, tanh → softmax, batch normalisation, float32, '\\x1b[31m', '<b>' and '𝕏')"
