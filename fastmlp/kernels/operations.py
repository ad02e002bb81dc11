"""The plan of one step as a table of operations: a row per block, with the address of the block and where its operands lie.

One step, for each share of the units, with a barrier (|) wherever a share needs what another one has made:

    gather the batch, forward hidden 0 | forward hidden 1 | … sums of outputs from own units | loss of own rows | delta of own units, update
    of the outputs' weights | delta of the layer before | … update of own units' weights

One hidden layer takes two barriers a step; a second one takes three more, as the next step then begins with one, and each further one two
more. The input gradient of a layer is taken before its weights change. Every thread gathers the whole batch for itself.
"""

import functools
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numba import types

from fastmlp.errors import ConfigError
from fastmlp.kernels import compiling, panels, random, tiles, zeros
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.layout import STEPPED_ROWS, LayerLayout, Layout, Run
from fastmlp.kernels.regularisation import NOTHING, Regularisation, bits_of
from fastmlp.kernels.updates import GRADIENT, RULES, STORE, UPDATES, descend
from fastmlp.kernels.vectors import lanes_of

NARROW_OUTPUT = 2  # up to so many outputs, a dot tile takes them one at a time
TRANSPOSED_ROWS = 192  # from so many rows of a batch on, a transposed copy of several panels of w pays for the delta of the layer before

Operation = list[int]


class Planner:
    """Writes the operations of a network: for the forward pass, for the whole step, for the gathering of a batch."""

    def __init__(
        self, layout: Layout, activations: Sequence[str], listed: bool, update: str = "sgd", shifted: bool = False, limited: bool = False,
        averages: bool = False, regularisation: Regularisation = NOTHING,
    ) -> None:  # fmt: skip
        """Plan for a layout; `listed`: skip inputs that are zero; `shifted`: all inputs are these plus a shift, kept in the extra row.

        `limited`: gradients are stored, in the state after those of the rule, to be clipped before the rule gets them; `averages`: the
        state after that one is an average of the parameters.
        """
        self.regularisation = regularisation
        self.layout, self.activations, self.listed, self.shifted = layout, activations, listed, listed and shifted
        self.rule, self.limited, self.averages = RULES[update], limited, averages
        self.update = STORE if limited else self.rule  # what happens to a gradient as soon as it is there
        self._gradient = (self.rule.states + 1) * layout.state if limited else layout.state
        self._average = (self.rule.states + 1 + limited) * layout.state

    def table(self, part: str) -> np.ndarray:
        """Return the operations (threads, n, COLUMNS) of "gather", "forward" or "step": each thread has a batch of its own.

        "backward" and "update" are parts of a step, for one layer by itself: the delta before the last hidden layer, without the
        factor f', and the weights and biases of the first one.
        """
        write = {
            "gather": self._gather,
            "forward": self._forward,
            "step": self._step,
            "backward": lambda thread: self._from_layer(len(self.layout.hidden) - 1)[:1],
            "update": self._update_first,
        }[part]
        return np.array([write(thread) for thread in range(len(self.layout.batches))], np.int64)

    def _gather(self, thread: int) -> list[Operation]:
        layout = self.layout
        batch = layout.batches[thread]
        K = layout.hidden[0].n_in
        found = [operation(OUT=batch, OUT_ROW=layout.batch_row), *self._change_inputs(batch, K)]
        if self.listed:
            extra = layout.extra_row if self.shifted else 0
            address = self._block("list_live", MR=layout.listed.MR)
            found.append(operation(address, K=K, X=batch, X_ROW=layout.batch_row, **layout.sparse.columns(thread)))
            if layout.output is not None:
                found.append(operation(self._block("mask_groups"), K=K, EXTRA=extra, **layout.sparse.columns(thread, group_masks=True)))
        return found

    def _change_inputs(self, batch: int, K: int) -> list[Operation]:
        rule, row, found = self.regularisation, self.layout.batch_row, []
        if rule.input_noise > 0:
            found.append(operation(self._block("add_noise_to_rows"), K=K, OUT=batch, OUT_ROW=row, **rule.of_noise()._asdict()))
        if rule.input_dropout > 0:
            columns = {"PANELS": K, "WIDTH": 1, "OUT": batch, "OUT_ROW": row, "OUT_PANEL": 1}
            found.append(operation(self._block("drop_rows"), **columns, **rule.of_inputs()._asdict()))
        return found

    def _forward(self, thread: int) -> list[Operation]:
        layout = self.layout
        found, below, below_row = [], layout.batches[thread], layout.batch_row
        for index, layer in enumerate(layout.hidden):
            if index > 0:
                found.append(BARRIER)
            listed = self.listed and index == 0
            # sums that are normalised have no bias: it is added after that
            sums, bias = (layer.hat, layout.no_bias) if layer.gamma else (layer.z, layer.bias)
            if self.shifted and index == 0:
                found.append(self._bias_of_shift(layer, layout.batches[thread], bias))
                bias = layout.shifted_bias
            found.append(
                operation(
                    self._forward_block(layer, listed),
                    K=layer.n_in,
                    N=layer.n_out,
                    PANELS=layer.panels,
                    X=below,
                    X_ROW=below_row,
                    W=layer.weight,
                    W_PANEL=layer.panel,
                    BIAS=bias,
                    OUT=sums,
                    OUT_ROW=layer.row,
                    OUT_PANEL=layer.column,
                    SUMS=layout.sums,
                    SUMS_SHARE=layout.sums_share,
                    **(layout.sparse.columns(thread) if listed else {}),
                )  # fmt: skip
            )
            found += self._normalise(layer)
            if index < len(self.activations):
                name = "activate_rows" if layer.z == layer.a else "activate_rows_keeping_z"
                found.append(
                    operation(
                        self._block(name, formula=(self.activations[index], "formula")),
                        N=layer.n_out,
                        PANELS=layer.panels,
                        WIDTH=layer.width,
                        D=layer.z,
                        OUT=layer.a,
                        OUT_ROW=layer.row,
                        OUT_PANEL=layer.column,
                    )  # fmt: skip
                )
            if self.regularisation.drops_units(index):
                found.append(self._drop(index, "drop_rows_keeping_a", D=layer.a, OUT=layer.dropped))
            below, below_row = layer.dropped, layer.row
        return found

    def _drop(self, index: int, name: str, **columns: int) -> Operation:
        layer = self.layout.hidden[index]
        return operation(
            self._block(name), PANELS=layer.panels, WIDTH=layer.width, OUT_ROW=layer.row, OUT_PANEL=layer.column,
            **self.regularisation.of_units(index)._asdict(), **columns,
        )  # fmt: skip

    def _forward_block(self, layer: LayerLayout, listed: bool) -> int:
        if not listed:
            return self._block("forward_dense", ("product", layer.tiles.shape, False), layer.tiles.MR, layer.width)
        MR, side, _ = self.layout.listed
        shape = tiles.Shape(MR, layer.tiles.NV)
        return self._block("forward_listed", ("product", shape, True), MR, layer.width, SIDE=side)

    def _bias_of_shift(self, layer: LayerLayout, batch: int, bias: int) -> Operation:
        shape = tiles.Shape(1, layer.tiles.NV)
        return operation(
            self._block("bias_of_shift", ("product", shape, False), 1, layer.width),
            K=layer.n_in, PANELS=layer.panels, X=batch + self.layout.extra_row * self.layout.batch_row, W=layer.weight, W_PANEL=layer.panel,
            BIAS=bias, OUT=self.layout.shifted_bias,
        )  # fmt: skip

    def _sums_of_outputs(self, output: LayerLayout) -> Operation:
        last = self.layout.hidden[-1]
        instructions = tiles.instruction_set()
        MR, NI = instructions.outputs if output.n_out > NARROW_OUTPUT else instructions.single_output
        return operation(
            self._block("outputs_from_panels", ("dot", MR, NI), MR, last.width, NI=NI),
            N=output.n_out, PANELS=last.panels, X=last.dropped, X_ROW=last.row, X_PANEL=last.column, W=output.weight, W_PANEL=output.panel,
            W_VECTORS=last.tiles.NV,
            OUT=output.a, OUT_ROW=output.row, OUT_PANEL=self.layout.rows_padded * output.row,
        )  # fmt: skip

    def _step(self, thread: int) -> list[Operation]:
        layout, output = self.layout, self.layout.output
        if output is None:
            raise ConfigError("a layout for the forward pass alone has no steps")
        hidden = layout.hidden
        found = [BARRIER] if len(hidden) > 1 else []  # who is still in the last step reads activations of all units
        found += [*self._forward(thread), self._sums_of_outputs(output), BARRIER, self._loss(output), BARRIER, self._check()]
        if layout.norm == "batch" and self.update is not GRADIENT:
            found += [self._of_sums("track_panels", layer, layer.z) for layer in hidden]
        found += self._from_outputs(output)
        for index in range(len(hidden) - 1, 0, -1):
            found += [BARRIER, *self._from_layer(index)]
            if index + 1 < len(hidden):
                found += self._update(hidden[index + 1], hidden[index].dropped, hidden[index].row)
        if len(hidden) > 1:
            found += [BARRIER, *self._update(hidden[1], hidden[0].dropped, hidden[0].row)]
        return found + self._update_first(thread) + self._after_gradients()

    def _after_gradients(self) -> list[Operation]:
        """Return what needs the gradients of all layers, or their steps. Each share works on its own panels, so there is one barrier."""
        runs, found = self.layout.runs, []
        if self.limited:
            first, lengths = self.layout.lengths, sum(run.panels for run in runs)
            place, address = first, self._block("gradient_lengths")
            for run in runs:
                found.append(_of_run(address, run, X=self._gradient, OUT=place))
                place += run.panels
            rule = self._block("step_limited", stepped=self.rule.name)
            found += [BARRIER, *(_of_run(rule, run, X=self._gradient, STATE=self.layout.state, OUT=first, K=lengths) for run in runs)]
            found += [op for layer in self.layout.hidden for op in self._limit(layer)]
        if self.averages:
            address = self._block("average_panels")
            found += [_of_run(address, run, X=self._average) for run in runs]
        return found

    def _update_first(self, thread: int) -> list[Operation]:
        layout = self.layout
        return self._update(layout.hidden[0], layout.batches[thread], layout.batch_row, thread if self.listed else None)

    def _loss(self, output: LayerLayout) -> Operation:
        return operation(
            loss_rows_block(self.layout.dtype), panels.LOSS, CHUNK=self.layout.loss_rows, PANELS=output.panels, X=output.a,
            X_ROW=output.row, BIAS=output.bias, OUT=output.delta, OUT_ROW=output.row, OUT_PANEL=self.layout.rows_padded * output.row,
        )  # fmt: skip

    def _check(self) -> Operation:
        return operation(kind=panels.CHECK, CHUNK=self.layout.loss_rows)

    def _from_outputs(self, output: LayerLayout) -> list[Operation]:
        last = self.layout.hidden[-1]
        return [
            operation(
                self._block("delta_from_outputs", ("product", last.tiles.shape, False), last.tiles.MR, last.width),
                N=output.n_out,
                PANELS=last.panels,
                X=output.delta,
                X_ROW=output.row,
                W=output.weight,
                W_PANEL=output.panel,
                BIAS=self.layout.no_bias,
                OUT=last.delta,
                OUT_ROW=last.row,
                OUT_PANEL=last.column,
            ),  # fmt: skip
            *self._activation_backward(len(self.layout.hidden) - 1),
            *self._normalise_backward(last),
            self._weight_update(
                "update_dense",
                last,
                K=output.n_out,
                X=output.delta,
                X_ROW=output.row,
                D=last.dropped,
                D_ROW=last.row,
                D_PANEL=last.column,
                W=output.weight,
                W_PANEL=output.panel,
            ),  # fmt: skip
            self._bias_update(output),
        ]

    def _from_layer(self, index: int) -> list[Operation]:
        before = self.layout.hidden[index - 1]
        return [self._delta_from_layer(index), *self._activation_backward(index - 1), *self._normalise_backward(before)]

    def _delta_from_layer(self, index: int) -> Operation:
        layer, before = self.layout.hidden[index], self.layout.hidden[index - 1]
        if layer.panels == 1 or self.layout.rows >= TRANSPOSED_ROWS:
            return operation(
                self._block("delta_from_transposed", ("product", before.tiles.shape, False), before.tiles.MR, before.width),
                K=layer.n_out, N=layer.n_in, PANELS=before.panels, D=layer.delta, D_ROW=layer.row, D_PANEL=layer.column,
                W=layer.weight, W_ROW=layer.width, W_PANEL=layer.panel, W_PANELS=layer.panels, BIAS=self.layout.no_bias,
                OUT=before.delta, OUT_ROW=before.row, OUT_PANEL=before.column,
                SUMS=self.layout.sums, SUMS_SHARE=self.layout.sums_share,
            )  # fmt: skip
        # a panel of inputs is whole tiles: one that ran over its edge would write into the next share's, or the next row's
        MR, NI = next(shape for shape in tiles.instruction_set().dots if before.width % shape[1] == 0)
        return operation(
            self._block("delta_from_layer", ("dot", MR, NI), MR, NI=NI),
            K=layer.n_in,
            PANELS=before.panels,
            WIDTH=before.width,
            D=layer.delta,
            D_ROW=layer.row,
            D_PANEL=layer.column,
            W=layer.weight,
            W_ROW=layer.width,
            W_PANEL=layer.panel,
            W_PANELS=layer.panels,
            W_VECTORS=layer.tiles.NV,
            OUT=before.delta,
            OUT_ROW=before.row,
        )  # fmt: skip

    def _activation_backward(self, index: int) -> list[Operation]:
        layer = self.layout.hidden[index]
        backward = operation(
            self._block("activate_rows_backward", formula=(self.activations[index], "derivative")),
            N=layer.n_out, PANELS=layer.panels, WIDTH=layer.width, X=layer.a, D=layer.z,
            OUT=layer.delta, OUT_ROW=layer.row, OUT_PANEL=layer.column,
        )  # fmt: skip
        return [backward, self._drop(index, "drop_rows", OUT=layer.delta)] if self.regularisation.drops_units(index) else [backward]

    def _normalise(self, layer: LayerLayout) -> list[Operation]:
        """Return what makes z of the sums of a layer: nothing where they are z."""
        if not layer.gamma:
            return []
        if self.layout.norm == "layer":  # rows need the sums of all units, and give z to all
            return [BARRIER, self._of_sums("normalise_rows_by_layer", layer, layer.z), BARRIER]
        return [self._of_sums(f"normalise_panels_by_{self.layout.norm}", layer, layer.z)]

    def _normalise_backward(self, layer: LayerLayout) -> list[Operation]:
        """Return what turns delta with respect to z into that with respect to the sums, and finds dgamma and dbeta."""
        if not layer.gamma:
            return []
        scale = self._of_sums("scale_backward_panels", layer, layer.delta)
        if self.layout.norm == "layer":
            return [scale, BARRIER, self._of_sums("layer_backward_rows", layer, layer.delta), BARRIER]
        return [scale, self._of_sums("batch_backward_panels", layer, layer.delta)]

    def _of_sums(self, name: str, layer: LayerLayout, out: int) -> Operation:
        return operation(
            self._block(name), N=layer.n_out, PANELS=layer.panels, WIDTH=layer.width, D=layer.hat, D_ROW=layer.row, D_PANEL=layer.column,
            BIAS=layer.bias, GAMMA=layer.gamma, OUT=out, OUT_ROW=layer.row, OUT_PANEL=layer.column, MOMENTS=layer.moments,
            MOMENTS_ROW=layer.panels * layer.width, RUNNING=layer.running,
        )  # fmt: skip

    def _units_updates(self, layer: LayerLayout) -> list[Operation]:
        """Return the updates of scales and biases of normalised sums, whose gradients are there."""
        if self.update.formula is None:
            address, state = self._block("update_units"), 0
        else:
            address = self._block("update_units_stepped", update=self.update.name)
            state = self._gradient if self.limited else self.layout.state
        units = layer.panels * layer.width
        return [
            operation(
                address, N=layer.n_out, PANELS=layer.panels, WIDTH=layer.width, BIAS=place, D=layer.moments + vector * units, STATE=state
            )
            for place, vector in ((layer.gamma, panels.DGAMMA), (layer.bias, panels.DBETA))
        ]

    def _update(self, layer: LayerLayout, below: int, below_row: int, thread: int | None = None) -> list[Operation]:
        masks = dict(self.layout.sparse.columns(thread, group_masks=True)) if thread is not None else {}
        found = []
        if masks and self.shifted:
            masks["EXTRA"] = self.layout.extra_row
            found.append(
                operation(
                    self._block("sum_deltas"),
                    PANELS=layer.panels,
                    WIDTH=layer.width,
                    D=layer.delta,
                    D_ROW=layer.row,
                    D_PANEL=layer.column,
                    EXTRA=self.layout.extra_row,
                )  # fmt: skip
            )
        return found + [
            self._weight_update(
                "update_masked" if masks else "update_dense",
                layer,
                K=layer.n_in,
                X=below,
                X_ROW=below_row,
                D=layer.delta,
                D_ROW=layer.row,
                D_PANEL=layer.column,
                W=layer.weight,
                W_PANEL=layer.panel,
                **masks,
            ),  # fmt: skip
            *(self._units_updates(layer) if layer.gamma else [self._bias_update(layer)]),
            *([] if self.limited else self._limit(layer)),  # limited, the weights take their step later
        ]

    def _limit(self, layer: LayerLayout) -> list[Operation]:
        longest = self.regularisation.max_norm
        if longest is None:
            return []
        return [
            operation(
                self._block("limit_weights"),
                K=layer.n_in,
                PANELS=layer.panels,
                WIDTH=layer.width,
                W=layer.weight,
                W_PANEL=layer.panel,
                SUMS=self.layout.sums,
                SUMS_SHARE=self.layout.sums_share,
                NUMBER=bits_of(longest),
            )  # fmt: skip
        ]

    def _weight_update(self, name: str, layer: LayerLayout, **columns: int) -> Operation:
        masked = name == "update_masked"
        tile = ("update", zeros.GROUP if masked else layer.tiles.MK, layer.tiles.NV, masked)
        side = self.layout.listed.masked if masked and self.update.formula is None else 1
        return self._stepped(name, layer, tile, STEPPED_ROWS if masked else layer.tiles.MK, side, PANELS=layer.panels, **columns)

    def _bias_update(self, layer: LayerLayout) -> Operation:
        if layer is self.layout.output:  # its deltas lie row by row, at no multiple of a vector
            count = -(-layer.n_out // layer.width)
            return self._stepped("update_bias", layer, N=layer.n_out, PANELS=count, D=layer.delta, D_ROW=layer.row, BIAS=layer.bias)
        return self._stepped(  # biases are the weights of an input that is 1 in all rows
            "update_dense", layer, ("update", 1, layer.tiles.NV, False), 1, K=1, X=self.layout.one, X_ROW=0, PANELS=layer.panels,
            D=layer.delta, D_ROW=layer.row, D_PANEL=layer.column, W=layer.bias, W_PANEL=layer.width, BIAS=layer.bias,
        )  # fmt: skip

    def _stepped(
        self, name: str, layer: LayerLayout, tile: tuple[Any, ...] = (), MR: int = 0, SIDE: int = 1, **columns: int
    ) -> Operation:  # fmt: skip
        """Return the operation of an update: fused with the gradient for plain SGD, else by the rule's formula on each finished tile."""
        if self.update.formula is None:
            return operation(self._block(name, tile, MR, layer.width, SIDE=SIDE), **columns)
        address = self._block(f"{name}_stepped", tile, MR, layer.width, update=self.update.name)
        layout = self.layout
        state = self._gradient if self.limited else layout.state
        return operation(address, OUT=layout.gradient, OUT_ROW=layout.gradient_row, STATE=state, **columns)

    def _block(
        self, name: str, tile: tuple[Any, ...] = (), MR: int = 0, NR: int = 0, NI: int = 0, formula: tuple[str, str] | None = None,
        update: str | None = None, SIDE: int = 1, stepped: str | None = None,
    ) -> int:  # fmt: skip
        return _panel_block(name, self.layout.dtype, tile, MR, NR, NI, SIDE, formula, update, stepped)


def operation(address: int = 0, kind: int = panels.PANEL, **columns: int) -> Operation:
    """Return a row of the table of operations; `OUT=5` puts 5 into the column OUT."""
    row = [0] * panels.COLUMNS
    row[panels.KIND], row[panels.ADDRESS] = kind, address
    for name, value in columns.items():
        row[getattr(panels, name)] = value
    return row


def _of_run(address: int, run: Run, **columns: int) -> Operation:
    return operation(address, W=run.first, W_PANEL=run.length, PANELS=run.panels, **columns)


BARRIER = operation(kind=panels.BARRIER)

_COUNTS = types.int64[::1]


@functools.cache
def _panel_block(
    name: str,
    dtype: np.dtype,
    tile: tuple[Any, ...],
    MR: int,
    NR: int,
    NI: int,
    SIDE: int,
    formula: tuple[str, str] | None,
    update: str | None,
    stepped: str | None,
) -> int:
    """Return the address of a function of panels.py with its tile, its sizes and its formula bound.

    `formula`: an activation and which part of it; `update`: the rule that takes each finished tile; `stepped`: the rule of all panels.
    """
    bound: dict[str, Any] = {"MR": MR, "NR": NR, "NI": NI}
    suffix = f"{MR}x{NR}x{NI}"
    if tile:
        kind, *arguments = tile
        make = getattr(tiles, kind)
        bound |= {"SIDE": SIDE, "TILE_ALONE": make(*arguments)}
        bound["TILE"] = make(*arguments, SIDE) if SIDE > 1 else bound["TILE_ALONE"]
        suffix += f"_side_{SIDE}" if SIDE > 1 else ""
        suffix += f"_{kind}" + "".join(f"_{int(number)}" for argument in arguments for number in np.ravel(argument))
    if formula is not None:
        activation, part = formula
        bound["FORMULA"] = compiling.formula(getattr(ACTIVATIONS[activation], part))
        suffix += f"_{ACTIVATIONS[activation].key}"
    if update is not None:
        rule = RULES[update]
        step = {"FORMULA": compiling.formula(rule.formula), "STATES": rule.states} if rule.formula else {}
        bound["step_run"] = compiling.specialise(panels.step_run, update, **step)
        suffix += f"_{update}"
    if stepped is not None:
        bound |= {"FORMULA": compiling.formula(UPDATES[stepped].formula or descend), "STATES": UPDATES[stepped].states}
        suffix += f"_{stepped}"
    if name == "delta_from_transposed":
        bound |= {"TRANSPOSE": tiles.transpose(), "LANES": lanes_of(dtype)}
    if name == "add_noise_to_rows":
        bound["HALF_NORMAL"] = compiling.formula(random.HALF_NORMAL[dtype.name])
    number = numba.from_dtype(dtype)
    block = compiling.specialise(getattr(panels, name), suffix, **bound)
    return compiling.address(block, number[::1], types.uint16[::1], types.uint64[::1], _COUNTS, number[::1], _COUNTS, *(types.int64,) * 3)


@functools.cache
def gather_block(dtype: np.dtype, x_dtype: np.dtype) -> int:
    """Return the address of gather_rows for bytes or floats."""
    number, read_only = numba.from_dtype(dtype), types.Array(numba.from_dtype(x_dtype), 2, "C", readonly=True)
    return compiling.address(panels.gather_rows, read_only, _COUNTS, _COUNTS, number[::1], number[::1], number[::1], _COUNTS)


@functools.cache
def loss_rows_block(dtype: np.dtype) -> int:
    """Return the address of loss_of_rows."""
    number = numba.from_dtype(dtype)
    targets = types.Array(number, 2, "C", readonly=True)
    return compiling.address(
        panels.loss_of_rows, targets, number[::1], _COUNTS, types.int64, number, types.float64[::1], types.int64, number[:, ::1],
        number[::1], number[:, ::1], number[:, ::1], number[::1], types.float64[:, ::1], _COUNTS, types.int64, types.int64,
    )  # fmt: skip
