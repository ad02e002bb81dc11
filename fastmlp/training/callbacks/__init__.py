"""What a training tells its callbacks, and those that come with fastmlp."""
