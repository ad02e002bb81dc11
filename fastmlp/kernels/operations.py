"""The plan of one step as a table of operations: a row per block, with the address of the block and where its operands lie.

One step, for each share of the units, with a barrier (|) wherever a share needs what another one has made:

    forward hidden 0 | forward hidden 1 | … sums of outputs from own units | loss of own rows | delta of own units, update of the outputs'
    weights | delta of the layer before | … update of own units' weights, gather of the next batch |

One hidden layer takes three barriers a step, each further one two more. The input gradient of a layer is taken before its weights change.
"""

import functools
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numba import types

from fastmlp.errors import ConfigError
from fastmlp.kernels import compiling, panels, tiles, zeros
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.layout import LayerLayout, Layout
from fastmlp.kernels.updates import UPDATES

UPDATE_ROWS = zeros.GROUP
NARROW_OUTPUT = 2  # up to so many outputs, a dot tile takes them one at a time

Operation = list[int]


class Planner:
    """Writes the operations of a network: for the forward pass, for the whole step, for the gathering of a batch."""

    def __init__(self, layout: Layout, activations: Sequence[str], listed: bool, update: str = "sgd") -> None:
        self.layout, self.activations, self.listed = layout, activations, listed
        self.update = UPDATES[update]

    def table(self, part: str) -> np.ndarray:
        """Return the operations (2, n, COLUMNS) of "gather", "forward" or "step", for even and for odd batches."""
        write = {"gather": self._gather, "forward": self._forward, "step": self._step}[part]
        return np.array([write(parity) for parity in range(2)], np.int64)

    def _gather(self, parity: int) -> list[Operation]:
        layout = self.layout
        batch = layout.batches[parity]
        found = [operation(OUT=batch, OUT_ROW=layout.batch_row)]
        if self.listed:
            first = layout.hidden[0]
            address = self._block("list_live", MR=first.shape.MR)
            found.append(operation(address, K=first.n_in, X=batch, X_ROW=layout.batch_row, **layout.sparse.columns(parity)))
        return found

    def _forward(self, parity: int) -> list[Operation]:
        layout = self.layout
        found, below, below_row = [], layout.batches[parity], layout.batch_row
        for index, layer in enumerate(layout.hidden):
            if index > 0:
                found.append(BARRIER)
            listed = self.listed and index == 0
            found.append(
                operation(
                    self._block(
                        "forward_listed" if listed else "forward_dense", ("product", layer.shape, listed), layer.shape.MR, layer.width
                    ),
                    K=layer.n_in,
                    N=layer.n_out,
                    PANELS=layer.panels,
                    X=below,
                    X_ROW=below_row,
                    W=layer.weight,
                    W_PANEL=layer.panel,
                    BIAS=layer.bias,
                    OUT=layer.z,
                    OUT_ROW=layer.row,
                    **(layout.sparse.columns(parity) if listed else {}),
                )  # fmt: skip
            )
            if index < len(self.activations):
                name = "activate_rows" if layer.z == layer.a else "activate_rows_keeping_z"
                found.append(
                    operation(
                        self._block(name, NR=layer.width, formula=(self.activations[index], "formula")),
                        N=layer.n_out,
                        PANELS=layer.panels,
                        D=layer.z,
                        D_ROW=layer.row,
                        OUT=layer.a,
                        OUT_ROW=layer.row,
                    )  # fmt: skip
                )
            below, below_row = layer.a, layer.row
        return found

    def _sums_of_outputs(self, output: LayerLayout) -> Operation:
        last = self.layout.hidden[-1]
        MR, NI = (5, 5) if output.n_out > NARROW_OUTPUT else (8, 1)
        return operation(
            self._block("outputs_from_panels", ("dot", MR, NI), MR, last.width, NI=NI),
            N=output.n_out, PANELS=last.panels, X=last.a, X_ROW=last.row, W=output.weight, W_PANEL=output.panel, W_VECTORS=last.shape.NV,
            OUT=output.a, OUT_ROW=output.row, OUT_PANEL=self.layout.rows_padded * output.row,
        )  # fmt: skip

    def _step(self, parity: int) -> list[Operation]:
        layout, output = self.layout, self.layout.output
        if output is None:
            raise ConfigError("a layout for the forward pass alone has no steps")
        hidden = layout.hidden
        found = []
        if self.listed:
            found.append(operation(self._block("mask_groups"), K=hidden[0].n_in, **layout.sparse.columns(parity, group_masks=True)))
        found += [*self._forward(parity), self._sums_of_outputs(output), BARRIER, self._loss(output), BARRIER, CHECK]
        found += self._from_outputs(output)
        for index in range(len(hidden) - 1, 0, -1):
            found += [BARRIER, *self._from_layer(index)]
            if index + 1 < len(hidden):
                found += self._update(hidden[index + 1], hidden[index].a, hidden[index].row)
        if len(hidden) > 1:
            found += [BARRIER, *self._update(hidden[1], hidden[0].a, hidden[0].row)]
        return found + self._update(hidden[0], layout.batches[parity], layout.batch_row, parity if self.listed else None)

    def _loss(self, output: LayerLayout) -> Operation:
        return operation(
            loss_rows_block(self.layout.dtype), panels.LOSS, PANELS=output.panels, X=output.a, X_ROW=output.row, BIAS=output.bias,
            OUT=output.delta, OUT_ROW=output.row, OUT_PANEL=self.layout.rows_padded * output.row,
        )  # fmt: skip

    def _from_outputs(self, output: LayerLayout) -> list[Operation]:
        last = self.layout.hidden[-1]
        return [
            operation(
                self._block("delta_from_outputs", ("product", last.shape, False), last.shape.MR, last.width),
                N=output.n_out,
                PANELS=last.panels,
                X=output.delta,
                X_ROW=output.row,
                W=output.weight,
                W_PANEL=output.panel,
                BIAS=self.layout.no_bias,
                OUT=last.delta,
                OUT_ROW=last.row,
            ),  # fmt: skip
            self._activation_backward(len(self.layout.hidden) - 1),
            self._weight_update(
                "update_dense",
                last,
                K=output.n_out,
                X=output.delta,
                X_ROW=output.row,
                D=last.a,
                D_ROW=last.row,
                W=output.weight,
                W_PANEL=output.panel,
            ),  # fmt: skip
            self._bias_update(output, -(-output.n_out // last.width)),
        ]

    def _from_layer(self, index: int) -> list[Operation]:
        layer, before = self.layout.hidden[index], self.layout.hidden[index - 1]
        # a panel of inputs is whole tiles: one that ran over its edge would write into the next share's, or the next row's
        MR, NI = next(shape for shape in ((5, 5), (6, 4), (6, 2)) if before.width % shape[1] == 0)
        return [
            operation(
                self._block("delta_from_layer", ("dot", MR, NI), MR, layer.width, NI=NI),
                K=layer.n_in,
                PANELS=before.panels,
                WIDTH=before.width,
                D=layer.delta,
                D_ROW=layer.row,
                W=layer.weight,
                W_PANEL=layer.panel,
                W_PANELS=layer.panels,
                W_VECTORS=layer.shape.NV,
                OUT=before.delta,
                OUT_ROW=before.row,
            ),  # fmt: skip
            self._activation_backward(index - 1),
        ]

    def _activation_backward(self, index: int) -> Operation:
        layer = self.layout.hidden[index]
        return operation(
            self._block("activate_rows_backward", NR=layer.width, formula=(self.activations[index], "derivative")),
            N=layer.n_out, PANELS=layer.panels, X=layer.a, X_ROW=layer.row, D=layer.z, D_ROW=layer.row, OUT=layer.delta, OUT_ROW=layer.row,
        )  # fmt: skip

    def _update(self, layer: LayerLayout, below: int, below_row: int, parity: int | None = None) -> list[Operation]:
        masks = self.layout.sparse.columns(parity, group_masks=True) if parity is not None else {}
        return [
            self._weight_update(
                "update_masked" if masks else "update_dense",
                layer,
                K=layer.n_in,
                X=below,
                X_ROW=below_row,
                D=layer.delta,
                D_ROW=layer.row,
                W=layer.weight,
                W_PANEL=layer.panel,
                **masks,
            ),  # fmt: skip
            self._bias_update(layer, layer.panels),
        ]

    def _weight_update(self, name: str, layer: LayerLayout, **columns: int) -> Operation:
        tile = ("update", UPDATE_ROWS, layer.shape.NV, name == "update_masked")
        return self._stepped(name, layer, tile, PANELS=layer.panels, **columns)

    def _bias_update(self, layer: LayerLayout, count: int) -> Operation:
        return self._stepped("update_bias", layer, (), N=layer.n_out, PANELS=count, D=layer.delta, D_ROW=layer.row, BIAS=layer.bias)

    def _stepped(self, name: str, layer: LayerLayout, tile: tuple[Any, ...], **columns: int) -> Operation:
        """Return the operation of an update: fused with the gradient for plain SGD, else by the rule's formula on each finished tile."""
        if self.update.formula is None:
            return operation(self._block(name, tile, UPDATE_ROWS, layer.width), **columns)
        address = self._block(f"{name}_stepped", tile, UPDATE_ROWS, layer.width, update=self.update.name)
        layout = self.layout
        return operation(address, OUT=layout.gradient, OUT_ROW=layout.gradient_row, STATE=layout.state, **columns)

    def _block(
        self, name: str, tile: tuple[Any, ...] = (), MR: int = 0, NR: int = 0, NI: int = 0, formula: tuple[str, str] | None = None,
        update: str | None = None,
    ) -> int:  # fmt: skip
        return _panel_block(name, self.layout.dtype, tile, MR, NR, NI, formula, update)


def operation(address: int = 0, kind: int = panels.PANEL, **columns: int) -> Operation:
    """Return a row of the table of operations; `OUT=5` puts 5 into the column OUT."""
    row = [0] * panels.COLUMNS
    row[panels.KIND], row[panels.ADDRESS] = kind, address
    for name, value in columns.items():
        row[getattr(panels, name)] = value
    return row


BARRIER = operation(kind=panels.BARRIER)
CHECK = operation(kind=panels.CHECK)

_COUNTS = types.int64[::1]


@functools.cache
def _panel_block(
    name: str, dtype: np.dtype, tile: tuple[Any, ...], MR: int, NR: int, NI: int, formula: tuple[str, str] | None, update: str | None
) -> int:
    """Return the address of a function of panels.py with its tile, its sizes and its formula bound."""
    bound: dict[str, Any] = {"MR": MR, "NR": NR, "NI": NI}
    suffix = f"{MR}x{NR}x{NI}"
    if tile:
        kind, *arguments = tile
        bound["TILE"] = getattr(tiles, kind)(*arguments)
        suffix += f"_{kind}" + "".join(f"_{int(number)}" for argument in arguments for number in np.ravel(argument))
    if formula is not None:
        activation, part = formula
        bound["FORMULA"] = compiling.formula(getattr(ACTIVATIONS[activation], part))
        suffix += f"_{activation}"
    if update is not None:
        rule = UPDATES[update]
        step = {"FORMULA": compiling.formula(rule.formula), "STATES": rule.states} if rule.formula else {}
        bound["step_run"] = compiling.specialise(panels.step_run, update, **step)
        suffix += f"_{update}"
    number = numba.from_dtype(dtype)
    block = compiling.specialise(getattr(panels, name), suffix, **bound)
    return compiling.address(block, number[::1], types.uint16[::1], types.uint64[::1], _COUNTS, number[::1], _COUNTS, *(types.int64,) * 3)


@functools.cache
def gather_block(tile_rows: int, dtype: np.dtype, x_dtype: np.dtype) -> int:
    """Return the address of gather_rows for tiles of so many rows, and bytes or floats."""
    number, read_only = numba.from_dtype(dtype), types.Array(numba.from_dtype(x_dtype), 2, "C", readonly=True)
    block = compiling.specialise(panels.gather_rows, f"MR{tile_rows}", MR=tile_rows)
    return compiling.address(block, read_only, _COUNTS, number[::1], number[::1], number[::1], _COUNTS, types.int64, types.int64)


@functools.cache
def loss_rows_block(dtype: np.dtype) -> int:
    """Return the address of loss_of_rows."""
    number = numba.from_dtype(dtype)
    targets = types.Array(number, 2, "C", readonly=True)
    return compiling.address(
        panels.loss_of_rows, targets, number[::1], _COUNTS, types.int64, number, types.int64, number[:, ::1], number[::1],
        number[:, ::1], number[:, ::1], number[::1], types.float64[:, ::1], _COUNTS, types.int64, types.int64,
    )  # fmt: skip
