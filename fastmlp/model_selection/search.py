"""GridSearchCV and RandomizedSearchCV: scikit-learn's, told to train as a bank."""

from typing import Any, Self

from sklearn import model_selection

from fastmlp.model_selection.bank import as_bank


class GridSearchCV(model_selection.GridSearchCV):
    """scikit-learn's GridSearchCV; an MLPClassifier or MLPRegressor of fastmlp is trained for all settings and folds at once.

    It may stand alone, at the end of a Pipeline, or in a TransformedTargetRegressor. Parameters, attributes and results are those of
    sklearn.model_selection.GridSearchCV, but that n_jobs=None means all cores. Each core makes one training at a time, in a thread of this
    process; the steps of a pipeline before its last are fitted once per fold. What cannot be trained so is trained as scikit-learn does
    it, and a UserWarning says why; docs/from-scikit-learn.md.

    >>> from fastmlp import MLPClassifier
    >>> from fastmlp.model_selection import GridSearchCV
    >>> x, y = [[0, 0], [0, 1], [1, 0], [1, 1]] * 5, [0, 1, 1, 0] * 5
    >>> search = GridSearchCV(MLPClassifier((8,), solver="lbfgs", random_state=1), {"alpha": [1e-4, 10.0]}).fit(x, y)
    >>> search.best_params_, search.best_score_
    ({'alpha': 0.0001}, np.float64(1.0))
    """

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Train for every setting and fold, rank the settings, and train the best one on all rows; see scikit-learn's fit."""
        with as_bank(self, self.param_grid):
            super().fit(X, y, **params)
        return self


class RandomizedSearchCV(model_selection.RandomizedSearchCV):
    """scikit-learn's RandomizedSearchCV, trained as fastmlp.model_selection.GridSearchCV is."""

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Train for n_iter settings drawn, and every fold, rank them, and train the best one on all rows; see scikit-learn's fit."""
        with as_bank(self, self.param_distributions):
            super().fit(X, y, **params)
        return self
