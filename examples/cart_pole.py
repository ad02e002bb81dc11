"""Policy gradient for the cart-pole, the whole of it inside one compiled function: simulation, policy, learning.

REINFORCE with whitened returns (Williams 1992); the cart and its numbers are those of Barto, Sutton and Anderson 1983, with the limits of
CartPole-v0: 12 degrees, 2.4 units, 200 steps. Solved means a mean of 195 steps over 100 episodes.
"""

import math

import numba
import numpy as np

import fastmlp
from fastmlp.kernels import make_scratch, predict, stream_key, train_step, uniform

GRAVITY, CART_MASS, POLE_MASS, HALF_LENGTH, FORCE, STEP = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
MOST_STEPS, MOST_ANGLE, MOST_PLACE = 200, 12 * math.pi / 180, 2.4
EPISODES = 10  # played between two steps of learning
DISCOUNT = 0.99


@numba.njit
def begin(cart, key):
    """Put cart and pole at a random place near the middle."""
    for i in range(4):
        cart[i] = 0.1 * uniform(key, i) - 0.05


@numba.njit
def push(cart, force):
    """Move cart and pole by one step; return whether the pole still stands. cart: place, speed, angle, angular speed."""
    sine, cosine = math.sin(cart[2]), math.cos(cart[2])
    mass = CART_MASS + POLE_MASS
    pull = (force + POLE_MASS * HALF_LENGTH * cart[3] ** 2 * sine) / mass
    turn = (GRAVITY * sine - cosine * pull) / (HALF_LENGTH * (4.0 / 3.0 - POLE_MASS * cosine**2 / mass))
    change = pull - POLE_MASS * HALF_LENGTH * turn * cosine / mass
    cart[0] += STEP * cart[1]
    cart[1] += STEP * change
    cart[2] += STEP * cart[3]
    cart[3] += STEP * turn
    return abs(cart[0]) <= MOST_PLACE and abs(cart[2]) <= MOST_ANGLE


@numba.njit
def learn(state, rounds, learning_rate, seed):
    """Play and learn: `rounds` steps of the optimizer, each after EPISODES episodes. Return the mean length of each round's episodes."""
    scratch = make_scratch(state)
    room = EPISODES * MOST_STEPS
    seen, action, gain = np.empty((room, 4)), np.empty(room, np.int64), np.empty(room)
    cart, probability = np.empty(4), np.empty(2)
    lengths = np.empty(rounds)
    for number in range(rounds):
        count = 0
        for episode in range(EPISODES):
            key = stream_key(seed, number, episode)
            begin(cart, key)
            first, stands = count, True
            while stands and count - first < MOST_STEPS:
                seen[count] = cart
                predict(state, scratch, cart, probability)
                action[count] = 1 if uniform(key, 4 + count - first) < probability[1] else 0
                stands = push(cart, FORCE if action[count] == 1 else -FORCE)
                count += 1
            following = 0.0
            for t in range(count - 1, first - 1, -1):  # what came after an action, discounted
                following = 1.0 + DISCOUNT * following
                gain[t] = following
        advantage = (gain[:count] - gain[:count].mean()) / (gain[:count].std() + 1e-9)
        # the loss of a step is -log p(action): its weight makes good actions likelier and bad ones less so
        train_step(state, scratch, seen[:count], action[:count], learning_rate, advantage)
        lengths[number] = count / EPISODES
    return lengths


@numba.njit
def play(state, episodes, seed):
    """Return the mean length of episodes in which the likelier action is taken."""
    scratch = make_scratch(state)
    cart, probability = np.empty(4), np.empty(2)
    total = 0
    for episode in range(episodes):
        begin(cart, stream_key(seed, episode, 0))
        steps, stands = 0, True
        while stands and steps < MOST_STEPS:
            predict(state, scratch, cart, probability)
            stands = push(cart, FORCE if probability[1] > probability[0] else -FORCE)
            steps += 1
        total += steps
    return total / episodes


def main():
    """Learn, then play 100 new episodes."""
    network = fastmlp.Network([4, 16, 2], activation="tanh", output="softmax", dtype="float64", seed=0)
    state, _ = network.compiled(fastmlp.Adam())
    before = play(state, 100, seed=1)
    lengths = learn(state, 150, 0.02, seed=0)
    after = play(state, 100, seed=1)
    print(f"mean length of 100 episodes: {before:g} before, {after:g} after {len(lengths) * EPISODES} episodes of learning")
    assert before < 100.0
    assert after >= 195.0


if __name__ == "__main__":
    main()
