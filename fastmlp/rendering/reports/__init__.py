"""What pages say about runs: `pages` makes them, of facts, tables, figures and methods."""

from fastmlp.rendering.reports.pages import ModelFile, cv_page, repeat_page, reproduction_page, sweep_page, training_page

__all__ = ["ModelFile", "cv_page", "repeat_page", "reproduction_page", "sweep_page", "training_page"]
