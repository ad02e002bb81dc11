"""Bytes to arrays: the strict IDX format, where data sets come from, and what a data set is. Knows no network."""
