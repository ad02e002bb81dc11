"""Learning from data that arrive in pieces of any size and are seen once, with a process that ends in between.

The pieces are rows of MNIST, from one to 100 at a time. After half of them the network and the state of its optimizer go to a file each,
and what is read back goes on as if nothing had happened.
"""

import tempfile
from pathlib import Path

import numpy as np

import fastmlp

LARGEST = 100
# the gradients of a piece are added up: a small piece moves the weights little
SETTINGS = {"batch_size": LARGEST, "momentum": 0.5, "learning_rate": 0.005, "reduction": "sum"}


def pieces(x, y, seed):
    """Yield x and y in pieces of random sizes."""
    sizes = np.random.default_rng(seed).integers(1, LARGEST + 1, len(x))
    ends = [end for end in np.cumsum(sizes) if end < len(x)]
    for first, last in zip([0, *ends], [*ends, len(x)], strict=True):
        yield x[first:last], y[first:last]


def learn(network, arriving, state=None):
    """Take a step on each piece; return where the optimizer stands then, and the mean loss of the last ten pieces."""
    online = fastmlp.OnlineTrainer(network, resume=state, **SETTINGS)
    losses = [online.step(x, y) for x, y in arriving]
    return online.state(), np.mean(losses[-10:])


def save(folder, network, state):
    """Write a network and the state of its optimizer."""
    network.save(folder / "network.safetensors")
    np.savez(folder / "state.npz", m=state.m, steps=state.steps)


def load(folder):
    """Return a network and the state of its optimizer as they were saved."""
    with np.load(folder / "state.npz") as kept:
        state = fastmlp.TrainingState(m=kept["m"], steps=int(kept["steps"]))
    return fastmlp.Network.load(folder / "network.safetensors"), state


def main():
    """Learn from all pieces, once in one go and once in two processes' worth, and print how well."""
    data = fastmlp.load_dataset("mnist")
    arriving = list(pieces(data.x_train, data.y_train, seed=0))
    half = len(arriving) // 2

    unbroken = fastmlp.Network([784, 100, 10], seed=0)
    _, last_loss = learn(unbroken, arriving)

    network = fastmlp.Network([784, 100, 10], seed=0)
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder), network, learn(network, arriving[:half])[0])
        network, state = load(Path(folder))
    learn(network, arriving[half:], state)

    accuracy = network.evaluate(data.x_test, data.y_test)["accuracy"]
    print(f"{len(arriving)} pieces, each seen once: loss {last_loss:.3f}, test accuracy {accuracy:.1%}")
    assert network.parameters.tobytes() == unbroken.parameters.tobytes()  # the break has left no trace
    assert accuracy > 0.94


if __name__ == "__main__":
    main()
