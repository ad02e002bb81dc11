"""The table of implementations: fastmlp and its peers, what each needs, and the variants that it has for each task."""

import importlib.metadata
import importlib.util
from collections.abc import Mapping
from typing import NamedTuple

from fastmlp.benchmark.problem import Problem
from fastmlp.benchmark.protocol import Configuration
from fastmlp.benchmark.runner import Course, Runner, Unavailable
from fastmlp.benchmark.workloads import COURSE, GRADIENT, MULTIPLY_ADDS, PEAK, PREDICT, TRAIN


class Implementation(NamedTuple):
    """One implementation: what it is called, the packages whose versions matter, its variants by task."""

    title: str
    packages: Mapping[str, str]  # name to import -> name to install
    variants: Mapping[str, tuple[str, ...]]
    uses_threads: bool = True

    def missing(self) -> tuple[str, ...]:
        """Return what has to be installed first, by the names that pip knows."""
        return tuple(package for name, package in self.packages.items() if importlib.util.find_spec(name) is None)

    def versions(self) -> dict[str, str]:
        """Return the versions of its packages."""
        return {package: importlib.metadata.version(package) for package in self.packages.values()}


IMPLEMENTATIONS = {
    # its variants depend on the workload
    "fastmlp": Implementation("fastmlp", {"numba": "numba", "numpy": "numpy"}, {}),
    "jax": Implementation(
        "JAX",
        {"jax": "jax", "jaxlib": "jaxlib"},
        {TRAIN: ("unroll 1", "unroll 4", "gathered"), GRADIENT: ("jit",), PREDICT: ("jit",), COURSE: ("scan",)},
    ),
    "torch": Implementation(
        "PyTorch",
        {"torch": "torch"},
        {
            TRAIN: ("eager", "fused", "compile", "in-place"),
            GRADIENT: ("eager", "in-place"),
            PREDICT: ("eager", "in-place", "compile"),
            COURSE: ("eager", "in-place"),
        },
    ),
    "sklearn": Implementation("scikit-learn", {"sklearn": "scikit-learn"}, {TRAIN: ("partial_fit",), PREDICT: ("predict",)}),
    "numpy": Implementation(
        "NumPy", {"numpy": "numpy"}, {TRAIN: ("plain",), GRADIENT: ("plain",), PREDICT: ("plain",), COURSE: ("plain",)}
    ),
    "onnxruntime": Implementation("ONNX Runtime", {"onnxruntime": "onnxruntime", "onnx": "onnx"}, {PREDICT: ("session",)}),
    "c": Implementation("C", {}, {TRAIN: ("O3", "fast-math")}),
    "python": Implementation("pure Python", {}, {TRAIN: ("lists",)}, uses_threads=False),
    PEAK: Implementation("peak", {}, {TRAIN: (MULTIPLY_ADDS,)}),  # not an implementation: see measure.py
}


def describe(configuration: Configuration) -> str:
    """Return what a configuration is called: "PyTorch eager, 2 threads"."""
    threads = "1 thread" if configuration.threads == 1 else f"{configuration.threads} threads"
    return f"{IMPLEMENTATIONS[configuration.peer].title} {configuration.variant}, {threads}"


def build(peer: str, problem: Problem, variant: str, threads: int) -> Runner:
    """Return an implementation at work on a problem; loads its packages. Raises Unavailable where it cannot run."""
    match peer:
        case "fastmlp":
            from fastmlp.benchmark import ours

            return ours.build(problem, variant, threads)
        case "jax":
            from fastmlp.benchmark.peers import jax_peer

            return jax_peer.build(problem, variant)
        case "torch":
            from fastmlp.benchmark.peers import torch_peer

            return torch_peer.build(problem, variant, threads)
        case "sklearn":
            from fastmlp.benchmark.peers import sklearn_peer

            return sklearn_peer.build(problem)
        case "numpy":
            from fastmlp.benchmark.peers import numpy_peer

            return numpy_peer.build(problem, variant)
        case "onnxruntime":
            from fastmlp.benchmark.peers import onnx_peer

            return onnx_peer.build(problem, threads)
        case "c":
            from fastmlp.benchmark.peers import c_peer

            return c_peer.build(problem, variant, threads)
        case "python":
            from fastmlp.benchmark.peers import python_peer

            return python_peer.build(problem, variant)
    raise Unavailable(f"expected one of {', '.join(IMPLEMENTATIONS)}, got {peer!r:.60}")


def build_course(peer: str, problem: Problem, variant: str, threads: int, smoothing: float = 0.0) -> Course:
    """Return a peer ready for a whole training of a problem's network, by SGD, its labels smoothed; loads its packages."""
    match peer:
        case "jax":
            from fastmlp.benchmark.peers import jax_peer

            return jax_peer.course(problem, smoothing)
        case "torch":
            from fastmlp.benchmark.peers import torch_peer

            return torch_peer.course(problem, variant, threads, smoothing)
        case "numpy":
            from fastmlp.benchmark.peers import numpy_peer

            return numpy_peer.course(problem, smoothing)
    raise Unavailable(
        f"expected one of {', '.join(name for name, each in IMPLEMENTATIONS.items() if COURSE in each.variants)}, got {peer!r:.60}"
    )
