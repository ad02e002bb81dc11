"""Train the same networks by fastmlp and by PyTorch, in float64, and write how far they agree.

    python bench/torch_oracle.py docs/agreement.md

Fifty steps each: ten epochs of five batches, the last one shorter, in fastmlp's order of rows and from the same weights. PyTorch
differentiates by itself; its layers, losses, optimizers, schedules and averages are its own wherever it has them. Exits with 1 where
something that should agree differs by more than 1e-9.
"""

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import fastmlp
from fastmlp.kernels import random
from fastmlp.kernels.losses import LOSSES

AGREES = 1e-9
SIZES, ROWS, BATCH, EPOCHS = (6, 17, 9, 3), 47, 10, 10
STEPS_PER_EPOCH = -(-ROWS // BATCH)
RATES = {"rmsprop": 0.003, "adam": 0.01, "adamw": 0.01, "nadam": 0.01, "adagrad": 0.02, "sgd": 0.1}


class Row(NamedTuple):
    """One comparison: its group and name, what PyTorch does it with, what is asked of fastmlp, and of PyTorch where that says more.

    `differs` says how the definitions differ, where they do; `allowed` how far the trajectories may then be apart.
    """

    group: str
    what: str
    by: str
    settings: Mapping[str, Any] = {}
    activation: str = "tanh"
    normalization: str = "none"
    torch: Mapping[str, Any] = {}
    differs: str = ""
    allowed: float = AGREES


# What PyTorch has not, or has not in a form that takes the same steps.
ELSEWHERE = (
    ("softplus beyond 20", "PyTorch returns z there, up to 2e-9 less"),
    ("lion", "not in PyTorch"),
    ("lbfgs", "`LBFGS` has the same two loops and another line search: the same minimum, by other steps; SciPy's minimum is the test"),
    ("dropout, input_dropout", "other random numbers: the masks are in `regularisation.md`, the float64 oracle recomputes them"),
    ("input_noise", "not in PyTorch"),
    ("class_weight", "`weight=` divides by the sum of the weights of a batch, fastmlp by its rows; see sample_weight"),
    ("swa and batch normalisation", "`update_bn` makes running statistics anew for the mean weights, fastmlp keeps those of training"),
)


def rows(torch: Any) -> Iterator[Row]:
    """Yield all comparisons."""
    F = torch.nn.functional
    activations: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "identity": ("`Identity`", lambda z: z),
        "sigmoid": ("`Sigmoid`", torch.sigmoid),
        "tanh": ("`Tanh`", torch.tanh),
        "relu": ("`ReLU`", F.relu),
        "leaky_relu": ("`LeakyReLU`", F.leaky_relu),
        "elu": ("`ELU`", F.elu),
        "selu": ("`SELU`", F.selu),
        "gelu": ("`GELU`", F.gelu),
        "gelu_tanh": ("`GELU(approximate='tanh')`", lambda z: F.gelu(z, approximate="tanh")),
        "silu": ("`SiLU`", F.silu),
        "mish": ("`Mish`", F.mish),
        "softplus": ("`Softplus`", F.softplus),
        "hard_sigmoid": ("autograd of clamp(z / 6 + 1/2, 0, 1)", lambda z: torch.clamp(z / 6.0 + 0.5, 0.0, 1.0)),
    }
    for name, (by, function) in activations.items():
        yield Row("activation", name, by, activation=name, torch={"activation": function})
    yield Row(
        "activation", "hard_sigmoid", "`Hardsigmoid`", activation="hard_sigmoid", torch={"activation": F.hardsigmoid},
        differs="PyTorch multiplies by 1/6 in single precision, in double precision too", allowed=1e-7,
    )  # fmt: skip

    losses: list[tuple[str, str, Callable[[Any, Any], Any], Mapping[str, Any]]] = [
        ("cross_entropy", "`CrossEntropyLoss`", lambda z, t: F.cross_entropy(z, t, reduction="none"), {}),
        (
            "cross_entropy",
            "`CrossEntropyLoss(label_smoothing=0.2)`",
            lambda z, t: F.cross_entropy(z, t, label_smoothing=0.2, reduction="none"),
            {"label_smoothing": 0.2},
        ),
        ("binary_cross_entropy", "`BCEWithLogitsLoss`", lambda z, t: F.binary_cross_entropy_with_logits(z, t, reduction="none"), {}),
        (
            "binary_cross_entropy",
            "`BCEWithLogitsLoss` of 0.8 t + 0.1",
            lambda z, t: F.binary_cross_entropy_with_logits(z, 0.8 * t + 0.1, reduction="none"),
            {"label_smoothing": 0.2},
        ),
        ("mse", "`MSELoss`", lambda z, t: F.mse_loss(z, t, reduction="none"), {}),
        ("mae", "`L1Loss`", lambda z, t: F.l1_loss(z, t, reduction="none"), {}),
        ("huber", "`HuberLoss(delta=0.5)`", lambda z, t: F.huber_loss(z, t, delta=0.5, reduction="none"), {"huber_delta": 0.5}),
        ("log_cosh", "autograd of log cosh", lambda z, t: torch.log(torch.cosh(z - t)), {}),
        ("quantile", "autograd of max(q e, (q − 1) e)", lambda z, t: torch.maximum(0.8 * (t - z), -0.2 * (t - z)), {"quantile": 0.8}),
        ("poisson", "`PoissonNLLLoss`", lambda z, t: F.poisson_nll_loss(z, t, reduction="none"), {}),
        ("mse_of_sigmoid", "`MSELoss` of `Sigmoid`", lambda z, t: F.mse_loss(torch.sigmoid(z), t, reduction="none"), {}),
        (
            "mse_of_softmax",
            "`MSELoss` of `Softmax` and `one_hot`",
            lambda z, t: F.mse_loss(torch.softmax(z, 1), F.one_hot(t, SIZES[-1]).double(), reduction="none"),
            {},
        ),
    ]
    for name, by, function, settings in losses:
        what = ", ".join([name, *(f"{key} {value}" for key, value in settings.items())])
        yield Row("loss", what, by, {"loss": LOSSES[name].name, **settings}, torch={"loss": function, "form": name})
    yield Row("loss", "reduction sum", "the sum over rows", {"reduction": "sum", "learning_rate": 0.01})
    yield Row("loss", "sample_weight", "`reduction='none'`, weighted", torch={"weighted": True})

    O = torch.optim  # noqa: E741
    decay = {"weight_decay": 0.05}
    optimizers: list[tuple[str, str, Callable[..., Any], Mapping[str, Any], Mapping[str, Any]]] = [
        ("sgd", "`SGD`", O.SGD, {}, {}),
        ("sgd", "`SGD`", O.SGD, decay, decay),
        ("sgd", "`SGD`", O.SGD, {"momentum": 0.9}, {"momentum": 0.9}),
        ("sgd", "`SGD`", O.SGD, {"momentum": 0.9, "nesterov": True}, {"momentum": 0.9, "nesterov": True}),
        ("rmsprop", "`RMSprop`", O.RMSprop, {"beta2": 0.99}, {"alpha": 0.99}),
        ("rmsprop", "`RMSprop`", O.RMSprop, {"beta2": 0.99, "momentum": 0.9, **decay}, {"alpha": 0.99, "momentum": 0.9, **decay}),
        ("adagrad", "`Adagrad`", O.Adagrad, {}, {}),
        ("adagrad", "`Adagrad`", O.Adagrad, {"initial_accumulator_value": 0.1}, {"initial_accumulator_value": 0.1}),
        ("adam", "`Adam`", O.Adam, {}, {}),
        ("adam", "`Adam`", O.Adam, decay, decay),
        ("adamw", "`AdamW`", O.AdamW, decay, decay),
        ("nadam", "`NAdam`", O.NAdam, {}, {}),
        ("nadam", "`NAdam`", O.NAdam, decay, decay),
    ]
    for name, by, kind, settings, torch_settings in optimizers:
        what = ", ".join([name, *(key if value is True else f"{key} {value}" for key, value in settings.items())])
        yield Row(
            "optimizer", what, by, {"optimizer": name, "learning_rate": RATES[name], **settings},
            torch={"optimizer": lambda ps, kind=kind, more=torch_settings, lr=RATES[name]: kind(ps, lr=lr, **more)},
        )  # fmt: skip

    S, total, per_epoch = O.lr_scheduler, EPOCHS * STEPS_PER_EPOCH, STEPS_PER_EPOCH
    each_step: dict[str, tuple[str, Callable[[Any], Any], Mapping[str, Any]]] = {
        "step": (
            f"`StepLR(3 · {per_epoch}, 0.5)`, by steps",
            lambda o: S.StepLR(o, 3 * per_epoch, 0.5),
            {"gamma": 0.5, "step_size": 3},
        ),
        "exponential": (
            "`ExponentialLR`, by steps",
            lambda o: S.ExponentialLR(o, 0.5 ** (1 / (3 * per_epoch))),
            {"gamma": 0.5, "step_size": 3},
        ),
        "linear": ("`LinearLR(1, 0.1)`", lambda o: S.LinearLR(o, 1.0, 0.1, total), {"end_factor": 0.1}),
        "cosine": ("`CosineAnnealingLR`", lambda o: S.CosineAnnealingLR(o, total, 0.01), {"end_factor": 0.1}),
        "inverse": (
            "`LambdaLR`",
            lambda o: S.LambdaLR(o, lambda step: 1.0 / (1.0 + 0.5 * step / per_epoch / 3)),
            {"gamma": 0.5, "step_size": 3},
        ),
    }
    for name, (by, made, settings) in each_step.items():
        yield Row("schedule", name, by, {"schedule": name, **settings}, torch={"schedule": made})
    warmup = 2 * per_epoch
    yield Row(
        "schedule", "cosine, warmup_epochs 2", "`SequentialLR` of `LinearLR` and `CosineAnnealingLR`",
        {"schedule": "cosine", "end_factor": 0.1, "warmup_epochs": 2},
        torch={
            "schedule": lambda o: S.SequentialLR(
                o,
                [S.LinearLR(o, 1.0 / warmup, 1.0, warmup - 1), S.CosineAnnealingLR(o, total - warmup, 0.01)],
                [warmup],
            )
        },
    )  # fmt: skip
    yield Row(
        "schedule", "plateau", "`ReduceLROnPlateau(threshold=0)`",
        {"schedule": "plateau", "gamma": 0.5, "step_size": 1, "learning_rate": 0.1, "loss": "mse", "momentum": 0.95},
        torch={
            "loss": losses[4][2],
            "optimizer": lambda ps: O.SGD(ps, lr=0.1, momentum=0.95),
            "plateau": lambda o: S.ReduceLROnPlateau(o, factor=0.5, patience=1, threshold=0.0),
        },
    )  # fmt: skip
    one_cycle = {"schedule": "one_cycle", "end_factor": 0.1}
    yield Row(
        "schedule", "one_cycle", "`OneCycleLR`", one_cycle,
        torch={"schedule": lambda o: S.OneCycleLR(o, 0.1, total_steps=total, cycle_momentum=False, final_div_factor=0.4)},
        differs="the same curve over one step less: PyTorch's last step has the last rate, fastmlp's next one would have it",
        allowed=1.0,
    )  # fmt: skip
    yield Row(
        "schedule", "one_cycle, stretched", "`LambdaLR` of `OneCycleLR`'s curve", one_cycle,
        torch={"schedule": lambda o: S.LambdaLR(o, lambda step: _one_cycle(step / total))},
    )  # fmt: skip

    yield Row("regulariser", "clip_value 0.02", "`clip_grad_value_`", {"clip_value": 0.02}, torch={"clip_value": 0.02})
    yield Row(
        "regulariser", "clip_norm 0.2", "`clip_grad_norm_`", {"clip_norm": 0.2}, torch={"clip_norm": 0.2},
        differs="PyTorch adds 1e-6 to the length before it divides by it", allowed=1e-5,
    )  # fmt: skip
    yield Row("regulariser", "clip_norm 0.2, exact", "`get_total_norm`", {"clip_norm": 0.2}, torch={"exact_norm": 0.2})
    yield Row("regulariser", "l1 0.01", "autograd of 0.01 · Σ abs w", {"l1": 0.01}, torch={"l1": 0.01})
    yield Row(
        "regulariser", "max_norm 0.7", "`renorm`", {"max_norm": 0.7}, torch={"max_norm": 0.7},
        differs="PyTorch adds 1e-7 to the length before it divides by it", allowed=1e-6,
    )  # fmt: skip
    for kind, by in (("batch", "`BatchNorm1d`"), ("layer", "`LayerNorm`")):
        yield Row("normalisation", kind, by, normalization=kind)
        yield Row(
            "normalisation", f"{kind}, adam", by, {"optimizer": "adam", "learning_rate": 0.01}, normalization=kind,
            torch={"optimizer": lambda ps: O.Adam(ps, lr=0.01)},
        )  # fmt: skip
    yield Row(
        "average", "ema, average_decay 0.9", "`get_ema_multi_avg_fn(0.9)`", {"average": "ema", "average_decay": 0.9},
        torch={"average": "ema"},
    )  # fmt: skip
    yield Row(
        "average", "swa, average_start 0.5", "`AveragedModel`", {"average": "swa", "average_start": 0.5}, torch={"average": "swa"},
    )  # fmt: skip


def _one_cycle(share: float) -> float:
    """Return OneCycleLR's curve from 1/25 to 1 to 0.1, at a share of the training: its _annealing_cos."""

    def between(start: float, end: float, part: float) -> float:
        return end + (start - end) / 2.0 * (1.0 + math.cos(math.pi * part))

    return between(1 / 25, 1.0, share / 0.3) if share < 0.3 else between(1.0, 0.1, (share - 0.3) / 0.7)


def difference(torch: Any, row: Row) -> float:
    """Return the largest difference of parameters, running statistics and losses after fifty steps, relative to the largest of each."""
    generator = np.random.default_rng(2)
    loss = row.settings.get("loss", "cross_entropy")
    output = LOSSES[row.torch.get("form", loss)].output
    x = generator.standard_normal((ROWS, SIZES[0]))
    y = {
        "softmax": lambda: generator.integers(0, SIZES[-1], ROWS),
        "sigmoid": lambda: generator.integers(0, 2, (ROWS, SIZES[-1])),
        "poisson": lambda: generator.poisson(2.0, (ROWS, SIZES[-1])),
    }.get(loss if loss == "poisson" else output, lambda: generator.standard_normal((ROWS, SIZES[-1])))()
    weights = generator.uniform(0.0, 2.0, ROWS) if row.torch.get("weighted") else None
    net = fastmlp.Network(SIZES, row.activation, output, normalization=row.normalization, dtype="float64", seed=3)
    net.parameters[:] += 0.2 * generator.standard_normal(net.parameters.size)
    theirs = _Theirs(torch, net, row)
    plain = {"normalize": "none", "normalize_target": "none"}  # PyTorch gets rows and targets as they are
    settings = {"epochs": EPOCHS, "batch_size": BATCH, "learning_rate": 0.1, **plain, "loss": loss, "seed": 4, **row.settings}
    history = fastmlp.train(net, x, y, sample_weight=weights, **settings)
    losses = theirs.train(x, y, weights, settings)
    pairs = [
        (net.parameters, theirs.parameters()),
        (np.array([epoch.train_loss for epoch in history]), np.array(losses)),
        *zip((*net.running_means, *net.running_variances), theirs.running(), strict=True),
    ]
    return max(float(np.abs(ours - other).max() / np.abs(other).max()) for ours, other in pairs)


class _Theirs:
    """The network in PyTorch, from the parameters that fastmlp starts from."""

    def __init__(self, torch: Any, net: fastmlp.Network, row: Row) -> None:
        self._torch, self._row, self._loss = torch, row, None
        self.model = torch.nn.Sequential().double()
        self._linear = []
        for index, (weight, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
            is_hidden = index + 1 < len(net.weights)
            normed = is_hidden and row.normalization != "none"
            linear = torch.nn.Linear(*weight.shape, bias=not normed, dtype=torch.float64)
            self._linear.append(linear)
            parts = [linear]
            _set(torch, linear.weight, weight.T)
            if normed:
                norm = {"batch": torch.nn.BatchNorm1d, "layer": torch.nn.LayerNorm}[row.normalization](len(bias), dtype=torch.float64)
                _set(torch, norm.weight, net.gammas[index])
                _set(torch, norm.bias, bias)
                parts.append(norm)
            else:
                _set(torch, linear.bias, bias)
            if is_hidden:
                parts.append(_module(torch, row.torch.get("activation", torch.tanh)))
            self.model.extend(parts)
        self._in_use = self.model

    def train(self, x: np.ndarray, y: np.ndarray, weights: np.ndarray | None, settings: Mapping[str, Any]) -> list[float]:
        """Take the steps; return the mean loss of each epoch, each batch before its step."""
        torch, extra = self._torch, self._row.torch
        utils = torch.nn.utils
        parameters = list(self.model.parameters())
        optimizer = extra.get("optimizer", lambda ps: torch.optim.SGD(ps, lr=settings["learning_rate"]))(parameters)
        schedule = extra["schedule"](optimizer) if "schedule" in extra else None
        plateau = extra["plateau"](optimizer) if "plateau" in extra else None
        averaged = self._averaged_model()
        loss_of = extra.get("loss", lambda z, t: torch.nn.functional.cross_entropy(z, t, reduction="none"))
        x_all = torch.tensor(x)
        y_all = torch.tensor(y) if y.ndim == 1 else torch.tensor(y, dtype=torch.float64)
        w_all = torch.ones(len(x), dtype=torch.float64) if weights is None else torch.tensor(weights)
        found = []
        for epoch in range(EPOCHS):
            order = np.arange(len(x))
            random.shuffle(order, random.key_of(settings["seed"], random.SHUFFLE, epoch))
            summed = 0.0
            for first in range(0, len(x), BATCH):
                batch = torch.tensor(order[first : first + BATCH])
                each = loss_of(self.model(x_all[batch]), y_all[batch])
                of_rows = w_all[batch] * (each if each.ndim == 1 else each.mean(dim=1))
                summed += float(of_rows.detach().sum())
                loss = of_rows.sum() if settings.get("reduction") == "sum" else of_rows.sum() / len(batch)
                if "l1" in extra:
                    loss = loss + extra["l1"] * sum(p.abs().sum() for p in parameters)
                optimizer.zero_grad()
                loss.backward()
                if "clip_value" in extra:
                    utils.clip_grad_value_(parameters, extra["clip_value"])
                if "clip_norm" in extra:
                    utils.clip_grad_norm_(parameters, extra["clip_norm"])
                if "exact_norm" in extra:
                    length = utils.get_total_norm([p.grad for p in parameters])
                    for p in parameters:
                        p.grad *= min(1.0, float(extra["exact_norm"] / length))
                optimizer.step()
                if "max_norm" in extra:
                    with torch.no_grad():
                        for linear in self._linear[:-1]:
                            linear.weight.copy_(torch.renorm(linear.weight, 2, 0, extra["max_norm"]))
                if schedule is not None:
                    schedule.step()
                if extra.get("average") == "ema":
                    averaged.update_parameters(self.model)
            found.append(summed / float(w_all.sum()))
            if plateau is not None:
                plateau.step(found[-1])
            if extra.get("average") == "swa" and epoch + 1 > 0.5 * EPOCHS:
                averaged.update_parameters(self.model)
        self._in_use = averaged.module if averaged is not None else self.model
        return found

    def _averaged_model(self) -> Any:
        kind, swa = self._row.torch.get("average"), self._torch.optim.swa_utils
        if kind == "ema":
            averaged = swa.AveragedModel(self.model, multi_avg_fn=swa.get_ema_multi_avg_fn(0.9))
            averaged.update_parameters(self.model)  # the first update copies: the average begins at the start
            return averaged
        return swa.AveragedModel(self.model) if kind == "swa" else None

    def parameters(self) -> np.ndarray:
        """Return what fastmlp calls the vector of parameters: weights the other way round, gamma behind the bias."""
        parts = []
        for module in self._in_use:
            if isinstance(module, self._torch.nn.Linear):
                parts.append(module.weight.detach().numpy().T.ravel())
                if module.bias is not None:
                    parts.append(module.bias.detach().numpy())
            elif any(True for _ in module.parameters()):
                parts += [module.bias.detach().numpy(), module.weight.detach().numpy()]
        return np.concatenate(parts)

    def running(self) -> list[np.ndarray]:
        """Return running means, then running variances."""
        norms = [module for module in self._in_use if isinstance(module, self._torch.nn.BatchNorm1d)]
        return [norm.running_mean.numpy() for norm in norms] + [norm.running_var.numpy() for norm in norms]


def _set(torch: Any, parameter: Any, values: np.ndarray) -> None:
    with torch.no_grad():
        parameter.copy_(torch.tensor(values))


def _module(torch: Any, function: Callable[[Any], Any]) -> Any:
    class Activation(torch.nn.Module):  # type: ignore[misc,name-defined]
        def forward(self, z: Any) -> Any:
            return function(z)

    return Activation()


def page(torch: Any) -> tuple[str, list[str]]:
    """Return the page, and what should agree in it and does not."""
    lines, wrong, group = [], [], ""
    for row in rows(torch):
        found = difference(torch, row)
        if not found <= row.allowed:
            wrong.append(f"{row.group} {row.what}: {found:.1e}, allowed {row.allowed:.0e}")
        verdict = ("differs: " + row.differs if row.differs else "yes") if found <= row.allowed else "**no**"
        lines.append(f"| {row.group if row.group != group else ''} | {row.what} | {row.by} | {found:.0e} | {verdict} |")
        group = row.group
    lines += [f"| {'elsewhere' if index == 0 else ''} | {what} | – | – | {why} |" for index, (what, why) in enumerate(ELSEWHERE)]
    return (
        f"""# fastmlp and PyTorch

Written by `python bench/torch_oracle.py docs/agreement.md`, PyTorch {torch.__version__.partition("+")[0]}, {datetime.now(UTC):%Y-%m-%d}.

Both train a network {"-".join(map(str, SIZES))} in float64 for {EPOCHS * STEPS_PER_EPOCH} steps over {ROWS} rows in batches of {BATCH},
from the same weights and in the same order of rows. What is compared are all parameters afterwards, running statistics, and the mean loss
of each epoch: the largest difference, relative to the largest number of its kind. Up to {AGREES:.0e} that is rounding. Where the
definitions differ, the last column says how. All of this, and what PyTorch does not have, is also held against an oracle in NumPy
(`tests/combinations`).

| | fastmlp | PyTorch | difference | agrees |
| --- | --- | --- | --: | --- |
"""
        + "\n".join(lines)
        + "\n",
        wrong,
    )


def main(arguments: list[str]) -> int:
    """Write the page to the path given; return 1 where something does not agree."""
    import torch

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)  # NAdam keeps the product of its momenta in the default type, not in that of the parameters
    text, wrong = page(torch)
    Path(arguments[0]).write_text(text, encoding="utf-8")
    sys.stdout.writelines(f"{line}\n" for line in wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
