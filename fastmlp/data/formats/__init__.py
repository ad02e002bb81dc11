"""Tables that people have, read into one form: a polars DataFrame."""

from fastmlp.data.formats.table import read_table

__all__ = ["read_table"]
