"""`fastmlp check`: is every gradient what central differences say that it is?"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastmlp.cli.options import compile_notes, model_file
from fastmlp.errors import FastmlpError
from fastmlp.rendering import tables
from fastmlp.rendering.output import Output

if TYPE_CHECKING:
    from fastmlp.inspect.gradient_check import Check, Combination

EXAMPLES = ("fastmlp check --quick", "fastmlp check", "fastmlp check --layer", "fastmlp check digits.safetensors")


def check(
    output: Output,
    model: Annotated[
        Path | None, typer.Argument(metavar="MODEL", help="check this network (a file, or the folder of a run) instead, array by array")
    ] = None,
    layer: Annotated[bool, typer.Option("--layer", help="check each derivative and each backward kernel by itself")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="each activation, loss and normalization once, not every combination")] = False,
) -> dict[str, Any]:
    """Compare gradients with central differences in float64.

    By default for every activation with every loss, all parameters of a small network.
    """
    from fastmlp.inspect import gradient_check
    from fastmlp.network import Network
    from fastmlp.training import ahead

    if model is not None and layer:
        raise typer.BadParameter("expected a model or --layer, got both", param_hint="--layer")
    if quick and (model is not None or layer):
        raise typer.BadParameter("expected it alone: a model, or --layer, is quick as it is", param_hint="--quick")
    checks: list[Check | Combination] = []
    with ahead.Ahead() as helping, compile_notes(output):
        file = None if model is None else str(model_file(model))
        asked = {"model": file, "layer": layer, "quick": quick}
        helping.expect({"module": gradient_check.__name__, "function": "rehearse", "arguments": asked})
        if file is None and not layer:
            combinations = list(gradient_check.check_all(quick))
            checks += combinations
            text = tables.combinations(combinations)
        else:
            gradients = list(gradient_check.check_kernels() if file is None else gradient_check.check_gradient(Network.load(file)).checks)
            checks += gradients
            text = tables.gradient_checks(gradients)
    worst = max(checks, key=lambda check: math.inf if math.isnan(check.error) else check.error)
    output.detail(text)
    output.result(f"largest relative error {worst.error:.1e}, allowed {gradient_check.TOLERANCE:.0e}")
    if not all(check.passed for check in checks):
        wrong = [f"{check.what} ({check.where})" for check in gradient_check.check_kernels() if not check.passed]
        blame = ", ".join(wrong) or "no single formula, so the order in which they are applied"
        raise FastmlpError(
            f"a gradient is wrong: expected a relative error below {gradient_check.TOLERANCE:.0e}, got {worst.error:.1e}; to blame: {blame}"
        )
    return {
        "model": model,
        "tolerance": gradient_check.TOLERANCE,
        "largest_error": worst.error,
        "checks": [{**check._asdict(), "passed": check.passed} for check in checks],
    }
