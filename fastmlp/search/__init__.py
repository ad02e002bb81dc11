"""Many trainings: a bank that runs them, repeats, sweeps, cross-validation, and their statistics. Never prints."""
