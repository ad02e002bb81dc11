"""Training on augmented images: which pictures the kernels see, that they depend on seed, epoch and row alone, and what is refused."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastmlp
from fastmlp.network.arrays import as_rows
from fastmlp.settings import TrainingSettings
from fastmlp.training import augmentation
from fastmlp.training.plan import make_plan
from fastmlp.training.trainer import Trainer

GENERATOR = np.random.default_rng(0)
IMAGES = np.zeros((130, 12, 12), np.uint8)
IMAGES[:, 3:9, 3:9] = GENERATOR.integers(1, 256, (130, 6, 6))
LABELS = GENERATOR.integers(0, 3, 130)
EVERYTHING = {
    "augment_shift": 1.0, "augment_rotation": 10.0, "augment_scale": 0.1, "augment_shear": 10.0, "augment_elastic": 0.7,
    "augment_flip": True,
}  # fmt: skip
SETTINGS = {"epochs": 3, "batch_size": 16, "learning_rate": 0.1, **EVERYTHING}


def trained(x=IMAGES, y=LABELS, **changes):
    net = fastmlp.Network([144, 20, 3], dtype=changes.pop("dtype", "float32"))
    history = fastmlp.train(net, x, y, **SETTINGS | changes)
    return net, history


def bits(**changes):
    return trained(**changes)[0].parameters.tobytes()


def pictures(epoch, x=IMAGES, **changes):
    """Return the pictures of all rows in an epoch."""
    settings = TrainingSettings(**SETTINGS | changes)
    rows = as_rows(x, 144, "float32")
    return augmentation.Augmentation(settings, rows, x.shape[1:], settings.batch_size, 1).pictures(np.arange(len(rows)), epoch).copy()


@pytest.mark.parametrize("weight", [None, GENERATOR.random(130)], ids=["unweighted", "weighted"])
def test_network_is_trained_on_the_pictures_of_each_epoch(weight):
    augmented, plain = fastmlp.Network([144, 20, 3]), fastmlp.Network([144, 20, 3])
    fastmlp.train(augmented, IMAGES, LABELS, sample_weight=weight, **SETTINGS)
    without = {name: value for name, value in SETTINGS.items() if name not in EVERYTHING}
    state = None
    for epoch in range(3):
        history = fastmlp.train(plain, pictures(epoch), LABELS, sample_weight=weight, resume=state, **without | {"epochs": epoch + 1})
        state = history.state
    assert_array_equal(augmented.parameters, plain.parameters)


@pytest.mark.parametrize("name", EVERYTHING)
def test_each_setting_changes_pictures(name):
    only = {**dict.fromkeys(EVERYTHING, 0.0), "augment_flip": False} | {name: EVERYTHING[name]}
    assert (pictures(0, **only) != IMAGES.reshape(len(IMAGES), -1)).any(axis=1).mean() > 0.4


def test_no_epoch_sees_the_same_picture_twice():
    first, second = pictures(0), pictures(1)
    assert (first != second).any(axis=1).all()
    assert (first != IMAGES.reshape(len(IMAGES), -1)).any(axis=1).all()


def test_another_seed_sees_other_pictures():
    assert (pictures(0) != pictures(0, seed=1)).any(axis=1).all()


@pytest.mark.parametrize("threads", [2, 3, 7, None])
def test_the_number_of_threads_changes_no_bit(threads):
    assert bits(threads=threads) == bits(threads=1)


@pytest.mark.parametrize("most_rows", [16, 48])
def test_how_many_rows_are_augmented_at_a_time_changes_no_bit(monkeypatch, most_rows):
    whole = bits()
    monkeypatch.setattr(augmentation, "MOST_ROWS", most_rows)
    assert bits() == whole


def test_single_steps_change_no_bit():
    net = fastmlp.Network([144, 20, 3])
    trainer = Trainer(make_plan(net, IMAGES, LABELS, TrainingSettings(**SETTINGS)))
    for _ in range(3 * 9):  # 130 rows are nine batches
        trainer.step()
    assert net.parameters.tobytes() == bits()


def test_training_that_goes_on_within_an_epoch_changes_no_bit():
    net = fastmlp.Network([144, 20, 3])
    trainer = Trainer(make_plan(net, IMAGES, LABELS, TrainingSettings(**SETTINGS)))
    for _ in range(9 + 4):
        trainer.step()
    fastmlp.train(net, IMAGES, LABELS, resume=trainer.state(), **SETTINGS)
    assert net.parameters.tobytes() == bits()


@pytest.mark.parametrize("zero_skipping", ["on", "auto"])
def test_skipping_zeros_changes_no_bit(zero_skipping):
    assert bits(zero_skipping=zero_skipping) == bits(zero_skipping="off")


def test_rows_of_a_square_number_of_pixels_are_images():
    assert bits(x=IMAGES.reshape(130, 144)) == bits()


def test_images_that_are_not_square_are_augmented_in_their_shape():
    wide = IMAGES.reshape(130, 8, 18)
    assert bits(x=wide) != bits()


@pytest.mark.parametrize(("shape", "expected"), [((4,), (2, 2)), ((144,), (12, 12)), ((2, 2), (2, 2)), ((3, 7), (3, 7)), ((1, 1), (1, 1))])
def test_pictures_are_squares_or_what_they_came_as(shape, expected):
    net = fastmlp.Network([int(np.prod(shape)), 3])
    assert make_plan(net, GENERATOR.random((9, *shape)), LABELS[:9], TrainingSettings(augment_shift=1.0)).image_shape == expected


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_float_images_are_augmented_as_floats(dtype):
    net, history = trained(x=IMAGES / 255, dtype=dtype, normalize="none")
    assert net.parameters.dtype == dtype
    _, of_bytes = trained(dtype=dtype)
    assert history[-1].train_loss == pytest.approx(of_bytes[-1].train_loss, rel=1e-2)  # bytes are rounded


def test_held_out_rows_stay_as_they_are():
    net, history = trained(validation=30, holdout="last")
    assert history[-1].validation_loss == net.evaluate(IMAGES[100:], LABELS[100:])["loss"]


def test_held_out_rows_change_no_picture_of_the_others():
    assert bits(validation=30, holdout="last") == bits(x=IMAGES[:100], y=LABELS[:100])


@pytest.mark.parametrize("shape", [(40, 7), (40, 2, 2, 3), (40, 1)])
def test_rows_that_are_no_images_are_refused(shape):
    x, features = GENERATOR.random(shape), int(np.prod(shape[1:]))
    with pytest.raises(
        fastmlp.ConfigError, match=r"augment_rotation: expected images \(n, height, width\), or rows .* leave augmentation out"
    ):
        fastmlp.train(fastmlp.Network([features, 5, 2]), x, LABELS[:40] % 2, augment_rotation=5.0)


def test_divergence_is_told_with_its_batch():
    net = fastmlp.Network([144, 20, 3])
    with pytest.raises(fastmlp.TrainingError, match=r"epoch 1, batch [2-9] of 9"):
        fastmlp.train(net, IMAGES, LABELS, **SETTINGS | {"learning_rate": 1e30})


def test_network_trained_on_moved_digits_knows_moved_digits(mnist):
    """Real digits: half of the training rows, tried on held-out rows moved by two pixels."""
    x, y = mnist.x_train[:20_000], mnist.y_train[:20_000]
    moved = np.roll(mnist.x_train[-2000:], (2, -2), axis=(1, 2))
    scores = {}
    for shift in (0.0, 2.0):
        net = fastmlp.Network([784, 100, 10])
        fastmlp.train(net, x, y, epochs=4, augment_shift=shift)
        scores[shift] = net.evaluate(moved, mnist.y_train[-2000:])["accuracy"]
    assert scores[2.0] > scores[0.0] + 0.1
