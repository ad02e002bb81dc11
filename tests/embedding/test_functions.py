"""What the functions of a compiled network compute, against the float64 oracle, called from Python."""

import copy
import pickle

import numpy as np
import pytest

import fastmlp
from fastmlp.errors import ConfigError
from fastmlp.kernels import pure, shuffle, stream_key
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.random import SHUFFLE
from fastmlp.preprocessing.inputs import fit
from tests.embedding.networks import OUTPUTS, SIZES, problem, standardised
from tests.oracle import mlp, updates
from tests.pairs import each_pair

TOLERANCE = {"float64": 1e-10, "float32": 2e-5}


def compiled_network(network, optimizer="sgd"):
    """Return (state, functions, scratch); the scratch is full of NaN, so that nothing can rely on what is in it."""
    state, functions = network.compiled(optimizer)
    scratch = functions.make_scratch(state)
    scratch[:] = np.nan
    return state, functions, scratch


def compiled(problem, optimizer="sgd"):
    return compiled_network(problem.network, optimizer)


def poisoned(*shape, dtype="float64"):
    return np.full(shape, np.nan, dtype)


def assert_close(found, expected, dtype="float64"):
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[dtype] * scale)


# --- outputs -------------------------------------------------------------------------------------------------------------


@each_pair(sizes=SIZES, output=OUTPUTS, dtype=["float64", "float32"])
def test_one_row_is_predicted_as_by_the_oracle(sizes, output, dtype):
    p = problem(sizes, output, dtype=dtype)
    state, functions, scratch = compiled(p)
    out = poisoned(sizes[-1], dtype=dtype)
    for row, expected in zip(p.x.astype(dtype), p.outputs(), strict=True):
        functions.predict(state, scratch, row, out)
        assert_close(out, expected, dtype)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_is_predicted_as_by_the_oracle(activation, subtests):
    for sizes in [[4, 7, 3], [6, 8, 3]]:
        with subtests.test(sizes=sizes):
            p = problem(sizes, activation=activation)
            state, functions, scratch = compiled(p)
            out = poisoned(5, 3)
            functions.predict_batch(state, scratch, p.x, out)
            assert_close(out, p.outputs())


def test_each_layer_has_its_own_activation():
    p = problem([4, 9, 9, 9, 3], activation=["tanh", "silu", "sigmoid"])
    state, functions, scratch = compiled(p)
    out, slope = poisoned(5, 3), poisoned(p.network.parameters.size)
    functions.predict_batch(state, scratch, p.x, out)
    assert_close(out, p.outputs())
    functions.gradient(state, scratch, p.x, p.target, slope)
    assert_close(slope, p.gradient())


@pytest.mark.parametrize("rows", [0, 1, 31, 32, 33, 67])
def test_rows_of_a_batch_have_the_bits_of_rows_by_themselves(rows):
    p = problem([6, 20, 3], rows=rows, dtype="float32")
    state, functions, scratch = compiled(p)
    x, together, alone = p.x.astype(np.float32), poisoned(rows, 3, dtype="float32"), poisoned(rows, 3, dtype="float32")
    functions.predict_batch(state, scratch, x, together)
    for m in range(rows):
        functions.predict(state, scratch, x[m], alone[m])
    np.testing.assert_array_equal(together, alone)


def test_probabilities_are_those_of_the_network(mnist):
    network = fastmlp.Network([784, 300, 10], seed=2)
    fastmlp.train(network, mnist.x_train[:5000], mnist.y_train[:5000], epochs=1, normalize="standardize")
    state, functions = network.compiled()
    scratch, rows = functions.make_scratch(state), mnist.x_test[:200].reshape(200, 784)
    out = poisoned(200, 10, dtype="float32")
    functions.predict_batch(state, scratch, rows, out)  # bytes, standardised on the way
    np.testing.assert_allclose(out, network.predict_proba(rows), atol=2e-6)
    np.testing.assert_array_equal(out.argmax(axis=1), network.predict(rows))


def test_extreme_outputs_give_probabilities_without_overflow():
    p = problem([2, 3], dtype="float32")
    p.network.biases[0][:] = [1e4, -1e4, 0]
    state, functions, scratch = compiled(p)
    out = poisoned(3, dtype="float32")
    functions.predict(state, scratch, np.zeros(2, np.float32), out)
    assert out.tolist() == [1, 0, 0]


@pytest.mark.parametrize("output", OUTPUTS)
def test_an_input_that_is_not_a_number_is_seen_in_the_outputs(output):
    p = problem([3, 4, 2], output)
    state, functions, scratch = compiled(p)
    out = np.zeros(2)
    functions.predict(state, scratch, np.array([0.0, np.nan, 1.0]), out)
    assert np.isnan(out).all()


# --- inputs as people have them ------------------------------------------------------------------------------------------


def test_inputs_are_normalised_as_the_network_says():
    p = problem([4, 5, 3])
    mean, deviation = standardised(p.network, np.random.default_rng(1))
    state, functions, scratch = compiled(p)
    out = poisoned(5, 3)
    functions.predict_batch(state, scratch, p.x, out)
    assert_close(out, p.outputs((p.x - mean) / deviation))


@pytest.mark.parametrize("kind", ["none", "scale"])
def test_bytes_are_scaled_as_the_network_says(kind):
    p = problem([4, 5, 3])
    p.network.input_scaling = fit(kind, np.zeros((0, 4)), per_feature=False)
    x = np.random.default_rng(0).integers(0, 256, (5, 4)).astype(np.uint8)
    state, functions, scratch = compiled(p)
    out = poisoned(5, 3)
    functions.predict_batch(state, scratch, x, out)
    assert_close(out, p.outputs(x / (255.0 if kind == "scale" else 1.0)))


@pytest.mark.parametrize(
    "form",
    [
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: read_only(x.astype(np.float32)),
        lambda x: np.flip(np.flip(x, 0).copy(), 0),
    ],
    ids=["strided", "float32, read-only", "reversed"],
)
def test_rows_of_any_layout_and_type_give_the_same_bits(form):
    p = problem([4, 5, 3], rows=40)
    state, functions, scratch = compiled(p)
    plain, other = poisoned(40, 3), poisoned(40, 3)
    functions.predict_batch(state, scratch, p.x, plain)
    functions.predict_batch(state, scratch, form(p.x), other)
    np.testing.assert_array_equal(plain, other)


def read_only(array):
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("dtype", [np.uint8, pytest.param(np.int64, marks=pytest.mark.long)])  # each is compiled for nobody else
def test_class_numbers_may_be_of_any_type_and_a_column(dtype):
    p = problem([4, 5, 3], rows=40)
    state, functions, scratch = compiled(p)
    losses = {functions.loss(state, scratch, p.x, form) for form in (p.target, p.y.astype(dtype))}
    assert len(losses) == 1
    assert losses.pop() == pytest.approx(p.mean_loss(), abs=1e-12)


# --- loss and gradients --------------------------------------------------------------------------------------------------


@each_pair(sizes=SIZES, output=OUTPUTS, dtype=["float64", "float32"])
def test_gradient_equals_the_oracle(sizes, output, dtype):
    p = problem(sizes, output, dtype=dtype)
    state, functions, scratch = compiled(p)
    out = poisoned(p.network.parameters.size, dtype=dtype)
    loss = functions.gradient(state, scratch, p.x.astype(dtype), p.target, out)
    assert_close(loss, p.mean_loss(), dtype)
    assert_close(out, p.gradient(), dtype)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradient_of_every_activation_equals_the_oracle(activation):
    p = problem([4, 9, 5, 3], activation=activation)
    state, functions, scratch = compiled(p)
    out = poisoned(p.network.parameters.size)
    functions.gradient(state, scratch, p.x, p.target, out)
    assert_close(out, p.gradient())


@pytest.mark.parametrize("rows", [1, 31, 32, 33, 67])
def test_gradient_of_any_number_of_rows_equals_the_oracle_and_the_network(rows):
    p = problem([4, 9, 3], rows=rows)
    state, functions, scratch = compiled(p)
    out = poisoned(p.network.parameters.size)
    loss = functions.gradient(state, scratch, p.x, p.target, out)
    assert loss == pytest.approx(p.mean_loss(), abs=1e-12)
    assert loss == functions.loss(state, scratch, p.x, p.target)
    assert_close(out, p.gradient())
    np.testing.assert_allclose(out, p.network.gradient(p.x, p.y), rtol=0, atol=1e-14)


@pytest.mark.parametrize("output", OUTPUTS)
def test_rows_may_have_weights_negative_ones_too(output):
    p = problem([4, 9, 2], output, rows=40)
    weights = np.random.default_rng(0).standard_normal(40)
    state, functions, scratch = compiled(p)
    out = poisoned(p.network.parameters.size)
    loss = functions.gradient(state, scratch, p.x, p.target, out, weights)
    assert loss == pytest.approx(p.mean_loss(weights), abs=1e-12)
    assert functions.loss(state, scratch, p.x, p.target, weights) == loss
    assert_close(out, p.gradient(weights))


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("sizes", [[5, 3], [4, 7, 9, 3]], ids=str)
def test_input_gradient_equals_central_differences_in_the_units_of_the_inputs(sizes, output):
    p = problem(sizes, output, rows=35)
    mean, deviation = standardised(p.network, np.random.default_rng(1))
    state, functions, scratch = compiled(p)
    out = poisoned(*p.x.shape)
    loss = functions.input_gradient(state, scratch, p.x, p.target, out)

    def losses(x):
        z = mlp.forward(p.layers, p.network.hidden_activations, (x - mean) / deviation)[-1][0]
        return mlp.row_losses(p.network.loss, z, p.target)

    numeric = np.empty_like(p.x)
    for k in range(sizes[0]):
        step = np.zeros(sizes[0])
        step[k] = 1e-6
        numeric[:, k] = (losses(p.x + step) - losses(p.x - step)) / 2e-6
    assert loss == pytest.approx(losses(p.x).mean(), abs=1e-12)
    np.testing.assert_allclose(out, numeric, rtol=0, atol=1e-8)


def test_input_gradient_of_bytes_is_per_unit_of_a_byte():
    p = problem([4, 5, 3])
    x = np.random.default_rng(0).integers(0, 256, (5, 4)).astype(np.uint8)
    state, functions, scratch = compiled(p)
    of_bytes, of_floats = poisoned(5, 4), poisoned(5, 4)
    functions.input_gradient(state, scratch, x, p.target, of_bytes)
    functions.input_gradient(state, scratch, x / 255.0, p.target, of_floats)
    np.testing.assert_allclose(of_bytes, of_floats / 255.0, rtol=1e-10)


# --- training steps ------------------------------------------------------------------------------------------------------

RULES = {
    "sgd": (fastmlp.SGD(), updates.Rule("sgd", 0.1)),
    "momentum": (fastmlp.SGD(momentum=0.9, weight_decay=0.01), updates.Rule("momentum", 0.1, 0.01)),
    "nesterov": (fastmlp.SGD(momentum=0.9, nesterov=True), updates.Rule("nesterov", 0.1)),
    "adam": (fastmlp.Adam(weight_decay=0.02), updates.Rule("adam", 0.1, 0.02)),
    "adamw": (fastmlp.AdamW(beta1=0.8, beta2=0.99), updates.Rule("adamw", 0.1, 0.01, 0.8, 0.99)),
    "nadam": (fastmlp.NAdam(beta1=0.8, beta2=0.99), updates.Rule("nadam", 0.1, 0.0, 0.8, 0.99)),
    "rmsprop": (fastmlp.RMSprop(epsilon=1e-4), updates.Rule("rmsprop", 0.1, beta2=0.999, epsilon=1e-4)),
    "rmsprop with momentum": (fastmlp.RMSprop(0.5, epsilon=1e-4), updates.Rule("rmsprop_momentum", 0.1, 0.0, 0.5, 0.999, 1e-4)),
    "adagrad": (fastmlp.Adagrad(initial_accumulator_value=0.05), updates.Rule("adagrad", 0.1, epsilon=1e-10, initial=0.05)),
    "lion": (fastmlp.Lion(weight_decay=0.02), updates.Rule("lion", 0.1, 0.02, 0.9, 0.99)),
}


@pytest.mark.parametrize("rule", RULES)
def test_training_steps_equal_the_oracle(rule, subtests):
    for batch_size in [1, 10, 40]:
        with subtests.test(batch_size=batch_size):
            optimizer, expected_rule = RULES[rule]
            p = problem([4, 9, 3], rows=80)
            begin = p.network.parameters.copy()
            state, functions, scratch = compiled(p, optimizer)
            for first in range(0, 80, batch_size):
                rows = slice(first, first + batch_size)
                functions.train_step(state, scratch, p.x[rows], p.target[rows], 0.1)
            expected = updates.train(
                expected_rule, begin, [4, 9, 3], ["tanh"], "cross_entropy", p.x, p.target, order=np.arange(80), batch_size=batch_size
            )
            assert_close(p.network.parameters, expected.parameters)  # the network itself was trained
            assert state.steps[0] == 80 // batch_size


@pytest.mark.parametrize("output", OUTPUTS)
def test_training_step_takes_weights_and_returns_the_loss_before_it(output):
    p = problem([4, 9, 2], output, rows=20)
    weights = np.random.default_rng(0).uniform(0.5, 2.0, 20)
    loss, step = p.mean_loss(weights), -0.1 * p.gradient(weights)
    begin = p.network.parameters.copy()
    state, functions, scratch = compiled(p)
    assert functions.train_step(state, scratch, p.x, p.target, 0.1, weights) == pytest.approx(loss, abs=1e-12)
    assert_close(p.network.parameters, begin + step)


@pytest.mark.parametrize("rule", RULES)
def test_step_whose_loss_is_not_finite_changes_nothing(rule, subtests):
    for rows in [5, 40]:
        with subtests.test(rows=rows):
            p = problem([4, 9, 3], rows=rows)
            p.x[rows // 2, 0] = np.nan
            state, functions, scratch = compiled(p, RULES[rule][0])
            before = copy.deepcopy(tuple(state))
            assert not np.isfinite(functions.train_step(state, scratch, p.x, p.target, 0.1))
            for array, kept in zip(state, before, strict=True):
                np.testing.assert_array_equal(array, kept)


def test_steps_are_those_of_a_training_on_real_digits(mnist):
    x, y = mnist.x_train[:2000].reshape(2000, 784) / 255.0, mnist.y_train[:2000]
    ours, theirs = (fastmlp.Network([784, 30, 10], dtype="float64", seed=1) for _ in range(2))
    fastmlp.train(theirs, x, y, epochs=1, batch_size=20, learning_rate=0.1, seed=5, kernels="scalar")
    order = np.arange(2000)
    shuffle(order, stream_key(5, SHUFFLE, 0))
    state, functions, scratch = compiled_network(ours)
    for rows in np.split(order, 100):
        functions.train_step(state, scratch, x[rows], y[rows, None].astype(float), 0.1)
    np.testing.assert_allclose(ours.parameters, theirs.parameters, rtol=0, atol=1e-12)
    assert ours.evaluate(mnist.x_test / 255.0, mnist.y_test)["accuracy"] > 0.8


# --- states --------------------------------------------------------------------------------------------------------------


def test_state_shares_the_networks_parameters():
    p = problem([4, 5, 3])
    state, _, _ = compiled(p)
    assert np.shares_memory(state.parameters, p.network.parameters)


def test_other_parameters_are_evaluated_without_a_copy():
    p, other = problem([4, 5, 3]), problem([4, 5, 3], seed=1)
    state, functions, scratch = compiled(p)
    changed = functions.with_parameters(state, other.network.parameters)
    assert np.shares_memory(changed.parameters, other.network.parameters)
    expected = other._replace(x=p.x, target=p.target).mean_loss()
    assert functions.loss(changed, scratch, p.x, p.target) == pytest.approx(expected, abs=1e-12)
    assert functions.loss(state, scratch, p.x, p.target) == pytest.approx(p.mean_loss(), abs=1e-12)


def test_copy_of_a_state_trains_by_itself():
    p = problem([4, 5, 3])
    before = p.network.parameters.copy()
    state, functions, scratch = compiled(p, "adam")
    copied = functions.copy_state(state)
    for _ in range(3):
        functions.train_step(copied, scratch, p.x, p.target, 0.1)
    np.testing.assert_array_equal(p.network.parameters, before)
    assert (state.steps[0], copied.steps[0]) == (0, 3)
    for _ in range(3):
        functions.train_step(state, scratch, p.x, p.target, 0.1)
    np.testing.assert_array_equal(state.parameters, copied.parameters)


@pytest.mark.parametrize("send", [pickle.dumps, copy.deepcopy], ids=["pickle", "deepcopy"])
def test_state_cannot_leave_the_process_because_its_addresses_would_not_hold(send):
    state, _, _ = compiled(problem([4, 5, 3]))
    with pytest.raises(TypeError, match="send the network instead"):
        send(state)


def test_unknown_optimizer_is_refused():
    with pytest.raises(ConfigError, match="optimizer: expected one of sgd, .*, got 'adma'; did you mean 'adam'"):
        problem([4, 5, 3]).network.compiled("adma")


# --- what does not fit ---------------------------------------------------------------------------------------------------

X, Y, OUT = np.zeros((2, 4)), np.zeros((2, 1)), np.zeros((2, 3))
SLOPE = np.zeros(4 * 5 + 5 + 5 * 3 + 3)
REFUSED = {
    "predict: x": ("predict", (np.zeros(3), np.zeros(3)), "x: expected"),
    "predict: out": ("predict", (np.zeros(4), np.zeros(4)), "out: expected"),
    "predict_batch: x": ("predict_batch", (np.zeros((2, 5)), OUT), "x: expected"),
    "predict_batch: rows": ("predict_batch", (X, np.zeros((3, 3))), "out: expected"),
    "predict_batch: columns": ("predict_batch", (X, np.zeros((2, 2))), "out: expected"),
    "loss: no rows": ("loss", (np.zeros((0, 4)), Y[:0]), "x: expected"),
    "loss: target rows": ("loss", (X, Y[:1]), "target: expected"),
    "loss: target columns": ("loss", (X, np.zeros((2, 3))), "target: expected"),
    "loss: class too large": ("loss", (X, np.array([[0.0], [3.0]])), "class numbers"),
    "loss: class too small": ("loss", (X, np.array([0, -1])), "class numbers"),
    "loss: class not a number": ("loss", (X, np.array([[0.0], [np.nan]])), "class numbers"),
    "loss: class between two": ("loss", (X, np.array([[0.0], [0.5]])), "whole class numbers"),
    "loss: weights": ("loss", (X, Y, np.ones(3)), "sample_weight: expected"),
    "gradient: x": ("gradient", (np.zeros((2, 5)), Y, SLOPE), "x: expected"),
    "gradient: out": ("gradient", (X, Y, SLOPE[1:]), "out: expected"),
    "gradient: weights": ("gradient", (X, Y, SLOPE, np.ones(1)), "sample_weight: expected"),
    "train_step: target": ("train_step", (X, np.array([[3.0], [0.0]]), 0.1), "class numbers"),
    "train_step: weights": ("train_step", (X, Y, 0.1, np.ones(1)), "sample_weight: expected"),
    "train_step: rate": ("train_step", (X, Y, np.inf), "learning_rate: expected a number from 0 on"),
    "train_step: rate below 0": ("train_step", (X, Y, -0.1), "learning_rate: expected a number from 0 on"),
    "input_gradient: out": ("input_gradient", (X, Y, np.zeros((2, 3))), "out: expected"),
    "input_gradient: x": ("input_gradient", (np.zeros((2, 3)), Y, np.zeros((2, 3))), "x: expected"),
}


def test_arrays_that_do_not_fit_are_refused_before_anything_is_written(subtests):
    for case in REFUSED:
        with subtests.test(case=case):
            name, arguments, message = REFUSED[case]
            state, functions, scratch = compiled(problem([4, 5, 3]))
            with pytest.raises(ValueError, match=message):
                getattr(functions, name)(state, scratch, *arguments)
            assert np.isnan(scratch).all()


@pytest.mark.parametrize("name", ["predict", "predict_batch", "loss", "gradient", "train_step", "input_gradient"])
def test_scratch_of_another_network_is_refused(name):
    state, functions, _ = compiled(problem([4, 5, 3]))
    _, _, other = compiled(problem([4, 6, 3]))
    arguments = {
        "predict": (X[0], OUT[0]),
        "predict_batch": (X, OUT),
        "loss": (X, Y),
        "gradient": (X, Y, SLOPE),
        "train_step": (X, Y, 0.1),
        "input_gradient": (X, Y, np.zeros((2, 4))),
    }[name]
    with pytest.raises(ValueError, match="scratch: expected"):
        getattr(functions, name)(state, other, *arguments)


def test_scratch_of_another_type_is_refused():
    state, functions, scratch = compiled(problem([4, 5, 3]))
    with pytest.raises(ValueError, match="scratch: expected"):
        functions.predict(state, scratch.astype(np.float32), X[0], OUT[0])


@pytest.mark.parametrize("wrong", [SLOPE[1:], SLOPE.astype(np.float32)], ids=["size", "type"])
def test_parameters_of_another_network_are_refused(wrong):
    state, functions, _ = compiled(problem([4, 5, 3]))
    with pytest.raises(ValueError, match="parameters: expected"):
        functions.with_parameters(state, wrong)


def test_state_whose_parameters_were_replaced_by_others_is_refused():
    state, functions, scratch = compiled(problem([4, 5, 3]))
    with pytest.raises(ValueError, match="parameters: expected"):
        functions.loss(state._replace(parameters=SLOPE[1:]), scratch, X, Y)


# --- the same source as pure Python --------------------------------------------------------------------------------------


@pytest.mark.parametrize("output", OUTPUTS)
def test_pure_functions_compute_the_same(output):
    p = problem([4, 9, 5, 2], output, activation=["tanh", "silu"], rows=35)
    state, functions, _ = compiled(p, "adam")
    results = []
    for form in (functions, pure):
        mine = form.copy_state(state)
        scratch = form.make_scratch(mine)
        out, slope, dx = poisoned(35, 2), poisoned(p.network.parameters.size), poisoned(*p.x.shape)
        form.predict_batch(mine, scratch, p.x, out)
        form.predict(form.with_parameters(mine, mine.parameters), scratch, p.x[0], out[0])
        losses = [
            form.gradient(mine, scratch, p.x, p.target, slope),
            form.input_gradient(mine, scratch, p.x, p.target, dx),
            form.train_step(mine, scratch, p.x, p.target, 0.1),
            form.loss(mine, scratch, p.x, p.target),
        ]
        results.append([out, slope, dx, np.array(losses), mine.parameters])
    for found, expected in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
