"""Experiments of many trainings: a bank that runs them, repeats, sweeps, cross-validation, the report reproduced. Never prints."""
