"""Same seed, data and settings: same bits, whatever the threads, the form of the input, or the process."""

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastmlp
from fastmlp import machine
from fastmlp.compilation import options
from fastmlp.engines import tiled
from fastmlp.kernels import textbook_step

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.integers(1, 256, (230, 28, 28), dtype=np.uint8) * (GENERATOR.random((230, 28, 28)) < 0.2)
IMAGES = IMAGES.astype(np.uint8)  # four of five pixels are 0, as in MNIST
LABELS = GENERATOR.integers(0, 10, 230)
WIDE = {"epochs": 2, "batch_size": 50, "learning_rate": 0.1}  # 784-64-10 in batches of 50 is enough work for several threads

POINTS = GENERATOR.standard_normal((40, 6))
CLASSES = GENERATOR.integers(0, 3, 40)


def wide(**changes) -> fastmlp.Network:
    net = fastmlp.Network([784, 64, 10], "sigmoid")
    fastmlp.train(net, IMAGES, LABELS, **WIDE | changes)
    return net


def small(x=POINTS, dtype="float32", network_seed=0, **changes) -> fastmlp.Network:
    net = fastmlp.Network([6, 5, 3], "tanh", dtype=dtype, seed=network_seed)
    fastmlp.train(net, x, CLASSES, **{"epochs": 2, "batch_size": 7} | changes)
    return net


def bits(net: fastmlp.Network) -> bytes:
    return net.parameters.tobytes()


@pytest.fixture(scope="module")
def wide_bits():
    return bits(wide(threads=1))


@pytest.mark.parametrize("threads", [1, 2, 3, 7, None])
def test_the_number_of_threads_changes_no_bit(wide_bits, threads):
    assert bits(wide(threads=threads)) == wide_bits


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_the_number_of_threads_changes_no_bit_of_a_deep_network(threads):
    def trained(threads):
        net = fastmlp.Network([784, 40, 30, 20, 10], ("relu", "silu", "tanh"))
        fastmlp.train(net, IMAGES, LABELS, **WIDE, threads=threads)
        return bits(net)

    assert trained(threads) == trained(1)


@pytest.mark.parametrize("cores", [1, 3, 7])
def test_the_number_of_cores_changes_no_bit(monkeypatch, wide_bits, cores):
    predicted = fastmlp.Network([784, 64, 10]).logits(IMAGES)
    monkeypatch.setattr(machine, "usable_cores", lambda: cores)
    assert bits(wide()) == wide_bits
    assert fastmlp.Network([784, 64, 10]).logits(IMAGES).tobytes() == predicted.tobytes()


@pytest.mark.parametrize("kernels", ["auto", "scalar"])
@pytest.mark.parametrize("zero_skipping", ["on", "auto"])
def test_skipping_zeros_changes_no_bit(zero_skipping, kernels):
    given = {"kernels": kernels, "threads": 1 if kernels == "scalar" else None}  # over threads, these loops are compiled for nobody else
    assert bits(wide(zero_skipping=zero_skipping, **given)) == bits(wide(zero_skipping="off", **given))


def test_the_same_seed_gives_the_same_bits_again():
    assert bits(small(seed=4)) == bits(small(seed=4))


def test_another_training_seed_gives_other_bits():
    assert len({bits(small(seed=seed)) for seed in range(30)}) == 30


def test_another_network_seed_gives_other_bits():
    assert len({bits(small(network_seed=seed)) for seed in range(30)}) == 30


def test_each_epoch_has_its_own_order_of_rows():
    # with a step that is practically 0, the loss of the first batch is the loss of the rows in it
    trainer = fastmlp.Trainer(
        fastmlp.make_plan(
            fastmlp.Network([6, 5, 3], dtype="float64"), POINTS, CLASSES, fastmlp.TrainingSettings(batch_size=1, learning_rate=1e-30)
        )
    )
    firsts = []
    for _ in range(5):
        trainer.step()
        firsts.append(trainer.state().total[0])
        for _ in range(39):
            trainer.step()
    assert len(set(firsts)) > 1


def test_a_new_process_gives_the_same_bits():
    script = f"""
import hashlib, numpy as np, fastmlp
x = np.frombuffer(bytes.fromhex({POINTS.tobytes().hex()!r})).reshape(40, 6)
y = np.array({CLASSES.tolist()})
net = fastmlp.Network([6, 5, 3], "tanh")
fastmlp.train(net, x, y, epochs=2, batch_size=7)
print(hashlib.sha256(net.parameters.tobytes()).hexdigest())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == hashlib.sha256(bits(small())).hexdigest()


# Forms of the same input


READ_ONLY = POINTS.astype(np.float32)
READ_ONLY.flags.writeable = False
SAME_POINTS = {
    "float64": POINTS.astype(np.float32).astype(np.float64),
    "big-endian": POINTS.astype(">f4"),
    "Fortran": np.asfortranarray(POINTS.astype(np.float32)),
    "strided": np.repeat(POINTS.astype(np.float32), 2, axis=1)[:, ::2],
    "backwards": POINTS.astype(np.float32)[::-1][::-1],
    "read-only": READ_ONLY,
    "rows of images": POINTS.astype(np.float32).reshape(40, 2, 3),
    "nested lists": POINTS.astype(np.float32).tolist(),
}


@pytest.mark.parametrize("form", SAME_POINTS)
def test_the_form_of_the_input_changes_no_bit(form):
    # images have another default optimizer than tables
    assert bits(small(SAME_POINTS[form], optimizer="sgd", learning_rate=0.2)) == bits(
        small(POINTS.astype(np.float32), optimizer="sgd", learning_rate=0.2)
    )


WHOLE = GENERATOR.integers(0, 2, (40, 6))


@pytest.mark.parametrize("kind", ["bool", "int8", "uint16", "int64", "float16", "float32", "float64", "longdouble"])
def test_whole_numbers_of_any_type_give_the_same_bits(kind):
    assert bits(small(WHOLE.astype(kind))) == bits(small(WHOLE.astype(np.float32)))


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "uint32", "int64", "uint64", ">i4"])
def test_class_numbers_of_any_type_give_the_same_bits(kind):
    net = fastmlp.Network([6, 5, 3], "tanh")
    fastmlp.train(net, POINTS, CLASSES.astype(kind), epochs=2, batch_size=7)
    assert bits(net) == bits(small())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_does_not_change_its_input(dtype):
    x, y = POINTS.astype(dtype), CLASSES.copy()
    before = x.tobytes(), y.tobytes(), x.flags.writeable
    small(x, dtype=dtype, normalize="standardize", validation=5)
    assert (x.tobytes(), y.tobytes(), x.flags.writeable) == before


@pytest.mark.skipif(not options.JIT, reason="nothing is compiled with the JIT off")
@pytest.mark.parametrize(("kernels", "entry"), [("scalar", textbook_step.train_steps), ("auto", tiled.train_tiled)])
def test_twelve_kinds_of_input_compile_one_kernel_each_for_bytes_and_for_numbers(kernels, entry):
    before = set(entry.signatures)
    for x in [*SAME_POINTS.values(), *(WHOLE.astype(kind) for kind in ("bool", "int8", "int64", "float16", "uint8"))]:
        fastmlp.train(fastmlp.Network([6, 50, 3], "tanh"), x, CLASSES, epochs=1, batch_size=7, kernels=kernels)
    assert len(set(entry.signatures) - before) <= 2


# Threads of the caller


def test_python_threads_may_train_at_the_same_time(wide_bits):
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: bits(wide(threads=2)), range(8))) == {wide_bits}


def test_small_networks_run_on_one_thread():
    trainer = fastmlp.Trainer(fastmlp.make_plan(fastmlp.Network([6, 5, 3]), POINTS, CLASSES, fastmlp.TrainingSettings()))
    assert trainer.threads == 1


# The interpreted kernels


def test_interpreted_and_compiled_training_of_2_3_2_agree_in_each_of_the_first_100_steps():
    data = fastmlp.load_dataset("synthetic")
    settings = fastmlp.TrainingSettings(**data.training_defaults).replace(holdout=None)  # all rows are trained on
    trainers = [
        fastmlp.Trainer(
            fastmlp.make_plan(fastmlp.Network([2, 3, 2], "sigmoid"), data.x_train, data.y_train, settings.replace(kernels=kernels))
        )
        for kernels in ("auto", "python")
    ]
    for _ in range(100):
        for trainer in trainers:
            trainer.step()
        compiled, interpreted = (trainer.network.parameters for trainer in trainers)
        np.testing.assert_allclose(interpreted, compiled, rtol=0, atol=1e-6)
        assert trainers[0].state().row == trainers[1].state().row
    assert not np.array_equal(trainers[0].network.parameters, fastmlp.Network([2, 3, 2], "sigmoid").parameters)


def test_interpreted_and_compiled_training_of_2_3_2_give_the_same_losses():
    data = fastmlp.load_dataset("synthetic")
    x, y = data.x_train[:12_000], data.y_train[:12_000]
    histories = [
        fastmlp.train(
            fastmlp.Network([2, 3, 2], "sigmoid"), x, y, **{**data.training_defaults, "epochs": 4}, validation=2000, kernels=kernels
        )
        for kernels in ("auto", "python")
    ]
    for compiled, interpreted in zip(*histories, strict=True):
        assert interpreted.train_loss == pytest.approx(compiled.train_loss, rel=1e-4)
        assert interpreted.validation_loss == pytest.approx(compiled.validation_loss, rel=1e-4)


@pytest.mark.parametrize("activation", ["identity", "sigmoid", "tanh", "relu", "silu"])
@pytest.mark.parametrize("output", ["softmax", "sigmoid", "identity"])
def test_interpreted_training_equals_compiled_training_in_float64(activation, output):
    y = CLASSES if output == "softmax" else np.eye(3)[CLASSES]
    nets = []
    for kernels in ("auto", "python"):
        nets.append(fastmlp.Network([6, 30, 3], activation, output, dtype="float64"))
        fastmlp.train(nets[-1], POINTS, y, epochs=2, batch_size=7, kernels=kernels)
    np.testing.assert_allclose(nets[0].parameters, nets[1].parameters, rtol=1e-12, atol=1e-13)


def test_bytes_and_standardisation_train_alike_interpreted_and_compiled():
    x = IMAGES[:20, 8:20, 8:20]
    nets = []
    for kernels in ("auto", "python"):
        nets.append(fastmlp.Network([144, 4, 10], "sigmoid"))
        fastmlp.train(nets[-1], x, LABELS[:20], epochs=1, batch_size=6, normalize="standardize", kernels=kernels)
    assert_array_equal(nets[0].input_scaling.mean, nets[1].input_scaling.mean)
    np.testing.assert_allclose(nets[0].parameters, nets[1].parameters, rtol=1e-5, atol=1e-6)
