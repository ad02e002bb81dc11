"""On-line learning from a stream: each row is predicted first, then learned from, and seen once.

The stream is MNIST, row by row as bytes; in the middle the digits are given out anew, as if the writers had agreed on other names. What
counts is how often the prediction was right before the answer was known.
"""

import numba
import numpy as np

import fastmlp
from fastmlp.kernels import make_scratch, predict, train_step

LEARNING_RATE = 0.02
CHUNK = 2000  # rows that arrive together


@numba.njit
def follow(state, scratch, x, y, probability, learning_rate):
    """Predict and learn the rows x (n, K) of a chunk with answers y (n,), one after the other; return how many were predicted right."""
    right = 0
    for row in range(x.shape[0]):
        predict(state, scratch, x[row], probability)
        right += probability.argmax() == y[row]
        train_step(state, scratch, x[row : row + 1], y[row : row + 1], learning_rate)
    return right


def main():
    """Follow the stream, and print the share of right predictions from chunk to chunk."""
    data = fastmlp.load_dataset("mnist")
    network = fastmlp.Network([784, 64, 10], seed=0)
    state, _ = network.compiled()
    scratch, probability = make_scratch(state), np.empty(10, np.float32)

    x, y = data.x_train.reshape(len(data.x_train), 784), data.y_train.astype(np.int64)
    half = len(x) // 2
    y[half:] = (y[half:] + 3) % 10  # from here on a 0 is called 3
    shares = []
    for first in range(0, len(x), CHUNK):
        rows = slice(first, first + CHUNK)
        shares.append(follow(state, scratch, x[rows], y[rows], probability, LEARNING_RATE) / len(x[rows]))
    print("right before the answer, chunk by chunk:", " ".join(f"{share:.0%}" for share in shares))

    last_before, after, last = shares[half // CHUNK - 1], shares[half // CHUNK], shares[-1]
    assert last_before > 0.9
    assert after < last_before - 0.1  # the change hurts
    assert last > 0.95  # and is learned
    assert network.evaluate(data.x_test, (data.y_test + 3) % 10)["accuracy"] > 0.9  # the network itself has learned


if __name__ == "__main__":
    main()
