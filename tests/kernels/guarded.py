"""Trainings, predictions and gradients whose arrays lie between pages that no one may touch: one step outside ends the process.

python -m tests.kernels.guarded NUMBER…: tries these cases, and prints each before it runs, what ran at the end.
python -m tests.kernels.guarded sizes N…: tries these sizes in each dimension.
"""

import ctypes
import faulthandler
import functools
import inspect
import itertools
import json
import mmap
import os
import random
import sys
import types
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from tests.quality.counts import FULL

PAGE = mmap.PAGESIZE
NO_ACCESS = 0
LINE = 64  # bytes of a cache line, where the arena begins

side = "after"  # on which side of an array the next number lies in a guarded page


def forbid(page: int) -> None:
    """Let a page, given by its address, be neither read nor written."""
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    assert protect(ctypes.c_void_p(page), ctypes.c_size_t(PAGE), NO_ACCESS) == 0, os.strerror(ctypes.get_errno())


def guarded(shape: Any, dtype: Any = np.float64, align: int = 0) -> np.ndarray:
    """Return zeros whose neighbours on one `side` cannot be read or written. They are given back to the system with the array."""
    dtype, shape = np.dtype(dtype), tuple(np.atleast_1d(shape))
    count = int(np.prod(shape, dtype=np.int64))
    used = -(-count * dtype.itemsize // (align or 1)) * (align or 1)
    pages = max(1, -(-used // PAGE))
    memory = mmap.mmap(-1, (pages + 2) * PAGE)
    begin = np.frombuffer(memory, np.uint8).ctypes.data
    forbid(begin), forbid(begin + (pages + 1) * PAGE)
    offset = PAGE if side == "before" else (pages + 1) * PAGE - used
    return np.frombuffer(memory, dtype, count, offset).reshape(shape)


def guard(array: np.ndarray) -> np.ndarray:
    """Return a guarded copy, as writable as the array."""
    copy = guarded(array.shape, array.dtype)
    copy[...] = array
    copy.flags.writeable = array.flags.writeable
    return copy


class GuardedNumPy(types.ModuleType):
    """NumPy, but what it allocates is guarded."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def zeros(self, shape: Any, dtype: Any = np.float64) -> np.ndarray:
        """Return guarded zeros."""
        return guarded(shape, dtype)

    empty = zeros

    def zeros_like(self, array: np.ndarray, dtype: Any = None) -> np.ndarray:
        """Return guarded zeros of the shape and type of an array."""
        return guarded(array.shape, dtype or array.dtype)

    empty_like = zeros_like


def with_guarded_arguments(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that gets guarded copies of its arrays, also of those in a tuple; what it writes comes back."""

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        pairs: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # one array that is given twice stays one

        def copied(value: Any) -> Any:
            if type(value) is np.ndarray and value.flags.c_contiguous:
                return pairs.setdefault(id(value), (value, guard(value)))[1]
            if isinstance(value, tuple) and hasattr(value, "_replace"):
                return type(value)(*map(copied, value))
            return value

        try:
            return function(*map(copied, arguments), **{name: copied(value) for name, value in named.items()})
        finally:
            for array, copy in pairs.values():
                if array.flags.writeable:
                    array[...] = copy

    return call


def spread_arenas() -> None:
    """Let each part of an arena, weights, rows of a batch, sums, lie beside a guarded page of its own."""
    from fastmlp.engines.layout import Layout

    made = Layout.__init__

    def take(self: Any, count: int) -> int:
        used, at = -(-count * self.dtype.itemsize // LINE) * LINE, self._size * self.dtype.itemsize
        pages = -(-used // PAGE)
        self._size += (pages + 1) * PAGE // self.dtype.itemsize
        vars(self).setdefault("forbidden", []).append(at if side == "before" else at + pages * PAGE)
        vars(self).setdefault("parts", []).append((at + PAGE if side == "before" else at + pages * PAGE - used, used))
        return int(self.parts[-1][0]) // self.dtype.itemsize

    def make(self: Any, *arguments: Any, **named: Any) -> None:
        made(self, *arguments, **named)
        distance, end = self.state * self.dtype.itemsize, self.states_end * self.dtype.itemsize
        for page in self.forbidden:
            for at in range(page, end, distance) if page < distance else (page,):  # the weights, then each of their states
                forbid(self.arena.ctypes.data + at)

    def clear_states(self: Any) -> None:
        distance = self.state * self.dtype.itemsize
        for at, used in self.parts:
            for first in range(at + distance, self.states_end * self.dtype.itemsize, distance) if at < distance else ():
                self.arena.view(np.uint8)[first : first + used] = 0

    Layout.__init__, Layout._take, Layout.clear_states = make, take, clear_states


def guard_everything() -> Counter[str]:
    """Let all that compiled code of a network gets be guarded; return what will count the programs that run."""
    from fastmlp import embedding
    from fastmlp.engines import layout, program, threads, tiled
    from fastmlp.network import arrays, network
    from fastmlp.training import augmentation, full_batch

    for module in (embedding, arrays, network, layout, program, threads, tiled, augmentation, full_batch):
        module.np = GuardedNumPy("numpy")
    for module in (layout, program):
        module.aligned_zeros = functools.partial(guarded, align=LINE)
    spread_arenas()
    ran: Counter[str] = Counter()

    def counted(kind: Callable[[Any], str], function: Callable[..., Any]) -> Callable[..., Any]:
        guarding = with_guarded_arguments(function)

        @functools.wraps(function)
        def call(self: Any, *arguments: Any, **named: Any) -> Any:
            ran[f"{function.__name__}: {kind(self)}"] += 1
            return guarding(self, *arguments, **named)

        return call

    def kind_of(self: Any) -> str:
        if isinstance(self, tiled.TiledProgram):
            return f"tiles, {self.threads} threads" if self.threads > 1 else "tiles"
        if isinstance(self, program.RowProgram):
            return "one row"
        return "regions" if self.threads > 1 else "narrow" if self.narrow else "row by row" if self.by_row else "scalar"

    for owner in (program.Program, program.RowProgram, tiled.TiledProgram):
        for name in ("train", "outputs", "gradient"):
            if hasattr(owner, name):
                setattr(owner, name, counted(kind_of, getattr(owner, name)))
    network.loss_of_outputs = with_guarded_arguments(network.loss_of_outputs)
    return ran


class Case(NamedTuple):
    """What is tried: any two values of any two fields meet."""

    side: str
    engine: str
    optimizer: str
    dtype: str
    x: str
    output: str
    normalization: str
    threads: int
    more: str
    zero_skipping: str
    normalize: str


VALUES = Case(
    ["after", "before"], ["scalar", "tiles", "row", "narrow", "embedded"], ["sgd", "adam"], ["float32", "float64"],
    ["dense", "sparse", "bytes"], ["softmax", "sigmoid", "identity"], ["none", "layer", "batch"], [1, 2, 3, 7],
    ["", "dropout", "clip_norm", "average", "max_norm", "sample_weight"], ["on", "off"], ["none", "standardize"],
)  # fmt: skip
MORE = {"dropout": 0.5, "clip_norm": 1.0, "average": "ema", "max_norm": 3.0}
MOST_UNITS = MOST_ROWS = 70


def cases() -> Iterator[Case]:
    """Yield cases for ever, those in which all pairs meet again and again: the sizes are drawn anew for each."""
    from tests.pairs import all_pairs

    rows = [Case(*row) for row in all_pairs(*VALUES)]
    while True:
        yield from rows


def try_case(number: int, case: Case) -> None:
    """Try a network of sizes that the number decides."""
    from fastmlp.engines import program, tiled

    global side
    side = case.side
    draw = random.Random(number)
    is_single, norm = case.engine in ("row", "narrow"), case.normalization
    if is_single:  # what takes the rows one by one is plain
        case, norm = case._replace(optimizer="sgd", more=case.more if case.more == "sample_weight" else ""), "none"
    most = 2 if case.engine == "narrow" else MOST_UNITS
    least = 2 if norm == "layer" else 1
    hidden = [draw.randint(least, most) for _ in range(draw.choice([1, 1, 2] if not is_single else [0, 1, 2]))]
    sizes = [draw.randint(1, MOST_UNITS), *hidden, draw.randint(2 if case.output == "softmax" else 1, most)]
    if case.engine == "narrow":
        sizes[0] = draw.randint(1, 64)
    batch = 1 if is_single else draw.randint(2, MOST_ROWS)
    rows = batch * draw.randint(1, 3) if norm == "batch" else draw.randint(1, 2 * MOST_ROWS)
    # any size may be cut into shares, or not; parallel regions take long to compile, so that they are tried with floats of one type
    in_regions = case.engine == "scalar" and norm == "none" and case.dtype == "float32"
    if in_regions:
        case = case._replace(threads=1 + number % max(VALUES.threads))
    program.PARALLEL_MULTIPLY_ADDS = 0 if in_regions else 500_000
    tiled.TEAM_MULTIPLY_ADDS = draw.choice([0, 1_000_000])
    print(json.dumps([number, case, sizes, norm, batch, rows, program.PARALLEL_MULTIPLY_ADDS, tiled.TEAM_MULTIPLY_ADDS]), flush=True)
    try_network(number, case._replace(normalization=norm), sizes, batch, rows)


def try_network(number: int, case: Case, sizes: list[int], batch: int, rows: int) -> None:
    """Train, predict, evaluate and differentiate by a network of these sizes; the number decides about weights and data."""
    import fastmlp

    numbers, norm = np.random.default_rng(number), case.normalization
    net = fastmlp.Network(sizes, output=case.output, normalization=norm, dtype=case.dtype, seed=number)
    net._parameters, net._running_stats = guard(net._parameters), guard(net._running_stats)
    x = numbers.random((rows, sizes[0])) * (numbers.random((rows, sizes[0])) < (0.2 if case.x == "sparse" else 1))
    x = guard((255 * x).astype(np.uint8) if case.x == "bytes" else x.astype(case.dtype))
    y = {
        "softmax": lambda: numbers.integers(0, sizes[-1], rows),
        "sigmoid": lambda: numbers.integers(0, 2, (rows, sizes[-1])),
        "identity": lambda: numbers.random((rows, sizes[-1])),
    }[case.output]()
    y = guard(y.astype(case.dtype) if case.output == "identity" else y)
    weight = guard(numbers.random(rows) + 0.1) if case.more == "sample_weight" else None
    rate = 1e-9 if case.x == "bytes" and case.normalize == "none" else 1e-3  # inputs up to 255 bear no larger steps
    settings = {"batch_size": batch, "learning_rate": rate, "optimizer": case.optimizer, "threads": case.threads, "seed": number}
    settings |= {"kernels": "scalar" if case.engine == "scalar" else "auto", "zero_skipping": case.zero_skipping}
    settings |= {case.more: MORE[case.more]} if case.more in MORE else {}
    history = fastmlp.train(net, x, y, sample_weight=weight, epochs=2, normalize=case.normalize, **settings)
    assert np.isfinite(history[-1].train_loss)

    part = slice(min(rows, batch))
    online = fastmlp.OnlineTrainer(net, **settings)
    online.step(guard(x[part]), guard(y[part]), None if weight is None else guard(weight[part]))
    if norm != "batch" or rows > 1:
        net.gradient(x, y)
    for outputs in (net.predict(x), net.logits(x, settings["kernels"], case.threads), net.evaluate(x, y, weight), net.predict(x[-1])):
        assert outputs is not None
    if case.output != "identity":
        assert np.isfinite(net.predict_proba(guard(x[0]))).all()
    if case.engine == "embedded" and norm != "batch":
        embed(net, case.optimizer, x, y)


VARIED = ("inputs", "hidden", "outputs", "rows", "batch")


def try_sizes(chosen: Iterable[int]) -> None:
    """Let each dimension in turn have each of the chosen sizes, in each engine, with 1, 2, 3, 7 threads, on both sides of its arrays.

    The other dimensions are drawn. What compiles anew, types, optimizers, outputs, is a short list: thousands of trainings take minutes.
    """
    from fastmlp.engines import program, tiled

    global side
    tiled.TEAM_MULTIPLY_ADDS, in_engine = 0, program.PARALLEL_MULTIPLY_ADDS
    tries = itertools.product(chosen, VARIED, ("scalar", "tiles", "row", "narrow"), VALUES.threads, VALUES.side)
    for number, (n, varied, engine, threads, side) in enumerate(tries):  # noqa: B007  the side is that of `guarded`
        most = {"narrow": 2}.get(engine, MOST_UNITS)
        if (engine in ("row", "narrow") and (varied == "batch" or threads > 1)) or (varied in ("hidden", "outputs") and n > most):
            continue
        draw = random.Random(number)
        of = {name: draw.randint(1, most if name in ("hidden", "outputs") else MOST_UNITS) for name in VARIED}
        if engine == "tiles":  # what is smaller is left to the textbook loops
            of |= {"inputs": draw.randint(24, 64), "hidden": draw.randint(12, 64), "batch": draw.randint(4, 64)}
        of |= {"batch": 1} if engine in ("row", "narrow") else {}
        of[varied] = n
        program.PARALLEL_MULTIPLY_ADDS = 0 if engine == "scalar" and threads > 1 else in_engine
        output = "softmax" if engine == "tiles" and of["outputs"] > 1 else "identity"
        dtype = "float32" if program.PARALLEL_MULTIPLY_ADDS == 0 else draw.choice(VALUES.dtype)
        x = "dense" if engine == "scalar" else draw.choice(VALUES.x)
        case = Case(side, engine, "sgd", dtype, x, output, "none", threads, "", draw.choice(VALUES.zero_skipping), "none")
        print(json.dumps([number, case, of]), flush=True)
        try_network(number, case, [of["inputs"], of["hidden"], of["outputs"]], of["batch"], of["rows"])


def embed(net: Any, optimizer: str, x: np.ndarray, y: np.ndarray) -> None:
    """Call the functions for compiled code, and those for C."""
    from fastmlp import embedding

    state, functions = net.compiled(optimizer)
    state = type(state)(*map(guard, state))
    scratch = guarded(functions.make_scratch(state).size, net.dtype)
    outs, gradient, of_inputs = (guarded(shape, net.dtype) for shape in ((len(x), net.n_outputs), state.parameters.size, x.shape))
    functions.predict(state, scratch, x[-1], guarded(net.n_outputs, net.dtype))
    functions.predict_batch(state, scratch, x, outs)
    # each form of rows and targets is compiled anew, for seconds: only a full run tries others than C has
    rows, target = guard((x / 255 if x.dtype == np.uint8 else x).astype(net.dtype)), guard(y.astype(net.dtype).reshape(len(x), -1))
    for given, wanted in ((rows, target), (x, y)) if FULL else ((rows, target),):
        functions.loss(state, scratch, given, wanted)
        functions.gradient(state, scratch, given, wanted, gradient)
        if given.dtype != np.uint8:
            functions.input_gradient(state, scratch, given, wanted, of_inputs)
        functions.train_step(state, scratch, given, wanted, 1e-3)
    if net.dtype == np.float32 and not FULL:  # the functions for C take long to compile
        return

    c, handle = embedding.c_functions(state), embedding.c_handle(state)
    handle = embedding.CHandle(state, handle.scratch, guard(handle.record))
    number = np.ctypeslib.as_ctypes_type(net.dtype)
    given, wanted, outs_c, gradient_c, of_inputs_c = (
        array.ctypes.data_as(ctypes.POINTER(number)) for array in (rows, target, outs, gradient, of_inputs)
    )
    c.predict.ctypes(handle.ctypes, given, outs_c)
    c.predict_batch.ctypes(handle.ctypes, given, len(x), outs_c)
    c.loss.ctypes(handle.ctypes, given, wanted, len(x))
    c.gradient.ctypes(handle.ctypes, given, wanted, len(x), gradient_c)
    c.input_gradient.ctypes(handle.ctypes, given, wanted, len(x), of_inputs_c)
    c.train_step.ctypes(handle.ctypes, given, wanted, len(x), 1e-3)


def try_named_kernels(number: int) -> int:
    """Call every kernel that has a name for others and takes arrays; their shapes follow from their arguments' names."""
    import fastmlp.kernels as kernels
    from fastmlp.kernels.updates import Rates

    global side
    draw, tried = random.Random(number), 0
    for name in sorted(kernels.HOMES):
        arguments = list(inspect.signature(getattr(kernels.pure, name)).parameters)
        if kernels.HOMES[name] == "embedded" or arguments in (["key", "counter"], ["seed", "stream", "substream"]):
            continue
        side = draw.choice(VALUES.side)
        M, K, N = (draw.randint(1, 70) for _ in "MKN")
        dtype = draw.choice(VALUES.dtype)
        shapes: dict[str, Any] = dict.fromkeys(["z", "a", "delta", "hat", "target", "out"], (M, N)) | {"weight": (K, N), "dweight": (K, N)}
        shapes |= {"x": (M, K), "scale": K, "shift": K, "sample_weight": M, "rates": len(Rates._fields)}
        shapes |= dict.fromkeys(["parameters", "gradient", "m", "v", "bias", "dbias", "gamma", "beta", "dgamma", "dbeta"], N)
        shapes |= dict.fromkeys(["mean", "variance", "running_mean", "running_variance", "inverse", "values"], N)
        shapes |= {
            "softmax_cross_entropy": {"target": (M, 1)}, "count_correct": {"target": (M, 1)}, "gather": {"out": (M, K)},
            "dense_backward_input": {"out": (M, K)}, "inverse_deviations": {"out": N}, "fill_normal": {"out": N},
            "fill_uniform": {"out": N}, "layer_norm": {"inverse": M}, "layer_norm_backward": {"inverse": M},
        }.get(name, {})  # fmt: skip
        if arguments == ["delta", "z", "a"] or arguments == ["z", "out"] and name != "softmax":  # number by number
            shapes |= dict.fromkeys(arguments, N)
        rate = np.dtype(dtype).type(0.5)
        values = {"order": guard(np.arange(M)[::-1]), "key": np.uint64(number), "output": 0, "M": M}
        values |= dict.fromkeys(["learning_rate", "factor", "smoothing", "parameter", "deviation", "bound"], rate)
        for argument, shape in shapes.items():
            values.setdefault(argument, guarded(shape, dtype))
        print(json.dumps([number, name, side, dtype, M, K, N]), flush=True)
        getattr(kernels, name)(*(values[argument] for argument in arguments))
        tried += 1
    return tried


def main(numbers: set[int], sizes: Iterable[int] = ()) -> None:
    """Try cases by their numbers, and the named kernels once for every hundred of them, or the chosen sizes; print what ran."""
    faulthandler.enable()
    warnings.simplefilter("ignore")
    import fastmlp  # noqa: F401
    from fastmlp import machine
    from fastmlp.engines import choice

    machine.usable_cores = lambda: max(VALUES.threads)
    choice.fewest_shares = lambda sizes, lanes, most: most  # a team of as many as were asked for, whether or not it pays
    ran = guard_everything()
    try_sizes(sizes)
    for number, case in zip(range(max(numbers, default=-1) + 1), cases()):  # noqa: B905  cases never end
        if number in numbers:
            try_case(number, case)
    ran["named kernels"] = sum(try_named_kernels(number) for number in sorted(numbers) if number % 100 == 0)
    print(json.dumps(ran))


if __name__ == "__main__":
    main(set(), map(int, sys.argv[2:])) if sys.argv[1] == "sizes" else main(set(map(int, sys.argv[1:])))
