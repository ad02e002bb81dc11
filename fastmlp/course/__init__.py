"""The course report that this project grew out of: its experiments run again, and its claims checked. Never prints."""
