"""Where polars comes from: imported where a table is read, an extra."""

from types import ModuleType

from fastmlp.errors import MissingExtra


def polars() -> ModuleType:
    """Return polars. Raises MissingExtra without it."""
    try:
        import polars
    except ImportError as error:
        raise MissingExtra("reading a table needs polars; run: pip install 'fastmlp[tables]'") from error
    return polars


def narwhals() -> ModuleType:
    """Return narwhals' stable interface. Raises MissingExtra without it."""
    try:
        import narwhals.stable.v1 as narwhals
    except ImportError as error:
        raise MissingExtra("reading a frame of another library needs narwhals; run: pip install 'fastmlp[tables]'") from error
    return narwhals
