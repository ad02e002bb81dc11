"""What happens to inputs and targets outside of the layers: fitted on the rows trained on, kept by the network."""

from fastmlp.preprocessing.columns import Columns
from fastmlp.preprocessing.inputs import InputScaling
from fastmlp.preprocessing.targets import TargetScaling

__all__ = ["Columns", "InputScaling", "TargetScaling"]
