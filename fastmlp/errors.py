"""The errors that fastmlp raises on purpose, each with the exit code that the command line gives it; and its warnings.

    FastmlpError                  70   a bug in fastmlp, when raised bare
    ├── TrainingError              1   training diverged
    ├── ScoreMissed                1   a score that was demanded was not reached
    ├── DataError (ValueError)    65   data that cannot be used as it is
    ├── ModelFileError (ValueError) 65 a model file that is damaged or means nothing
    ├── InputNotFound             66   a file or folder that was named does not exist
    ├── DatasetUnavailable        69   a data set that no source could provide
    ├── MissingExtra              69   an optional package that is not installed
    ├── MissingName (AttributeError) 69 a name of fastmlp whose optional package is not installed
    ├── NotEnoughMemory           71   more memory needed than this process may use
    ├── OutputError               73   an output that cannot be created
    │   └── WriteError            74   an output that broke off while it was written
    ├── RunInUse                  75   a run folder that another process is writing
    └── ConfigError (ValueError)  78   a setting that is unknown, out of range or contradicts another

Every message is one line: what was expected, what came, what to do next. That of DatasetUnavailable has one for each source.
"""

import re
import sys
import warnings

# Packages that call fastmlp for a user, or lie between two of its functions.
BETWEEN = ("fastmlp", "numba", "sklearn", "contextlib")


class FastmlpError(Exception):
    """Base of every error that fastmlp raises on purpose."""

    exit_code = 70

    def __str__(self) -> str:
        """Return the message in one line: what is quoted in it, an array for example, may have several."""
        return re.sub(r"\s*[\r\n]\s*", " ", super().__str__())


class TrainingError(FastmlpError):
    """Training cannot go on, for example because the loss is not finite."""

    exit_code = 1


class ScoreMissed(FastmlpError):
    """Training ended below a score that was demanded."""

    exit_code = 1


class DataError(FastmlpError, ValueError):
    """Data have the wrong shape, type, length or values."""

    exit_code = 65


class ModelFileError(FastmlpError, ValueError):
    """A model file is damaged, of an unknown format, or does not describe a network."""

    exit_code = 65


class InputNotFound(FastmlpError, FileNotFoundError):
    """A file or folder that was named as input does not exist."""

    exit_code = 66


class DatasetUnavailable(FastmlpError):
    """No source could provide a data set."""

    exit_code = 69

    def __str__(self) -> str:
        """Return the message, which has a line for each source that was tried."""
        return Exception.__str__(self)


class MissingExtra(FastmlpError, ImportError):
    """A feature needs an optional package that is not installed."""

    exit_code = 69


class MissingName(FastmlpError, AttributeError):
    """A name of fastmlp needs an optional package that is not installed.

    An AttributeError, so that hasattr says no; Python has no class that is an ImportError, too.
    """

    exit_code = 69


class NotEnoughMemory(FastmlpError, MemoryError):
    """A step needs more memory than this process may use."""

    exit_code = 71


class OutputError(FastmlpError):
    """An output file or folder cannot be created."""

    exit_code = 73


class WriteError(OutputError):
    """Writing an output broke off, for example because the disk is full."""

    exit_code = 74


class RunInUse(FastmlpError):
    """Another process is writing to this run folder."""

    exit_code = 75


class ConfigError(FastmlpError, ValueError):
    """A setting is unknown, out of range, or contradicts another."""

    exit_code = 78


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn whoever called fastmlp, by whatever way: the warning points at the nearest line that is not fastmlp's own."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in BETWEEN:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
