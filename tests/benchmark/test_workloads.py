"""The workloads are those that were agreed on, typed here a second time."""

import pytest

from fastmlp.benchmark.implementations import IMPLEMENTATIONS
from fastmlp.benchmark.workloads import DEFAULT, PEAK, WORKLOADS

# name: data, rows, sizes, activation, loss, optimizer, batch size
AGREED = {
    "A": ("mnist", 60_000, (784, 300, 10), "sigmoid", "cross_entropy", "sgd", 50),
    "A'": ("random-bytes", 60_000, (784, 300, 10), "sigmoid", "cross_entropy", "sgd", 50),
    "B": ("mnist", 60_000, (784, 300, 10), "sigmoid", "cross_entropy", "sgd", 512),
    "C": ("fashion-mnist", 60_000, (784, 300, 300, 10), "relu", "cross_entropy", "sgd", 50),
    "D": ("mnist", 60_000, (784, 1024, 1024, 10), "relu", "cross_entropy", "sgd", 128),
    "E": ("random-table", 100_000, (64, 256, 256, 1), "relu", "mse", "adam", 256),
    "F": ("random-table", 100_000, (8, 32, 32, 1), "relu", "mse", "adam", 32),
    "G": ("synthetic", 60_000, (2, 3, 2), "sigmoid", "cross_entropy", "sgd", 1),
    "K": ("mnist", 60_000, (784, 300, 10), "sigmoid", "cross_entropy", "sgd", 1),
    "M": ("random-classes", 15_216, (10, 100, 2), "relu", "cross_entropy", "adam", 200),
    "M'": ("random-classes", 1_437, (64, 100, 10), "relu", "cross_entropy", "adam", 200),
    "L": ("random-table", 200, (24, 8, 2), "tanh", "mse", "sgd", 200),
    "I": ("mnist", 6_000, (784, 4096, 4096, 10), "relu", "cross_entropy", "sgd", 256),
    "H": ("mnist", 1_000, (784, 300, 10), "sigmoid", "cross_entropy", "sgd", 1),
    "H'": ("mnist", 1_000, (784, 300, 10), "sigmoid", "cross_entropy", "sgd", 1),
}
# name: the ratios to reach, by peer and variant; then those that are others without AVX-512
RATIOS = {
    "A": {"jax": 5, "torch eager": 8, "torch in-place": 4, "sklearn": 15, "numpy": 8},
    "A'": {"jax": 2.2, "torch eager": 7, "torch in-place": 2.5},
    "B": {"jax": 3, "torch eager": 4, "torch in-place": 1},
    "C": {"jax": 2.2, "torch eager": 5.5, "torch in-place": 1},
    "D": {"jax": 1.5, "torch eager": 2.2, "torch in-place": 1.6},
    "E": {"jax": 1.5, "torch eager": 4, "torch in-place": 1},
    "F": {"jax": 2.5},
    "G": {"jax": 1, "python": 300, "c": 0.95},
    "K": {"jax": 3.7},
    "M": {"sklearn": 12, "jax": 2},
    "M'": {"sklearn": 12, "jax": 2},
    "L": {"numpy": 1.5},
    "I": {"jax": 1.05, "torch": 1.0, "torch eager": 1.1},
    "H": {"torch": 4, "onnxruntime": 4, "numpy": 4, "sklearn": 20},
    "H'": {"torch": 4, "onnxruntime": 4, "numpy": 4, "sklearn": 20},
}
WITHOUT_AVX512 = {"A": {"jax": 4.5}, "A'": {"jax": 2}, "B": {"jax": 2.5}, "C": {"jax": 2}, "E": {"jax": 1.6}, "K": {"jax": 3.5}}
SECONDS = {
    "A": 0.10,
    "A'": 0.22,
    "C": 0.25,
    "F": 3125 * 4e-6,
    "G": 60_000 * 50e-9,
    "K": 0.4,
    "M": 77 * 35e-6,
    "M'": 8 * 75e-6,
    "L": 15e-6,
    "H": 5e-6,
}


def test_workloads_are_those_agreed_on():
    facts = {
        name: (each.data, each.rows, each.sizes, each.activation, each.loss, each.optimizer, each.batch_size)
        for name, each in WORKLOADS.items()
    }
    assert facts == AGREED


def test_ratios_of_the_default_are_those_agreed_on():
    found = {
        name: {
            " ".join((target.theirs.peer, *target.theirs.variants)): target.at_least
            for target in workload.targets
            if target.ours == DEFAULT and target.theirs.peer != "fastmlp" and target.at_least is not None
        }
        for name, workload in WORKLOADS.items()
    }
    assert found == RATIOS


def test_ratios_without_avx512_are_those_agreed_on():
    found = {
        name: {target.theirs.peer: target.aim(has_avx512=False) for target in workload.targets if target.without_avx512 is not None}
        for name, workload in WORKLOADS.items()
    }
    assert {name: aims for name, aims in found.items() if aims} == WITHOUT_AVX512


def test_shares_of_the_peak_are_those_agreed_on():
    found = {
        name: (target.ours.variants, target.at_least)
        for name, workload in WORKLOADS.items()
        for target in workload.targets
        if target.theirs.peer == PEAK
    }
    assert found == {"A'": (("auto",), 0.82), "D": (("off",), 0.85)}


def test_seconds_to_reach_are_those_agreed_on():
    found = {name: workload.limit.seconds for name, workload in WORKLOADS.items() if workload.limit}
    assert found == pytest.approx(SECONDS)


def test_textbook_loops_are_set_against_jax_and_c_on_one_thread_and_on_all():
    found = [
        (target.theirs.peer, target.ours.threads, target.at_least) for target in WORKLOADS["A"].targets if "scalar" in target.ours.variants
    ]
    assert found == [("jax", "one", 0.9), ("jax", "all", 1.5), ("c", "one", 0.95), ("c", "all", 0.95)]


def test_two_threads_are_set_against_one_where_that_was_agreed_on():
    found = {
        name: target.at_least
        for name, workload in WORKLOADS.items()
        for target in workload.targets
        if target.theirs.peer == "fastmlp" and target.theirs.threads == "one"
    }
    assert found == {"A": 1.5, "D": 1.7}


def test_every_row_of_images_is_measured_without_zero_skipping_too():
    assert {name for name, each in WORKLOADS.items() if "off" in each.ours} == {"A", "B", "C", "D", "K", "I"}


@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=WORKLOADS)
def test_every_choice_names_a_variant_that_exists(workload):
    for target in workload.targets:
        known = workload.ours if target.theirs.peer == "fastmlp" else IMPLEMENTATIONS[target.theirs.peer].variants[workload.task]
        assert set(target.theirs.variants) <= set(known)
        assert set(target.ours.variants) <= set(workload.ours)


def test_limit_of_an_epoch_shrinks_with_its_rows():
    assert WORKLOADS["A"].with_rows(600).limit.seconds == pytest.approx(0.001)


def test_limit_of_a_call_does_not_shrink():
    assert WORKLOADS["H"].with_rows(100).limit == WORKLOADS["H"].limit


def test_peers_that_are_not_installed_are_told_by_the_names_that_pip_knows():
    sklearn = IMPLEMENTATIONS["sklearn"]._replace(packages={"numpy": "numpy", "no_such_module": "no-such-package"})
    assert sklearn.missing() == ("no-such-package",)
