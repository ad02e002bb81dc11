"""What takes the steps of a plan: an engine of the kernels, or L-BFGS on top of one."""

from fastmlp import machine
from fastmlp.engines import choice
from fastmlp.engines.program import Program
from fastmlp.engines.tiled import TiledProgram
from fastmlp.kernels.losses import loss_for
from fastmlp.kernels.updates import GRADIENT
from fastmlp.preprocessing import targets
from fastmlp.settings import known
from fastmlp.training.full_batch import FullBatch, Memory
from fastmlp.training.records import Plan


def choose(plan: Plan) -> Program | TiledProgram | FullBatch:
    """Return what takes the steps of a plan."""
    network, settings = plan.network, plan.settings
    program = choice.choose(
        choice.Wanted(
            sizes=network.sizes,
            activations=network.hidden_activations,
            dtype=network.dtype,
            rows=plan.block,
            loss=loss_for(plan.loss, network.output).form,
            update=GRADIENT.name if plan.is_full_batch else plan.update,
            kernels=settings.kernels,
            zero_skipping=settings.zero_skipping,
            threads=machine.threads(settings.threads),
            limited=plan.is_limited,
            averages=settings.average == "ema",
            regularisation=plan.regularisation,
            norm=network.normalization,
            scaled=plan.loss_numbers.size > 1,
            one_hot=plan.predicts_classes,
            x=plan.rows,
            trained_on=plan.trained_on,
            shifted=bool((plan.shift != 0).any()),
        )
    )
    if not plan.is_full_batch:
        return program
    scaling = targets.active(plan.target_scaling)
    weights = targets.output_weights(plan.loss, plan.loss_parameter, scaling) if scaling is not None else None
    reported = targets.loss_numbers(plan.loss, plan.loss_parameter, scaling)
    return FullBatch(program, plan.block, known(settings.weight_decay), Memory(plan.start.pairs, plan.start.converged), weights, reported)
