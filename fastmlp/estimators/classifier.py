"""MLPClassifier: scikit-learn's classifier, trained by fastmlp."""

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import unique_labels
from sklearn.utils.validation import check_is_fitted

from fastmlp.errors import DataError
from fastmlp.estimators import columns as of_columns
from fastmlp.estimators import ensemble, files, fitting, labels, parameters, problems, scores, tasks, workers
from fastmlp.estimators import rows as of_rows
from fastmlp.estimators.fitting import Given
from fastmlp.estimators.labels import Labels
from fastmlp.network import outputs
from fastmlp.reproducible import log


def takes_steps(estimator: Any) -> bool:
    """Return whether the solver of an estimator goes on step by step, as partial_fit needs it; AttributeError where it does not."""
    if estimator.solver == "lbfgs":
        raise AttributeError("partial_fit is only available for stochastic optimizers. lbfgs is not stochastic.")
    return True


class MLPClassifier(tasks.CallbackSupport, ClassifierMixin, BaseEstimator):
    """scikit-learn's MLPClassifier, trained by fastmlp: every parameter of it with its meaning, and more; docs/from-scikit-learn.md.

    hidden_layer_sizes: units of the hidden layers. activation: identity, logistic, tanh, relu, or another of fastmlp's; one, or one per
    layer. solver: adam, sgd, lbfgs, or another of fastmlp's optimizers. alpha: the L2 penalty, divided by what the rows of a batch count.
    learning_rate: of sgd, "constant", "invscaling" or "adaptive"; schedule: fastmlp's, over max_iter epochs, with warmup_epochs, gamma,
    step_size and end_factor. weight_decay: of adamw and lion, in place of alpha. loss: "log_loss", or "squared_error".
    label_smoothing: share of each label that is spread over all classes. class_weight: "balanced", or {class: weight}. dropout: share of
    the hidden units left out, one or one per layer. restore_best: end with the best weights by rows held out; None: with early stopping.
    dtype: of the parameters, "float32" or "float64"; None: that of X. n_estimators: networks that are trained, from random states drawn
    from random_state, and answer together by the mean of their probabilities. threads: None for all cores that help. callbacks: see
    fastmlp.callbacks. The others are scikit-learn's.

    After fit: classes_, coefs_, intercepts_, loss_, loss_curve_, best_loss_, validation_scores_, best_validation_score_, n_iter_, t_,
    n_layers_, n_outputs_, out_activation_, n_features_in_, feature_names_in_, and network_, the fastmlp.Network. networks_: a list of it.
    With n_estimators it has several, and estimators_ an estimator of each, which has network_, the weights and the curves in place of the
    ensemble; loss_ is the mean of theirs, n_iter_ and t_ the largest.

    >>> from fastmlp import MLPClassifier
    >>> model = MLPClassifier((8,), solver="lbfgs", random_state=1).fit([[0, 0], [0, 1], [1, 0], [1, 1]], ["no", "yes", "yes", "no"])
    >>> model.predict([[0, 1], [1, 1]])
    array(['yes', 'no'], dtype='<U3')
    """

    coefs_ = property(fitting.weights_of, fitting.assign_weights)
    intercepts_ = property(fitting.biases_of, fitting.assign_biases)
    networks_ = property(ensemble.networks_of)

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        loss: str = "log_loss",
        label_smoothing: float = 0.0,
        class_weight: Any = None,
        dropout: Any = 0.0,
        schedule: str | None = None,
        warmup_epochs: float | None = None,
        gamma: float | None = None,
        step_size: float | None = None,
        end_factor: float | None = None,
        weight_decay: float | None = None,
        restore_best: bool | None = None,
        dtype: Any = "float32",
        n_estimators: int = 1,
        threads: int | None = None,
        callbacks: Any = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.loss = loss
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.dropout = dropout
        self.schedule = schedule
        self.warmup_epochs = warmup_epochs
        self.gamma = gamma
        self.step_size = step_size
        self.end_factor = end_factor
        self.weight_decay = weight_decay
        self.restore_best = restore_best
        self.dtype = dtype
        self.n_estimators = n_estimators
        self.threads = threads
        self.callbacks = callbacks

    @tasks.managed
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None, sample_weight_val: Any = None
    ) -> Self:  # fmt: skip
        """Train on rows X (n, K), dense or sparse, and labels y (n,), or y (n, L) of 0 and 1.

        sample_weight (n,): what each row counts. X_val, y_val, sample_weight_val: rows to judge each epoch by, in place of those that early
        stopping holds out. Raises DataError or ConfigError, both ValueError.
        """
        checked = parameters.checked(self)
        goes_on = bool(self.warm_start) and fitting.has_weights(self) and hasattr(self, "classes_")
        X, y = of_rows.checked(self, X, y, dtype=checked.dtype, reset=not goes_on)
        y = labels.as_labels(y)
        known = labels.found_in(y)
        if goes_on and (known.is_multilabel != self._labels.is_multilabel or set(known.classes) != set(self.classes_)):
            raise DataError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. Previously got "
                f"{self.classes_}, `y` has {known.classes}"
            )
        with tasks.of_fit(self, X, y, sample_weight, fitting.most_epochs(checked)):
            self._train(X, y, sample_weight, known, checked, (X_val, y_val, sample_weight_val), goes_on=goes_on, is_single=False)
        return self

    @available_if(takes_steps)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train for one epoch over these rows, the optimizer as the last call left it.

        classes: all that may ever come; asked for at the first call, and may be left out later.
        """
        checked = parameters.checked(self)
        is_first = not hasattr(self, "classes_")
        if is_first and classes is None:
            raise DataError("classes must be passed on the first call to partial_fit.")
        goes_on = fitting.has_weights(self)
        X, y = of_rows.checked(self, X, y, dtype=checked.dtype, reset=not goes_on)
        y = labels.as_labels(y)
        if is_first:
            known = labels.found_in(y) if y.ndim == 2 else Labels(unique_labels(classes), False)
        else:
            known = self._labels
            if classes is not None and not np.array_equal(known.classes, unique_labels(classes)):
                raise DataError(f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {known.classes!r}")
        self._train(X, y, sample_weight, known, checked, (None, None, None), goes_on=goes_on, is_single=True)
        return self

    def _train(
        self, x: Any, y: np.ndarray, sample_weight: Any, known: Labels, checked: parameters.Parameters, judged: tuple[Any, Any, Any], *,
        goes_on: bool, is_single: bool,
    ) -> None:  # fmt: skip
        def train_one(member: Any, of_member: parameters.Parameters) -> None:
            member._train(x, y, sample_weight, known, of_member, judged, goes_on=goes_on, is_single=is_single)

        ensemble.check_count(self, checked, goes_on)
        if checked.n_estimators > 1:
            ensemble.train(self, checked, train_one, goes_on=goes_on)
            self.classes_, self._labels = known.classes, known
            return
        problem = problems.of_classes(known.classes.size, known.is_multilabel, self.loss, self.label_smoothing)
        weight = fitting.as_weights(sample_weight, x.shape[0])
        of_classes = labels.weights(self.class_weight, y, known)
        if of_classes is not None:
            of_classes = fitting.as_weights(of_classes, x.shape[0], "class_weight")
            weight = of_classes if weight is None else weight * of_classes
        held_out = None
        fitting.check_judged(*judged)
        if judged[0] is not None:
            x_val, y_val = of_rows.checked(self, judged[0], judged[1], dtype=checked.dtype, reset=False)
            held_out = (x_val, known.numbers(labels.as_labels(y_val)), fitting.as_weights(judged[2], x_val.shape[0], "sample_weight_val"))
        # as in scikit-learn: of two classes the share of each is kept, of more it is left to chance
        stratify = y if problem.output == "sigmoid" and problem.n_outputs == 1 else None
        told = tasks.of_epochs(self, x, y, sample_weight, {"classes_": known.classes, "_labels": known, **fitting.known_of(problem)})
        given = Given(x, known.numbers(y), weight, held_out, stratify, told)
        names = None if known.is_multilabel or known.classes.size < 2 else known.classes
        fitting.train(self, checked, problem, given, names, goes_on=goes_on, is_single=is_single)
        self.classes_, self._labels = known.classes, known

    def _outputs(self, x: Any) -> list[np.ndarray]:
        """Return z (n, N) of the output layer, of each network."""
        check_is_fitted(self, "networks_")
        networks = self.networks_
        rows = of_rows.checked_rows(self, x, None if self.dtype is None else networks[0].dtype)
        threads = workers.threads(self.threads)
        return [of_rows.outputs(network, rows, threads) for network in networks]

    def _probabilities(self, z: np.ndarray) -> np.ndarray:
        """Return probabilities (n, C), float64, in the order of classes_, or (n, L) of several labels, of outputs z (n, N)."""
        wide = z.astype(np.float64)
        found = outputs.probabilities(self._problem.output, wide)
        if self.classes_.size == 1:
            return np.ones_like(found)
        if found.shape[1] == 1 and not self._labels.is_multilabel:
            return np.concatenate((outputs.probabilities(self._problem.output, -wide), found), axis=1)
        return found

    def predict(self, X: Any) -> np.ndarray:
        """Return the labels (n,) of rows X (n, K), or 0 and 1 (n, L): those of the largest probability, or of one above a half."""
        z = self._outputs(X)
        if self.classes_.size == 1 and not self._labels.is_multilabel:
            return np.repeat(self.classes_, len(z[0]))
        if len(z) > 1:
            mean = ensemble.mean([self._probabilities(each) for each in z])
            numbers = (mean > 0.5).astype(np.int64) if self._labels.is_multilabel else mean.argmax(axis=1)[:, None]
        else:
            numbers = scores.numbers_of_classes(self._problem, z[0])
        if self._labels.is_multilabel:
            return numbers
        found: np.ndarray = self.classes_[numbers[:, 0]]
        return found

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return probabilities (n, C) of rows X (n, K), in the order of classes_; (n, L) of several labels. float32 for X of float32."""
        found = ensemble.mean([self._probabilities(z) for z in self._outputs(X)])
        answers: np.ndarray = found.astype(of_rows.of_answers(X), copy=False)
        return answers

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithms of `predict_proba`."""
        found = self.predict_proba(X)
        return log(found).astype(found.dtype)

    def save(self, path: Any) -> None:
        """Write the estimator to a safetensors file, atomically: network, parameters, labels. fastmlp.Network.load reads it, too.

        Callbacks and a random_state that is no number are left out, and so is the optimizer: partial_fit begins with a new one.
        """
        files.save(self, path)

    @classmethod
    def load(cls, path: Any) -> Self:
        """Read an estimator that `save` wrote. Raises ModelFileError where the file is damaged, or holds none of this kind."""
        estimator, described = files.load(cls, path)
        known = Labels(described["classes"], described["is_multilabel"])
        for one in (estimator, *ensemble.members_of(estimator)):
            one._problem = problems.of_classes(known.classes.size, known.is_multilabel, one.loss, one.label_smoothing)
            one.classes_, one._labels = known.classes, known
        loaded: Self = estimator
        return loaded

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = of_columns.known_of(self) is not None
        tags.classifier_tags.multi_label = True
        return tags
