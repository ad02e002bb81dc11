"""Named arrays and metadata <-> files: atomic writing, model files, run folders.

Nothing here knows what a network is. Import from the modules: this file loads none of them, so that only a caller who stores arrays
waits for numpy.
"""
