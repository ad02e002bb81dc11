"""What `verbose` of the estimators prints: scikit-learn's lines, to standard output."""


def iteration(number: int, loss: float) -> None:
    """Print the loss of an epoch, or of an iteration."""
    print(f"Iteration {number}, loss = {loss:.8f}")


def validation_score(score: float) -> None:
    """Print the score of the rows held out."""
    print(f"Validation score: {score:f}")


def stopping(message: str) -> None:
    """Print why a training ends, or its rate falls."""
    print(message)
