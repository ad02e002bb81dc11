"""What settings and their values are called: here, in earlier versions, and in other libraries."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from fastmlp.errors import ConfigError, warn

# Settings, and values of settings, of version 0.1.0 that have another name now. Accepted with a warning for one version; what was recorded
# under them is read as it was meant, without one.
RENAMED = {
    "norm_layers": "normalization", "decay_rate": "gamma", "decay_epochs": "step_size", "final_rate": "end_factor", "monitor": "metric",
}  # fmt: skip
RENAMED_VALUES = {("initializer", "report"): "course"}

# What scikit-learn, Keras, PyTorch and XGBoost call what is a setting or a name here, without case, hyphens and underscores.
ALIASES: Mapping[str, str] = {
    # settings
    "lr": "learning_rate", "learningrateinit": "learning_rate", "eta": "learning_rate", "eta0": "learning_rate",
    "maxiter": "epochs", "nepochs": "epochs", "numepochs": "epochs", "maxepochs": "epochs", "nepoch": "epochs", "niter": "epochs",
    "nestimators": "epochs", "numboostround": "epochs", "iterations": "epochs",
    "batch": "batch_size", "minibatch": "batch_size", "minibatchsize": "batch_size", "bs": "batch_size",
    "hiddenlayersizes": "hidden", "hiddenlayers": "hidden", "hiddensizes": "hidden", "hiddenunits": "hidden", "units": "hidden",
    "layers": "hidden", "activationfunction": "activation", "outactivation": "output", "outputactivation": "output",
    "alpha": "weight_decay", "l2": "weight_decay", "l2penalty": "weight_decay", "reglambda": "weight_decay", "lambda": "weight_decay",
    "regalpha": "l1", "l1penalty": "l1", "l1ratio": "l1",
    "solver": "optimizer", "opt": "optimizer", "optim": "optimizer", "beta": "beta1", "betas": "beta1", "rho": "beta2", "eps": "epsilon",
    "initialaccumulator": "initial_accumulator_value",
    "nesterovsmomentum": "nesterov", "clipnorm": "clip_norm", "globalclipnorm": "clip_norm", "maxgradnorm": "clip_norm",
    "gradclip": "clip_norm", "gradientclipval": "clip_norm", "clipvalue": "clip_value",
    "validationsplit": "validation", "validationfraction": "validation", "validationdata": "validation", "evalset": "validation",
    "validationsize": "validation", "testsize": "validation",
    "earlystopping": "patience", "earlystoppingrounds": "patience", "niternochange": "patience", "restorebestweights": "restore_best",
    "savebest": "restore_best", "randomstate": "seed", "randomseed": "seed", "nthread": "threads", "njobs": "threads",
    "numthreads": "threads", "workers": "threads", "criterion": "loss", "lossfunction": "loss", "objective": "loss", "lossfn": "loss",
    "lrschedule": "schedule", "lrscheduler": "schedule", "scheduler": "schedule", "warmup": "warmup_epochs",
    "dropoutrate": "dropout", "droprate": "dropout", "kernelinitializer": "initializer", "init": "initializer",
    "initialization": "initializer", "weightinit": "initializer", "classweights": "class_weight", "scaleposweight": "class_weight",
    "metrics": "metric", "evalmetric": "metric", "scoring": "metric", "rocauc": "auc", "f1score": "f1", "f1macro": "f1",
    "r2score": "r2", "rsquared": "r2", "r²": "r2", "rootmeansquarederror": "rmse", "balacc": "balanced_accuracy", "acc": "accuracy",
    "pinballloss": "pinball", "quantileloss": "pinball",
    "scaler": "normalize", "standardize": "normalize", "batchnorm": "normalization",
    "batchnormalization": "normalization", "layernorm": "normalization", "maxtime": "time_budget",
    # activations
    "swish": "silu", "logistic": "sigmoid", "linear": "identity", "none": "identity", "hardtanh": "hard_sigmoid",
    "geluapproximate": "gelu_tanh",
    # outputs and losses
    "categoricalcrossentropy": "cross_entropy", "sparsecategoricalcrossentropy": "cross_entropy", "crossentropyloss": "cross_entropy",
    "logloss": "cross_entropy", "nll": "cross_entropy", "nllloss": "cross_entropy", "multi:softmax": "cross_entropy",
    "multi:softprob": "cross_entropy", "bce": "binary_cross_entropy", "bceloss": "binary_cross_entropy",
    "bcewithlogitsloss": "binary_cross_entropy", "binarycrossentropy": "binary_cross_entropy", "binary:logistic": "binary_cross_entropy",
    "meansquarederror": "mse", "mseloss": "mse", "squarederror": "mse", "squaredloss": "mse", "l2loss": "mse", "reg:squarederror": "mse",
    "meanabsoluteerror": "mae", "l1loss": "mae", "absoluteerror": "mae", "reg:absoluteerror": "mae", "huberloss": "huber",
    "smoothl1": "huber", "smoothl1loss": "huber", "logcosh": "log_cosh", "pinball": "quantile", "poissonnllloss": "poisson",
    "count:poisson": "poisson",
    # optimizers
    "gd": "sgd", "gradientdescent": "sgd", "stochasticgradientdescent": "sgd", "rmspropoptimizer": "rmsprop", "lbfgsb": "lbfgs",
    # initializers
    "xavieruniform": "glorot_uniform", "xaviernormal": "glorot_normal", "xavier": "glorot_uniform", "glorot": "glorot_uniform",
    "kaiminguniform": "he_uniform", "kaimingnormal": "he_normal", "kaiming": "he_normal", "he": "he_normal", "lecun": "lecun_normal",
    "zero": "zeros",
}  # fmt: skip


# What is no activation of hidden layers, or needs a word.
ACTIVATION_HINTS: Mapping[str, str] = {
    "softmax": "; softmax is no activation of hidden layers: the last one gets it by output='softmax'",
    "linear": "; did you mean 'identity'? The last layer gets it by output='identity'",
}


def activation_hint(name: str, known: Iterable[str]) -> str:
    """Return what `nearest` does for activations of hidden layers, and what to say of those of the last one."""
    return ACTIVATION_HINTS.get(folded(name)) or nearest(name, known)


def folded(name: str) -> str:
    """Return a name without case, hyphens and underscores: LeakyReLU and leaky-relu are leaky_relu."""
    return name.casefold().replace("-", "").replace("_", "").replace(" ", "")


def known_name(name: str, known: Iterable[str]) -> str:
    """Return the known name that is meant, however it is spelled (see `folded`); any other as it is."""
    names = list(known)
    return names[names.index(name)] if name in names else next((one for one in names if folded(one) == folded(name)), name)


MOST_LISTED = 20  # names in one line

# What is no setting anywhere here, and what there is in its place.
NO_SETTINGS: Mapping[str, str] = {
    "shuffle": "; the rows of every epoch are shuffled, by the seed",
}


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the known name that others call so, or that is nearest to a wrong one; "" where there is none."""
    names = list(known)
    meant = ALIASES.get(folded(name), "")
    near = [meant] if meant in names else [one for one in names if folded(one) == folded(name)]
    near = near or difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def unknown(name: str, known: Iterable[str]) -> str:
    """Return what to say of a name that is no setting: the one that is meant, or where all of them stand."""
    names = list(known)
    hint = NO_SETTINGS.get(folded(name)) or nearest(name, names)
    if hint or len(names) <= MOST_LISTED:
        return hint or f"; known are {', '.join(names)}"
    return f"; there are {len(names)} of them: {', '.join(names[:3])}, …; all by fastmlp train --help-all, or TrainingSettings.names()"


def current_names(values: Mapping[str, Any], warn: bool = True) -> dict[str, Any]:
    """Return settings under the names that they have now, with a FutureWarning for each that came under an earlier one."""
    current = {}
    for name, value in values.items():
        if name in RENAMED:
            if RENAMED[name] in values:
                raise ConfigError(f"{name}: expected one of {name!r} and {RENAMED[name]!r}, got both; {RENAMED[name]!r} is its name now")
            if warn:
                warn_renamed(name, RENAMED[name])
        current[RENAMED.get(name, name)] = value if warn else current_value(name, value, warn=False)
    return current


def warn_renamed(before: str, now: str) -> None:
    """Warn that a name has changed."""
    warn(f"{before} is called {now} now; the next version will not know the old name", FutureWarning)


def current_value(name: str, value: Any, warn: bool) -> Any:
    """Return a value of a setting under the name that it has now, with a FutureWarning, if wanted, for an earlier one."""
    now = RENAMED_VALUES.get((name, value)) if isinstance(value, str) else None
    if now is not None and warn:
        warn_renamed(f"{name} {value!r}", repr(now))
    return value if now is None else now
