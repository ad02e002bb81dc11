"""Training: runs of steps over a source of rows, one epoch after the other. Never prints."""
