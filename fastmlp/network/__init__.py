"""What a network is: layers and parameters, inference, users' arrays and formulas at its boundary, its form in files. Trains nothing."""

from fastmlp.network.fitting import network_for, settings_for
from fastmlp.network.layers import Layer
from fastmlp.network.network import Network

__all__ = ["Layer", "Network", "network_for", "settings_for"]
