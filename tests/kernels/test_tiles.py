"""The register tiles, called from compiled code and as their pure-Python twins: exact on integers, and nothing written beside the tile.

Everything around an operand is NaN: a number read there shows in the result, a number written there in what is compared.
"""

import functools
import inspect
import re
from types import SimpleNamespace
from typing import NamedTuple

import numba
import numpy as np
import pytest
from llvmlite import binding, ir
from numba import types

from fastmlp.compilation import options
from fastmlp.kernels import tiles, vectors, zeros
from fastmlp.kernels.panels import BLOCK
from fastmlp.kernels.tiles import Shape
from fastmlp.kernels.vectors import vector_bytes
from tests.kernels.comparison import integers
from tests.pairs import each_pair

DTYPES = ["float32", "float64"]
COUNTS = [0, 1, 2, BLOCK - 1, BLOCK, BLOCK + 1]  # inputs of one call
INSTRUCTIONS = tiles.instruction_set()
SHAPES = [each.shape for each in INSTRUCTIONS.panels]
DOTS = sorted({*INSTRUCTIONS.dots, INSTRUCTIONS.outputs, INSTRUCTIONS.single_output})  # rows and columns
FORMS = ["compiled", "twin"] if options.JIT else ["twin"]
MASKS = {
    "no row": 0,
    "first row": 1,
    "last row": 1 << 63,
    "every third row": sum(1 << m for m in range(0, 64, 3)),
    "all rows": 2**64 - 1,
}


class Matrix(NamedTuple):
    """A matrix within a longer array, full of NaN elsewhere: row r begins at first + r * row, its columns are `step` apart."""

    array: np.ndarray
    first: int
    row: int
    step: int

    def view(self, rows, columns):
        places = self.first + self.row * np.arange(rows)[:, None] + self.step * np.arange(columns)
        return self.array[places]


def width(shape, dtype):
    """Return the numbers in a row of a panel."""
    return shape.NV * vector_bytes() // np.dtype(dtype).itemsize


def matrix(values, dtype, first=64, row=None, step=1):
    """Return values (rows, columns) as a Matrix that begins at a multiple of every vector's size."""
    rows, columns = values.shape
    row = columns * step if row is None else row
    whole = np.full(first + rows * row + columns * step + 128, np.nan, dtype)
    array = whole[-whole.ctypes.data % 64 // whole.itemsize :][: len(whole) - 64]
    array[first + row * np.arange(rows)[:, None] + step * np.arange(columns)] = values
    return Matrix(array, first, row, step)


@functools.cache
def compiled(make, *form):
    """Return a tile as a function that compiled code calls: one for all tests, as each is compiled anew."""
    tile = make(*form)

    @numba.njit
    def call(*arguments):
        tile(*arguments)

    return call


@pytest.fixture
def tile(request, monkeypatch):
    """Return a function that gives a tile in the form that the test is about: compiled, or its twin."""
    if request.param == "twin":
        monkeypatch.setattr(tiles, "emitted", lambda twin, emit: twin)
        return lambda make, *form: make(*form)
    return compiled


def assert_holds(found, expected):
    """Compare a matrix with what it has to hold, and everything around it with NaN."""
    wanted = matrix(expected, found.array.dtype, found.first, found.row, found.step)
    np.testing.assert_array_equal(found.array, wanted.array)


each_form = pytest.mark.parametrize("tile", FORMS, indirect=True)
each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.MR}x{shape.NV}")
each_form_shape_and_dtype = each_pair(shape=SHAPES, tile=FORMS, dtype=DTYPES, indirect=["tile"])
each_form_dot_and_dtype = each_pair(dot=DOTS, tile=FORMS, dtype=DTYPES, indirect=["tile"])


# --- product -------------------------------------------------------------------------------------------------------------


class Panels(NamedTuple):
    """A matrix cut into panels of NR columns: row r of panel p begins at first + p * panel + r * row."""

    array: np.ndarray
    first: int
    row: int
    panel: int


def in_panels(values, dtype, NR, gap=64):
    """Return values (rows, columns) as Panels that begin at a multiple of every vector's size, NaN between rows and around."""
    rows, columns = values.shape
    row = NR + gap
    panel = rows * row + 64
    flat = matrix(np.full((1, columns // NR * panel), np.nan), dtype)
    for p in range(columns // NR):
        for r in range(rows):
            place = flat.first + p * panel + r * row
            flat.array[place : place + NR] = values[r, p * NR : (p + 1) * NR]
    return Panels(flat.array, flat.first, row, panel)


def run_product(call, shape, dtype, count, first, index=None, x_step=1, side=1):
    """Run a product tile on integers; return the array that it writes to, and what that has to be by NumPy."""
    NR, listed = width(shape, dtype), index is not None
    inputs = max([count, *(index + 1)]) if listed else count
    x_values, w_values, bias_values, out_values = (
        integers(shape.MR, inputs), integers(inputs, side * NR), integers(1, side * NR, seed=1), integers(shape.MR, side * NR, seed=2)
    )  # fmt: skip
    x = matrix(x_values, dtype, first=67, row=inputs * x_step + 3, step=x_step)  # read number by number: at any place
    w, out = in_panels(w_values, dtype, NR, gap=0), in_panels(np.vstack([bias_values, out_values]), dtype, NR)
    places = np.full(5 + count + 1, 65535, np.uint16)  # beyond all inputs
    if listed:
        places[5 : 5 + count] = index
    start, start_row = (out.first, 0) if first else (out.first + out.row, out.row)
    call(
        w.array, (w.first, w.panel), x.array, (x.first, x.row, x.step), places, (5, count), out.array, (start, start_row, out.panel),
        (out.first + out.row, out.row, out.panel),
    )  # fmt: skip
    visited = index if listed else np.arange(count)
    sums = (bias_values if first else out_values) + x_values[:, visited] @ w_values[visited]
    return out.array, in_panels(np.vstack([bias_values, sums]), dtype, NR).array


@each_form_shape_and_dtype
def test_product_is_exact_on_integers_for_any_number_of_inputs(tile, shape, dtype):
    call = tile(tiles.product, shape, False)
    for count in COUNTS:
        for first in (True, False):
            np.testing.assert_array_equal(*run_product(call, shape, dtype, count, first))


@each_form_shape_and_dtype
def test_product_visits_the_inputs_on_its_list_and_no_others(tile, shape, dtype):
    call = tile(tiles.product, shape, True)
    for count in COUNTS:
        index = np.sort(np.random.default_rng(count).choice(3 * BLOCK, count, replace=False))
        for first in (True, False):
            np.testing.assert_array_equal(*run_product(call, shape, dtype, count, first, index))


@each_form
@each_dtype
@pytest.mark.parametrize("listed", [True, False])
def test_product_of_two_panels_side_by_side_is_exact_on_integers(tile, listed, dtype):
    shape = Shape(1, SHAPES[0].NV)
    call = tile(tiles.product, shape, listed, 2)
    for count in COUNTS:
        index = np.sort(np.random.default_rng(count).choice(3 * BLOCK, count, replace=False)) if listed else None
        for first in (True, False):
            np.testing.assert_array_equal(*run_product(call, shape, dtype, count, first, index, side=2))


@each_form
@each_shape
def test_product_reads_x_along_any_step(tile, shape):
    np.testing.assert_array_equal(*run_product(tile(tiles.product, shape, False), shape, "float32", 7, True, x_step=5))


@each_form
def test_product_adds_in_the_order_of_the_inputs(tile):
    shape = SHAPES[0]
    NR = width(shape, "float32")
    x = matrix(np.ones((shape.MR, 4)), "float32")
    # one by one, the first 1 is lost and the second one stays; added from the other end or in pairs, none or both stay
    w = matrix(np.repeat([[2.0**25], [1], [-(2.0**25)], [1]], NR, axis=1), "float32")
    out = matrix(np.zeros((shape.MR, NR)), "float32")
    tile(tiles.product, shape, False)(
        w.array, (w.first, 0), x.array, (x.first, x.row, 1), np.zeros(1, np.uint16), (0, 4), out.array, (out.first, out.row, 0),
        (out.first, out.row, 0),
    )  # fmt: skip
    assert_holds(out, np.ones((shape.MR, NR)))


# --- dot -----------------------------------------------------------------------------------------------------------------


def run_dot(call, MR, NI, n_panels, vectors, dtype):
    """Run a dot tile on integers; return the sums it writes and those of NumPy."""
    NR = vectors * vector_bytes() // np.dtype(dtype).itemsize
    a_values, b_values = integers(MR, n_panels * NR), integers(NI, n_panels * NR, seed=1)
    # rows of a lie whole; b lies panel by panel, as weights do
    a = matrix(a_values, dtype, row=n_panels * NR + 64)
    b = matrix(b_values.reshape(NI, n_panels, NR).swapaxes(0, 1).reshape(n_panels, NI * NR), dtype, row=NI * NR + 64)
    out = matrix(np.full((MR, NI), -1), dtype, first=67, row=2 * NI + 1)
    call(a.array, (a.first, a.row, NR), b.array, (b.first, NR, b.row), n_panels, vectors, out.array, (out.first, out.row))
    return out, a_values @ b_values.T


@each_form_dot_and_dtype
def test_dot_adds_the_halves_of_its_lanes_up_in_pairs(tile, dot, dtype):
    MR, NI = dot
    lanes = vector_bytes() // np.dtype(dtype).itemsize
    generator = np.random.default_rng(0)
    a_values, b_values = (generator.standard_normal((count, lanes)).astype(dtype) for count in (MR, NI))
    a, b = matrix(a_values, dtype), matrix(b_values, dtype)
    out = matrix(np.zeros((MR, NI)), dtype)
    tile(tiles.dot, MR, NI)(a.array, (a.first, a.row, 0), b.array, (b.first, b.row, 0), 1, 1, out.array, (out.first, out.row))
    sums = a_values[:, None, :] * b_values[None, :, :]  # one product per lane: what is left is the order of the additions
    while sums.shape[2] > 1:
        sums = sums[:, :, : sums.shape[2] // 2] + sums[:, :, sums.shape[2] // 2 :]
    assert_holds(out, sums[:, :, 0])


@each_form_dot_and_dtype
def test_dot_is_exact_on_integers_for_any_number_of_panels(tile, dot, dtype):
    MR, NI = dot
    call = tile(tiles.dot, MR, NI)
    for n_panels, n_vectors in [(0, 1), (1, 0), (1, 1), (1, 5), (3, 2)]:
        assert_holds(*run_dot(call, MR, NI, n_panels, n_vectors, dtype))


# --- update --------------------------------------------------------------------------------------------------------------


def run_update(call, shape, dtype, rows, visited, x_step=1, side=1):
    """Run an update tile on integers; `rows` is its last argument, `visited` the rows that it means. Return what is and what has to be."""
    MK, NR = zeros.GROUP, width(shape, dtype)
    count = max([1, *(m + 1 for m in visited)])
    w_values, x_values, d_values = integers(MK, side * NR), integers(count, MK, seed=1), integers(count, side * NR, seed=2)
    w, d = in_panels(w_values, dtype, NR, gap=0), in_panels(d_values, dtype, NR)
    x = matrix(x_values, dtype, first=67, row=x_step * MK + 3, step=x_step)
    call(w.array, (w.first, w.panel), x.array, (x.first, x.row, x.step), d.array, (d.first, d.row, d.panel), rows)
    return w.array, in_panels(w_values + x_values[visited].T @ d_values[visited], dtype, NR, gap=0).array


@each_form_shape_and_dtype
def test_update_is_exact_on_integers_for_any_number_of_rows(tile, shape, dtype):
    call = tile(tiles.update, zeros.GROUP, shape.NV, False)
    for count in (0, 1, 5, 64, 65, 130):
        np.testing.assert_array_equal(*run_update(call, shape, dtype, count, list(range(count))))


@each_form_shape_and_dtype
def test_update_visits_the_rows_in_its_mask_and_no_others(tile, shape, dtype):
    call = tile(tiles.update, zeros.GROUP, shape.NV, True)
    for name, mask in MASKS.items():
        found, expected = run_update(call, shape, dtype, np.uint64(mask), [m for m in range(64) if mask >> m & 1])
        np.testing.assert_array_equal(found, expected, err_msg=name)


@each_form
@each_dtype
def test_update_of_two_panels_side_by_side_is_exact_on_integers(tile, dtype):
    call = tile(tiles.update, zeros.GROUP, SHAPES[0].NV, True, 2)
    for name, mask in MASKS.items():
        rows = [m for m in range(64) if mask >> m & 1]
        np.testing.assert_array_equal(*run_update(call, SHAPES[0], dtype, np.uint64(mask), rows, side=2), err_msg=name)


@each_form
@each_shape
def test_update_reads_x_along_any_step(tile, shape):
    call = tile(tiles.update, zeros.GROUP, shape.NV, False)
    np.testing.assert_array_equal(*run_update(call, shape, "float32", 9, list(range(9)), x_step=3))


# --- one row, and a transpose --------------------------------------------------------------------------------------------


@each_form
@each_dtype
@pytest.mark.parametrize("times", [False, True], ids=["sum", "sum times slope"])
def test_row_product_is_exact_on_integers_for_any_number_of_inputs(tile, times, dtype):
    call, lanes = tile(tiles.row_product, times), vector_bytes() // np.dtype(dtype).itemsize
    for count in (0, 1, 2, 7, 64):
        w_values, x_values, start, slope = (integers(rows, lanes, seed=rows) for rows in (count + 3, 70, 1, 2))
        w = matrix(np.vstack([w_values, start, slope[:1], np.zeros((1, lanes))]), dtype)
        x = matrix(x_values[:count, :1].T, dtype, first=67)
        places = [w.first + (count + 3 + row) * lanes for row in range(3)]
        call(w.array, w.first, x.array, x.first, count, *places)
        sums = start + x_values[:count, :1].T @ w_values[:count]
        assert_holds(w, np.vstack([w_values, start, slope[:1], sums * slope[:1] if times else sums]))


@each_form
@each_dtype
@pytest.mark.parametrize("scaled", ["x", "d"])
def test_row_update_is_exact_on_integers_for_any_number_of_inputs(tile, scaled, dtype):
    call, lanes = tile(tiles.row_update, scaled), vector_bytes() // np.dtype(dtype).itemsize
    for count in (0, 1, 2, 7, 64):
        w_values, x_values, d_values = integers(count, lanes), integers(1, count, seed=1), integers(1, lanes, seed=2)
        w, x, d = matrix(w_values, dtype), matrix(x_values, dtype, first=67), matrix(d_values, dtype)
        call(w.array, w.first, x.array, x.first, count, d.array, d.first, np.dtype(dtype).type(-0.5))
        assert_holds(w, w_values - 0.5 * x_values.T @ d_values)


@each_form
@each_dtype
def test_row_update_of_a_matrix_and_of_its_transpose_round_alike(tile, dtype):
    lanes, factor = vector_bytes() // np.dtype(dtype).itemsize, np.dtype(dtype).type(-0.1)
    rows = np.random.default_rng(0).standard_normal((2, lanes)).astype(dtype)
    x, d = (matrix(row[None], dtype) for row in rows)
    plain, across = (matrix(np.zeros((lanes, lanes)), dtype) for _ in range(2))
    tile(tiles.row_update, "x")(plain.array, plain.first, x.array, x.first, lanes, d.array, d.first, factor)
    tile(tiles.row_update, "d")(across.array, across.first, d.array, d.first, lanes, x.array, x.first, factor)
    np.testing.assert_array_equal(plain.view(lanes, lanes), across.view(lanes, lanes).T)


@each_form
@each_dtype
def test_transpose_exchanges_rows_and_columns_of_a_square(tile, dtype):
    lanes = vector_bytes() // np.dtype(dtype).itemsize
    values = np.arange(lanes * lanes).reshape(lanes, lanes)
    w, out = matrix(values, dtype, row=3 * lanes), matrix(np.zeros((lanes, lanes)), dtype, row=2 * lanes)
    tile(tiles.transpose)(w.array, w.first, w.row, out.array, out.first, out.row)
    assert_holds(out, values.T)


# --- what the compiler makes of them -------------------------------------------------------------------------------------


class Target(NamedTuple):
    """A processor to compile for, whether this one is like it or not."""

    triple: str
    cpu: str
    features: str
    bytes: int
    register: str  # how a vector register is written, as a pattern
    multiply_add: str  # the instruction, as a pattern
    spill: str  # of a vector to the stack, or from it


X86_SPILL = r"\(%rsp.*%{0}|%{0}\d+, -?\d*\(%rsp"
NO_AVX512 = "+avx,+avx2,+fma,+bmi,+bmi2,+sse4.2"
TARGETS = {
    "AVX-512": Target("x86_64-unknown-linux-gnu", "skylake-avx512", "", 64, "%zmm", r"\bvfn?m(?:add|sub)\w*ps\b", X86_SPILL.format("zmm")),
    "AVX2": Target("x86_64-unknown-linux-gnu", "haswell", NO_AVX512, 32, "%ymm", r"\bvfn?m(?:add|sub)\w*ps\b", X86_SPILL.format("ymm")),
    "SSE": Target("x86_64-unknown-linux-gnu", "x86-64", "", 16, "%xmm", r"\bmulps\b", X86_SPILL.format("xmm")),
    "NEON": Target("aarch64-unknown-linux-gnu", "generic", "+neon", 16, r"v\d", r"\bfmla\b", r"\bq\d+, (?:q\d+, )?\[sp"),
}


def tiles_of(instructions):
    """Return {name: (tile, its rows, its vectors, how many arguments of f() are data)} of all tiles that an instruction set uses."""
    found = {}
    for panel in instructions.panels:
        found[f"product {panel.MR} x {panel.NV}"] = tiles.product, (panel.shape, False), panel.MR * panel.NV
        side = panel.listed
        found[f"list 1 x {panel.NV} x {side}"] = tiles.product, (Shape(1, panel.NV), True, side), panel.NV * side
        found[f"update {panel.MK} x {panel.NV}"] = tiles.update, (panel.MK, panel.NV, False), panel.MK * panel.NV
        side = panel.masked
        found[f"masked 2 x {panel.NV} x {side}"] = tiles.update, (zeros.GROUP, panel.NV, True, side), zeros.GROUP * panel.NV * side
    for MR, NI in {*instructions.dots, instructions.outputs, instructions.single_output}:
        found[f"dot {MR} x {NI}"] = tiles.dot, (MR, NI), MR * NI
    return found


def assembly_of(make, arguments, target, monkeypatch):
    """Return the lines of assembly of a tile by itself, compiled for a target."""
    emit = []
    with monkeypatch.context() as patch:
        patch.setattr(tiles, "emitted", lambda twin, emitting: emit.append(emitting))
        patch.setattr(vectors, "vector_bytes", lambda: target.bytes)
        make(*arguments)
        names = list(inspect.signature(emit[0]).parameters)[1:]
        module = ir.Module()
        module.triple = target.triple
        data = {name: ir.IntType(16) if name == "index" else ir.FloatType() for name in ("w", "x", "d", "a", "b", "out", "index")}
        counts = [3 if name.endswith("_at") else 1 for name in names]  # of tuples of places, but for these:
        for name, count in {"w_at": 2, "index_at": 2, **({"out_at": 2} if make is tiles.dot else {})}.items():
            counts = [count if found == name else before for found, before in zip(names, counts, strict=True)]
        kinds = [[data[name].as_pointer() if name in data else ir.IntType(64)] * count for name, count in zip(names, counts, strict=True)]
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), [kind for each in kinds for kind in each]), "tile")
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        context = SimpleNamespace(get_value_type=lambda number: ir.FloatType())
        values = iter(function.args)
        given = [[next(values) for _ in each] if name.endswith("_at") else next(values) for name, each in zip(names, kinds, strict=True)]
        emit[0](vectors.Emitter(context, builder, types.float32), *given)
        builder.ret_void()
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    machine = binding.Target.from_triple(target.triple).create_target_machine(cpu=target.cpu, features=target.features, opt=3)
    parsed = binding.parse_assembly(str(module))
    parsed.data_layout = str(machine.target_data)
    binding.create_pass_builder(machine, binding.create_pipeline_tuning_options(3)).getModulePassManager().run(
        parsed, binding.create_pass_builder(machine, binding.create_pipeline_tuning_options(3))
    )
    return machine.emit_assembly(parsed).splitlines()


def arithmetic(lines, target):
    """Return the lines from the first to the last multiply-add of whole registers."""
    places = [number for number, line in enumerate(lines) if re.search(target.multiply_add, line) and re.search(target.register, line)]
    return lines[places[0] : places[-1] + 1] if places else []


@pytest.mark.parametrize("name", tiles.INSTRUCTION_SETS)
def test_sums_of_a_tile_stay_in_registers(name, monkeypatch, subtests):
    target = TARGETS[name]
    for tile_name, (make, arguments, sums) in tiles_of(tiles.INSTRUCTION_SETS[name]).items():
        with subtests.test(tile=tile_name):
            lines = arithmetic(assembly_of(make, arguments, target, monkeypatch), target)
            assert len([line for line in lines if re.search(target.multiply_add, line)]) >= sums
            assert [line for line in lines if re.search(target.spill, line)] == []


@pytest.mark.parametrize("name", TARGETS)
def test_the_search_finds_sums_that_do_not_fit_into_registers(name, monkeypatch):
    target = TARGETS[name]
    lines = arithmetic(assembly_of(tiles.product, (Shape(8, 5), False), target, monkeypatch), target)
    assert [line for line in lines if re.search(target.spill, line)]
