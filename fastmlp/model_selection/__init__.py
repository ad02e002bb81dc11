"""scikit-learn's GridSearchCV and RandomizedSearchCV, with the trainings of all settings and folds on all cores at once."""

from fastmlp.errors import MissingExtra

try:
    import sklearn  # noqa: F401
except ImportError:
    raise MissingExtra("fastmlp.model_selection: expected scikit-learn, found none; run: pip install 'fastmlp[sklearn]'") from None

from fastmlp.model_selection.search import GridSearchCV, RandomizedSearchCV

__all__ = ["GridSearchCV", "RandomizedSearchCV"]
