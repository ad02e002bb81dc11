"""What a network does, looked at closely: its gradient checked against differences, what it gets wrong, its weights. Never prints."""
