"""Records: where the numbers of a network lie in the arena, and which blocks work on them; one for each layer, one for the run.

They are what compiled code knows of a network, so that no size, no depth and no combination of settings compiles anything anew: a block is
called by the address in a record, and where there is none, 0, there is nothing to do. step.py says when which of them is called.
"""

import functools
import math
import sys
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numba import types

from fastmlp import machine
from fastmlp.compilation import calls, decorators, forms, record_types
from fastmlp.engines.addresses import numbered_loss_block
from fastmlp.engines.layout import STEPPED_ROWS, LayerLayout, Layout
from fastmlp.engines.program import output_code
from fastmlp.engines.wanted import Wanted
from fastmlp.kernels import panels, random, tiles, zeros
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.normalised import NORMS
from fastmlp.kernels.step import Batch, Memory, Step
from fastmlp.kernels.updates import GRADIENT, RULES, STORE, UPDATES, descend
from fastmlp.kernels.vectors import CACHE_LINE, lanes_of

MOST_READ_TOGETHER = 160  # rows of weights for the delta of the layer before: more would gain nothing
NARROW_OUTPUT = 2  # up to so many outputs, a dot tile takes them one at a time
ROWS_ASKING_AHEAD = 128  # of a batch: multiply-adds with fewer are over before the weights asked for have come from memory
TRANSPOSED_ROWS = 64  # from so many rows of a batch on, a transposed copy of several panels of w pays for the delta of the layer before


# A layer. Sizes: inputs, units; panels of its units (of the output layer: of its inputs), numbers and vectors in a row of one. Offsets
# into the arena: packed weights and the length of a panel of them, biases, scales of normalised sums (0: none); `sums`, where x @ w goes,
# and `start`, what these sums begin with; z, a = f(z), `out`, what the next layer reads: a, after dropout; delta. From row to row of
# these it is `row` numbers, from a row's part in one panel to that in the next `column`. Rows of w that
# are `read_together` for the delta of the layer below, or `updated_together`, as what they need then stays in the second-level cache.
# How many of the weights needed next a tile of a dense product asks for `ahead`, before it begins; 0: it asks for none.
# Normalised sums lie at `hat`; `moments` and `running`: see normalised.py. Update: w[k, :] += sum over m of x[m, k] d[m, :] for
# k < rows. Lengths of the gradient, one for each panel. Dropout: key and threshold of regularisation.Draw, factor. The first record is
# that of the inputs: `n_out` units, each a panel by itself, and `out`; they are dropped where they lie, at `delta`.
_PLACES = """n_in n_out panels width vectors w w_panel read_together updated_together ahead bias gamma sums start z a out delta row column
             hat moments running rows x x_row d d_row d_column lengths key threshold"""
# Addresses of blocks. The way forward: shift, forward, normalise, activate, drop; normalising rows takes the units of all shares (by_rows).
# The way back: to_below, the delta of the layer below; what turns that into the delta of sums; the update of weights and biases, and what
# comes before and after it: the gradient of a shift, max-norm; where gradients are limited as a whole, their lengths and the step; the
# average over the steps.
_BLOCKS = """shift forward normalise activate drop by_rows track
             to_below activate_backward drop_backward scale_backward normalise_backward
             sum_deltas update update_bias limit measure take_step average"""
LAYER = record_types.record(_PLACES + " " + _BLOCKS, real="factor")

# A run, as one of its threads knows it. Offsets into the arena: scratch for unfinished sums and for gradients, and how much of it a share
# has; a 1, the input of all biases; zeros in the place of a bias; lengths of the gradient, one for each panel. Distances from a weight to
# the state that its rule keeps of it, to its gradient, to its average, to what an update takes for the state. Offsets into the arrays of
# zeros.py, for the batch of this thread; `extra`: the row behind all batches that holds the shift of the inputs, 0 for none. Blocks: see
# step.py.
RUN = record_types.record(
    """shares scratch scratch_share one no_bias gradient gradient_row to_state to_gradient to_average to_m lengths n_lengths loss_rows
       lists list_length folded row_masks group_masks counts extra noise_key
       limited fused output loss add_noise list_zeros mask_zeros take_loss step_run""",
    real="noise longest",
)


class Records:
    """The records of a network: `layers` (threads, 1 + L), inputs first, and `runs` (threads,)."""

    def __init__(self, layout: Layout, wanted: Wanted, listed: bool) -> None:
        """Fill them for a layout; `listed`: skip inputs that are zero.

        Where inputs are then x + shift, x tells which, and the shift is kept in the extra row, unless noise or dropout changes the sum.
        Where gradients are limited as a whole, they are stored, in the state after those of the rule, to be clipped before the rule gets
        them. The state after that one is the average of the parameters.
        """
        self._layout, self._wanted, self._listed = layout, wanted, listed
        self._activations, self._regularisation, self._rule = wanted.activations, wanted.regularisation, RULES[wanted.update]
        self._block = functools.partial(panel_block, dtype=layout.dtype)
        self.shifted = listed and wanted.shifted and not wanted.regularisation.changes_inputs
        self._update = STORE if wanted.limited else self._rule  # what happens to a gradient as soon as it is there
        threads = range(len(layout.batches))
        self.layers = record_types.filled(LAYER, [self._layers(thread) for thread in threads])
        self.runs = record_types.filled(RUN, [self._run(thread) for thread in threads])
        self.memory = Memory(layout.arena, layout.sparse.lists, layout.sparse.masks, layout.sparse.counts)

    # --- the run -----------------------------------------------------------------------------------------------------------

    def _run(self, thread: int) -> dict[str, Any]:
        layout, rule = self._layout, self._regularisation
        states = self._rule.states
        to_gradient = (states + 1) * layout.state
        noise = rule.of_noise() if rule.input_noise > 0 else None
        loss, of_loss = self._wanted.loss, {}
        if loss is not None:
            block = numbered_loss_block(loss, layout.dtype, scaled=self._wanted.scaled)
            of_loss = {"take_loss": loss_rows_block(layout.dtype), "loss": block, "output": output_code(loss, self._wanted.one_hot)}
        return {
            "shares": layout.shares, "scratch": layout.sums, "scratch_share": layout.sums_share, "one": layout.one,
            "no_bias": layout.no_bias, "gradient": layout.gradient, "gradient_row": layout.gradient_row, "to_state": layout.state,
            "to_gradient": to_gradient, "to_average": (states + 1 + self._wanted.limited) * layout.state,
            "to_m": to_gradient if self._wanted.limited else layout.state, "lengths": layout.lengths,
            "n_lengths": layout.n_lengths, "loss_rows": layout.loss_rows, "longest": rule.max_norm or 0.0,
            "extra": layout.extra_row if self.shifted else 0, **layout.sparse.places(thread),
            "noise_key": noise.key if noise else 0, "noise": rule.input_noise,
            "add_noise": self._block("add_noise_to_rows") if noise else 0,
            "list_zeros": self._block("list_live", MR=layout.listed.MR) if self._listed else 0,
            "mask_zeros": self._block("mask_groups") if self._listed and layout.output is not None else 0,
            "limited": int(self._wanted.limited), "fused": int(self._update.formula is None),
            "step_run": step_run_block(self._update.name, layout.dtype) if self._update.formula is not None else 0,
            **of_loss,
        }  # fmt: skip

    # --- layers ------------------------------------------------------------------------------------------------------------

    def _layers(self, thread: int) -> list[dict[str, Any]]:
        layout = self._layout
        below = self._inputs(thread)
        found = [below]
        for index in range(len(layout.hidden)):
            below = self._hidden(index, below)
            found.append(below)
        if layout.output is not None:
            found.append(self._output(layout.output, below))
            self._add_last(list(zip(found[1:], (*layout.hidden, layout.output), strict=True)))
        return found

    def _inputs(self, thread: int) -> dict[str, Any]:
        layout, rule = self._layout, self._regularisation
        K, batch = layout.hidden[0].n_in, layout.batches[thread]
        places = {"n_out": K, "panels": K, "width": 1, "out": batch, "delta": batch, "row": layout.batch_row, "column": 1}
        if rule.input_dropout > 0:
            places |= {"drop": self._block("drop_rows"), **rule.of_inputs()._asdict()}
        return places

    def _hidden(self, index: int, below: dict[str, Any]) -> dict[str, Any]:
        """Return the record of a hidden layer, or, where nothing is trained, of the last one, which lies like a hidden one."""
        layout, layer = self._layout, self._layout.hidden[index]
        lists = self._listed and index == 0
        start = layout.no_bias if layer.gamma else layer.bias  # sums that are normalised have no bias: it is added after that
        found = {
            **self._places(layer), "sums": layer.hat if layer.gamma else layer.z,
            "start": layout.shifted_bias if self.shifted and index == 0 else start,
            "rows": layer.n_in, "x": below["out"], "x_row": below["row"], "d": layer.delta, "d_row": layer.row, "d_column": layer.column,
            "forward": self._forward_listed(layer) if lists else self._product("forward_dense", layer),
        }  # fmt: skip
        if self.shifted and index == 0:
            found["shift"] = self._block("bias_of_shift", ("product", tiles.Shape(1, layer.tiles.NV), False), 1, layer.width)
        if layer.gamma:
            found |= {"normalise": self._normalising("normalise"), "by_rows": int(layout.norm == "layer")}
        if index < len(self._activations):
            found["activate"] = self._block("activate_rows", formula=(self._activations[index], "formula"), keeps=layer.z != layer.a)
        if self._regularisation.drops_units(index):
            found |= {"drop": self._block("drop_rows", keeps=True), **self._regularisation.of_units(index)._asdict()}
        return {**found, **self._hidden_backward(index, lists)} if layout.output is not None else found

    def _hidden_backward(self, index: int, lists: bool) -> dict[str, Any]:
        layout, layer = self._layout, self._layout.hidden[index]
        fused = self._update.formula is None
        found: dict[str, Any] = {
            "activate_backward": self._block("activate_rows_backward", formula=(self._activations[index], "derivative")),
            "to_below": self._to_below(layer, layout.hidden[index - 1]) if index > 0 else 0,
            "read_together": self._rows_in_cache(layer.panels * layer.width, MOST_READ_TOGETHER),
            "sum_deltas": self._block("sum_deltas") if self.shifted and index == 0 else 0,
        }  # fmt: skip
        if lists:
            side = layout.listed.masked if fused else 1
            tile = ("update", zeros.GROUP, layer.tiles.NV, True)
            found["update"] = self._stepped("update_masked" if fused else "update_masked_stepped", layer, tile, STEPPED_ROWS, side)
        else:
            found["update"] = self._update_dense(layer)
        if self._regularisation.drops_units(index):
            found["drop_backward"] = self._block("drop_rows")
        if layer.gamma:
            found |= {part: self._normalising(part) for part in ("scale_backward", "normalise_backward")}
            found["update_bias"] = self._stepped("update_units")
            if layout.norm == "batch" and self._update is not GRADIENT:
                found["track"] = self._normalising("track")
        else:
            found["update_bias"] = self._stepped("update_bias", layer, ("update", 1, layer.tiles.NV, False), 1)
        if self._regularisation.max_norm is not None:
            found["limit"] = self._block("limit_weights")
        return found

    def _output(self, layer: LayerLayout, below: dict[str, Any]) -> dict[str, Any]:
        last = self._layout.hidden[-1]
        instructions = tiles.instruction_set()
        MR, NI = instructions.outputs if layer.n_out > NARROW_OUTPUT else instructions.single_output
        return {
            **self._places(layer), "sums": layer.a, "column": self._layout.rows_padded * layer.row,
            "rows": layer.n_out, "x": layer.delta, "x_row": layer.row, "d": below["out"], "d_row": last.row, "d_column": last.column,
            "forward": self._block("outputs_from_panels", ("dot", MR, NI), MR, last.width, NI=NI),
            "to_below": self._product("delta_from_outputs", last),
            "update": self._update_dense(last),
            "update_bias": self._stepped("update_bias_of_outputs", layer),
        }  # fmt: skip

    def _add_last(self, layers: Sequence[tuple[dict[str, Any], LayerLayout]]) -> None:
        """Add what is done to a layer after the gradients of all are known."""
        lengths = self._layout.lengths
        for places, layer in layers:
            if self._wanted.limited:
                places |= {"measure": self._block("gradient_lengths"), "take_step": self._block("step_limited", rule=self._rule.name)}
                places["lengths"] = lengths
                lengths += self._layout.parts_of(layer)
            if self._wanted.averages:
                places["average"] = self._block("average_panels")

    # --- blocks ------------------------------------------------------------------------------------------------------------

    def _product(self, name: str, layer: LayerLayout) -> int:
        return self._block(name, ("product", layer.tiles.shape, False), layer.tiles.MR, layer.width)

    def _forward_listed(self, layer: LayerLayout) -> int:
        MR, side, _ = self._layout.listed
        return self._block("forward_listed", ("product", tiles.Shape(MR, layer.tiles.NV), True), MR, layer.width, SIDE=side)

    def _to_below(self, layer: LayerLayout, below: LayerLayout) -> int:
        if layer.panels == 1 or self._layout.rows >= TRANSPOSED_ROWS:
            return self._product("delta_from_transposed", below)
        # a panel of inputs is whole tiles: one that ran over its edge would write into the next share's, or the next row's
        MR, NI = next(shape for shape in tiles.instruction_set().dots if below.width % shape[1] == 0)
        return self._block("delta_from_layer", ("dot", MR, NI), MR, NI=NI)

    def _places(self, layer: LayerLayout) -> dict[str, int]:
        places = {name: value for name, value in layer._asdict().items() if name in (LAYER.names or ())}
        together, ahead = self._rows_in_cache(self._layout.rows), self._asked_ahead(layer)
        return {**places, "vectors": layer.width // lanes_of(self._layout.dtype), "updated_together": together, "ahead": ahead}

    def _asked_ahead(self, layer: LayerLayout) -> int:
        """Return how many of the weights needed next each tile asks for: 0 where all are near, or would come too late to help."""
        layout = self._layout
        fits = layout.arena.nbytes <= layout.shares * machine.second_level_cache()
        if fits or layout.rows < ROWS_ASKING_AHEAD:
            return 0
        tiles_of_batch = -(-layout.rows // layer.tiles.MR)
        return -(-panels.BLOCK * layer.width // tiles_of_batch)

    def _rows_in_cache(self, numbers: int, most: int = sys.maxsize) -> int:
        """Return how many rows of so many numbers half of a second-level cache holds, in whole tiles of `dot` of every kind."""
        whole = math.lcm(*(NI for _, NI in tiles.instruction_set().dots))
        fit = machine.second_level_cache() // 2 // (numbers * self._layout.dtype.itemsize)
        return max(whole, min(fit, most) // whole * whole)

    def _normalising(self, part: str) -> int:
        return self._block("normalise_share", norm=(self._layout.norm, part))

    def _update_dense(self, layer: LayerLayout) -> int:
        return self._stepped("update_dense", layer, ("update", layer.tiles.MK, layer.tiles.NV, False), layer.tiles.MK)

    def _stepped(self, name: str, layer: LayerLayout | None = None, tile: tuple[Any, ...] = (), MR: int = 0, SIDE: int = 1) -> int:
        """Return the block of an update: fused with the gradient for plain SGD, else with a step by the rule on each finished tile."""
        NR = layer.width if layer is not None else 0
        return self._block(name, tile, MR, NR, SIDE=SIDE, stepped=self._update.formula is not None)


# --- blocks: functions of panels.py, compiled ------------------------------------------------------------------------------

_COUNTS = types.int64[::1]


@functools.cache
def _step_type(dtype: np.dtype) -> Any:
    number, run = numba.from_dtype(dtype), record_types.record_type(RUN)
    arrays = (number[::1], types.uint16[::1], types.uint64[::1], _COUNTS, number[::1])
    return types.NamedTuple((*arrays, run, types.int64, types.int64), Step)


@functools.cache
def panel_block(
    name: str, tile: tuple[Any, ...] = (), MR: int = 0, NR: int = 0, NI: int = 0, SIDE: int = 1, formula: tuple[str, str] | None = None,
    stepped: bool = False, rule: str | None = None, keeps: bool = False, norm: tuple[str, str] | None = None, *, dtype: np.dtype,
) -> int:  # fmt: skip
    """Return the address of a function of panels.py with its tile, its sizes and its formula bound.

    `formula`: an activation and which part of it; `stepped`: whether an update is a step by a rule; `rule`: that of all panels;
    `keeps`: whether what it reads is kept; `norm`: one of NORMS and which part of it.
    """
    bound: dict[str, Any] = {"MR": MR, "NR": NR, "NI": NI}
    suffix = f"{MR}x{NR}x{NI}"
    if tile:
        kind, *arguments = tile
        make = getattr(tiles, kind)
        of_panels = {side: make(*arguments, side) if side > 1 else make(*arguments) for side in (1, max(1, SIDE - 1), SIDE)}
        bound |= {"SIDE": SIDE, "TILE": of_panels[SIDE], "TILE_OF_FEWER": of_panels[max(1, SIDE - 1)], "TILE_ALONE": of_panels[1]}
        suffix += f"_side_{SIDE}" if SIDE > 1 else ""
        suffix += f"_{kind}" + "".join(f"_{int(number)}" for argument in arguments for number in np.ravel(argument))
    if formula is not None:
        activation, part = formula
        bound["FORMULA"] = decorators.formula(getattr(ACTIVATIONS[activation], part))
        suffix += f"_{ACTIVATIONS[activation].key}"
    if stepped:
        bound["STEPPED"] = True
        suffix += "_stepped"
    if rule is not None:
        bound |= {"FORMULA": decorators.formula(UPDATES[rule].formula or descend), "STATES": UPDATES[rule].states}
        suffix += f"_{rule}"
    if norm is not None:
        bound["NORMALISE"] = NORMS[norm[0]][norm[1]]
        suffix += f"_{norm[0]}_{norm[1]}"
    if keeps:
        bound["KEEPS"] = True
        suffix += "_keeping"
    if name == "delta_from_transposed":
        bound |= {"TRANSPOSE": tiles.transpose(), "LANES": lanes_of(dtype)}
    if name == "add_noise_to_rows":
        bound["HALF_NORMAL"] = decorators.formula(random.HALF_NORMAL[dtype.name])
    block = forms.specialise(getattr(panels, name), suffix, **bound)
    layer = record_types.record_type(LAYER)
    return calls.address(block, _step_type(dtype), layer, layer, types.int64, types.int64)


@functools.cache
def step_run_block(rule: str, dtype: np.dtype) -> int:
    """Return the address of step_run by the formula of a rule."""
    formula = decorators.formula(RULES[rule].formula or descend)
    block = forms.specialise(panels.step_run, rule, FORMULA=formula, STATES=RULES[rule].states)
    number, whole = numba.from_dtype(dtype), types.int64
    return calls.address(block, number[::1], whole, whole, whole, whole, number[::1])


@functools.cache
def gather_block(dtype: np.dtype, x_dtype: np.dtype) -> int:
    """Return the address of gather_rows for bytes or floats."""
    number, read_only = numba.from_dtype(dtype), types.Array(numba.from_dtype(x_dtype), 1, "C", readonly=True)
    block = forms.specialise(panels.gather_rows, x_dtype.name, LINE=CACHE_LINE // x_dtype.itemsize)
    return calls.address(
        block, read_only, _COUNTS, _COUNTS, number[::1], number[::1], number[::1], record_types.record_type(LAYER)
    )  # fmt: skip


@functools.cache
def loss_rows_block(dtype: np.dtype) -> int:
    """Return the address of loss_of_rows."""
    number = numba.from_dtype(dtype)
    targets, table = types.Array(number, 2, "C", readonly=True), number[:, ::1]
    batch = types.NamedTuple((table, number[::1], table, table, types.float64[:, ::1]), Batch)
    return calls.address(
        panels.loss_of_rows, _step_type(dtype), record_types.record_type(LAYER), targets, number[::1], _COUNTS, number, types.float64[::1],
        batch, types.int64, types.int64,
    )  # fmt: skip
