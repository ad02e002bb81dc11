"""How a result is said: one function for each kind of number, for terminals, pages and notes alike. Plain values -> text.

Accuracies and shares are parts of one and said in percent; a difference of two of them is said in points, hundredths of one.
"""

MISSING = "–"
PERCENT, POINTS, NUMBER, COUNT = "percent", "points", "number", "count"  # units


def unit_of(quantity: str) -> str:
    """Return the unit of a quantity by its name: "test accuracy", "gain in test accuracy", "share of class 1", "training loss"."""
    if quantity.startswith(("gain", "difference")):
        return POINTS if "accuracy" in quantity else NUMBER
    if "accuracy" in quantity or quantity.startswith("share"):
        return PERCENT
    return COUNT if quantity.startswith("epoch") else NUMBER


def loss(value: float | None) -> str:
    """Return a loss, or another number without a unit, with four decimals, or four digits where it is very small or large."""
    if value is None:
        return MISSING
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.3e}"


def r2(value: float | None) -> str:
    """Return the share of the variance of y that predictions explain, with four decimals."""
    return MISSING if value is None else f"{value:.4f}"


def percent(value: float | None, decimals: int = 2) -> str:
    """Return a part of one: "97.61 %"."""
    return MISSING if value is None else f"{bare_percent(value, decimals)} %"


def bare_percent(value: float, decimals: int = 2) -> str:
    """Return a part of one as it stands below a heading with the unit: "97.61"."""
    return f"{100 * value:.{decimals}f}"


def amount(mean: float | None, std: float | None, unit: str) -> str:
    """Return a mean and its standard deviation with their unit: "97.61 ± 0.12 %", "+1.59 ± 0.09 points", "0.0812 ± 0.0021"."""
    name = {PERCENT: " %", POINTS: " points", NUMBER: "", COUNT: ""}[unit]
    return MISSING if mean is None else bare_amount(mean, std, unit) + name


def bare_amount(mean: float | None, std: float | None, unit: str) -> str:
    """Return the same without its unit, which stands in the heading above."""
    if mean is None:
        return MISSING
    if unit == NUMBER:
        said = loss(mean)
        return said + ("" if std is None else f" ± {std:.4f}" if "e" not in said else f" ± {std:.0e}")
    if unit == COUNT:
        return f"{mean:.1f}" + ("" if std is None else f" ± {std:.1f}")
    return f"{100 * mean:{'+' if unit == POINTS else ''}.2f}" + ("" if std is None else f" ± {100 * std:.2f}")


def distance(difference: float, unit: str, of: str = "loss") -> str:
    """Return how far two results lie apart, whichever is the better one: "3.14 points", "0.0123 of loss"."""
    return f"{100 * abs(difference):.2f} points" if unit == POINTS else f"{loss(abs(difference))} of {of}"


def ahead(difference: float, unit: str, of: str = "loss") -> str:
    """Return how much better one result is than another, or how much worse, where the difference is below 0: "3.14 points worse"."""
    return f"{distance(difference, unit, of)} {'worse' if difference < 0 else 'better'}"


def noise(beyond_noise: bool | None) -> str:
    """Return whether a difference, whatever its sign, is more than the choice of seeds makes; None: too few of them to say."""
    return {True: "beyond seed noise", False: "not beyond seed noise", None: "too few seeds to tell it from noise"}[beyond_noise]


def interval(low: float, high: float, n: int, unit: str, of: str = "loss") -> str:
    """Return the interval of a difference over n pairs: "95 % interval 0.31 to 1.12 points, 5 seeds"."""
    ends = f"{100 * low:.2f} to {100 * high:.2f} points" if unit == POINTS else f"{loss(low)} to {loss(high)} of {of}"
    return f"95 % interval {ends}, {n} seeds"
