"""Activations and losses of users: registered, refused, trained with in every way, compiled by themselves, kept, loaded."""

import dataclasses
import json
import math
import pickle
import re

import numba
import numpy as np
import pytest
from numpy.testing import assert_allclose

import fastmlp
from fastmlp import ConfigError, ModelFileError, Network
from fastmlp.compilation import decorators, forms, stamps, waiting
from fastmlp.engines import program
from fastmlp.kernels.activations import ACTIVATIONS
from fastmlp.kernels.losses import LOSSES
from fastmlp.network import formulas
from tests.kernels.processes import result_of, run_python
from tests.kernels.test_assembly import PACKED_FMA, TO_DOUBLE, has_fma

GENERATOR = np.random.default_rng(3)
X = GENERATOR.standard_normal((60, 9))
Y = X[:, :3] ** 2


def my_swish(z):
    return z / (1 + math.exp(-z))


def derivative_of_sigmoid(a):
    return a * (1 - a)


def logistic(z):
    return 1 / (1 + np.exp(-z))


def my_squared_error(z, t):
    return (z - t) ** 2


def my_cross_entropy(z, t):
    return max(z, 0) - z * t + math.log1p(math.exp(-abs(z)))


@pytest.fixture(scope="module", autouse=True)
def registered():
    """Register formulas for the tests of this file, and no longer: others go through all that there are."""
    kept = dict(ACTIVATIONS), dict(LOSSES)
    fastmlp.activation(my_swish)
    fastmlp.activation(name="my_logistic", derivative=derivative_of_sigmoid)(logistic)
    fastmlp.loss(my_squared_error)
    fastmlp.loss(output="sigmoid")(my_cross_entropy)
    yield
    for registry, before in zip((ACTIVATIONS, LOSSES), kept, strict=True):
        registry.clear()
        registry.update(before)


# mine -> the built-in one, and the output that the loss belongs to
TWINS = {"my_swish": "silu", "my_logistic": "sigmoid", "my_squared_error": "mse", "my_cross_entropy": "binary_cross_entropy"}
WAYS = {
    "tiles": ("auto", 40, 7),
    "loops": ("scalar", 40, 7),
    "interpreted": ("python", 5, 20),
    "rows": ("auto", 40, 1),
    "few": ("auto", 3, 1),
}


def trained(activation, loss, dtype="float64", kernels="auto", units=40, batch_size=7, epochs=2):
    output = "sigmoid" if "cross_entropy" in loss else "identity"
    net = Network([9, units, units, 3], activation, output, dtype=dtype, seed=1, initializer="he_normal")
    y = Y if output == "identity" else (Y > 0.5).astype(float)
    fastmlp.train(net, X, y, loss=loss, epochs=epochs, batch_size=batch_size, learning_rate=0.02, kernels=kernels, normalize_target="none")
    return net


# --- what works ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("activation", "loss"), [("my_swish", "my_squared_error"), ("my_logistic", "my_cross_entropy")])
def test_formulas_of_mine_train_like_their_built_in_twins(activation, loss, way):
    kernels, units, batch_size = WAYS[way]
    mine, built_in = (
        trained(*names, kernels=kernels, units=units, batch_size=batch_size)
        for names in ((activation, loss), (TWINS[activation], TWINS[loss]))
    )
    assert_allclose(mine.parameters, built_in.parameters, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("way", ["tiles", "loops", "rows"])
def test_float32_training_follows_float64(way):
    kernels, units, batch_size = WAYS[way]
    single, double = (
        trained("my_swish", "my_squared_error", dtype, kernels, units, batch_size, epochs=1) for dtype in ("float32", "float64")
    )
    assert_allclose(single.parameters, double.parameters, rtol=1e-4, atol=1e-5)


def test_a_registered_function_stays_what_it_is():
    assert fastmlp.activation(my_swish) is my_swish
    assert fastmlp.loss(output="sigmoid")(my_cross_entropy) is my_cross_entropy


def test_the_gradient_check_passes_with_formulas_of_mine():
    assert fastmlp.check_gradient(trained("my_swish", "my_squared_error")).passed


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_compiled_code_of_other_people_gets_formulas_of_mine(dtype):
    net = trained("my_swish", "my_squared_error", dtype)
    state, functions = net.compiled()
    x, slope = X.astype(dtype), np.empty_like(net.parameters)
    loss = functions.gradient(state, functions.make_scratch(state), x, Y.astype(dtype), slope)
    assert loss == pytest.approx(net.evaluate(X, Y)["loss"], rel=1e-5)
    assert_allclose(slope, net.gradient(X, Y), rtol=1e-4, atol=1e-5)


def test_kinds_of_derivatives_tell_what_they_read():
    def square_less(z):
        return z * z - 1

    def by_z(z):
        return 2 * z

    def by_both(z, a):
        return 2 * z + 0 * a

    def by_first_of_two(z, a):
        return 2 * z

    needs = {}
    for derivative in (by_z, by_both, by_first_of_two, None):
        name = f"square_less_{getattr(derivative, '__name__', 'itself')}"
        fastmlp.activation(name=name, derivative=derivative)(square_less)
        needs[name.removeprefix("square_less_")] = ACTIVATIONS[name].needs
    assert needs == {"by_z": "z", "by_both": "both", "by_first_of_two": "z", "itself": "z"}
    assert ACTIVATIONS["my_logistic"].needs == "a"


def test_a_bank_of_models_trains_with_formulas_of_mine():
    from fastmlp.data.dataset import load_dataset
    from fastmlp.search.bank import train_bank
    from fastmlp.search.task import Task, Trained
    from fastmlp.settings import NetworkSettings, TrainingSettings

    tasks = [
        Task(name, NetworkSettings(hidden=(4,), activation=name), TrainingSettings(epochs=1, seed=2)) for name in ("my_logistic", "sigmoid")
    ]
    data = dataclasses.replace(load_dataset("synthetic"), x_train=X[:, :2].astype(np.float32), y_train=(X[:, 0] > 0).astype(int))
    networks = {event.task.key: event.network for event in train_bank(tasks, data) if isinstance(event, Trained)}
    assert_allclose(networks["my_logistic"].parameters, networks["sigmoid"].parameters, rtol=1e-5, atol=1e-6)


# --- what is compiled ----------------------------------------------------------------------------------------------------


def names_compiled(action):
    names = []
    with waiting.watch(lambda name, seconds: names.append(name.rpartition(".")[2]) if seconds is None else None):
        action()
    return names


def test_a_formula_of_mine_compiles_its_own_blocks_only(tmp_path, monkeypatch):
    trained("silu", "mse", "float32")

    @fastmlp.activation
    def only_mine(z):
        return z * math.exp(-z * z)

    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path))
    stamps.code_folder.cache_clear()
    names = names_compiled(lambda: trained("only_mine", "mse", "float32"))
    stamps.code_folder.cache_clear()
    assert names
    helpers = {"own", "runs_of", "whole_panels", "wipe_padding"}  # part of every block of panels; the empty cache has none of them
    assert [name for name in names if ACTIVATIONS["only_mine"].key not in name and name not in helpers] == []


@has_fma
@pytest.mark.parametrize("part", ["activate", "activate_backward"])
def test_a_formula_of_mine_becomes_vector_instructions_in_float32(part, tmp_path, monkeypatch):
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path))
    stamps.code_folder.cache_clear()
    record, flat = ACTIVATIONS["my_swish"], numba.float32[::1]
    if part == "activate":
        kernel = forms.specialise(program.textbook.activate, "vectors", ACTIVATION=decorators.formula(record.formula))
        signature = (flat, flat)
    else:
        kernel = forms.specialise(
            program.textbook.activate_backward, "vectors", ACTIVATION_DERIVATIVE=decorators.formula(record.derivative)
        )
        signature = (flat, flat, flat)
    kernel.compile(signature)
    text = kernel.inspect_asm(signature)
    stamps.code_folder.cache_clear()
    assert re.findall(PACKED_FMA, text)
    assert re.findall(TO_DOUBLE, text) == []
    assert re.findall(r"call.*exp", text) == []


PROGRAM = """
import json, math
import numpy as np
import fastmlp
from fastmlp.compilation import waiting
from mine import *

x = np.linspace(-1, 1, 40).reshape(20, 2)
def trained(kernels):
    net = fastmlp.Network([2, 3, 1], "mine", "identity", seed=1)
    given = dict(epochs=1, batch_size=1, learning_rate=0.1, normalize_target="none")
    fastmlp.train(net, x, x[:, 0], loss="my_loss", kernels=kernels, **given)
    return net.parameters.tolist()
names = []
with waiting.watch(lambda name, seconds: names.append(name) if seconds is None else None):
    compiled = trained("auto")
print(json.dumps([compiled, names, trained("python")]))
"""
FIRST = """
import math
import fastmlp
from fastmlp import activation, loss
SLOPE = 0.5
def made(power):
    def mine(z):
        return SLOPE * z + math.tanh(z) ** power
    return mine
activation(made(2))
@loss
def my_loss(z, t):
    return (z - t) ** 2
"""
EDITS = {
    "the formula": ("math.tanh(z)", "math.sin(z)"),
    "a global number": ("SLOPE = 0.5", "SLOPE = 0.25"),
    "a number of a closure": ("made(2)", "made(3)"),
    "the loss": ("(z - t) ** 2", "2 * (z - t) ** 2"),
}


@pytest.mark.long
def test_an_edited_formula_never_runs_old_machine_code_and_an_old_one_is_not_compiled_again(tmp_path):
    def run(source):
        (tmp_path / "mine.py").write_text(source)
        return result_of(PROGRAM, PYTHONPATH=str(tmp_path), FASTMLP_CACHE_DIR=str(tmp_path / "cache"))

    first, compiled, interpreted = run(FIRST)
    assert any("mine" in name for name in compiled)
    assert_allclose(first, interpreted, rtol=1e-4, atol=1e-5)
    again, compiled, _ = run(FIRST.replace("import math\n", "import math  # a comment changes nothing\n", 1))
    assert (again, compiled) == (first, [])
    for old, new in EDITS.values():
        found, compiled, interpreted = run(FIRST.replace(old, new))
        assert all("mine" in name or "my_loss" in name for name in compiled)
        assert compiled
        assert_allclose(found, interpreted, rtol=1e-4, atol=1e-5)
        assert not np.allclose(found, first, rtol=1e-3, atol=1e-4)


def test_formulas_of_mine_train_where_the_compiler_is_switched_off(tmp_path):
    (tmp_path / "mine.py").write_text(FIRST)
    compiled, names, interpreted = result_of(PROGRAM, PYTHONPATH=str(tmp_path), NUMBA_DISABLE_JIT="1")
    assert (compiled, names) == (interpreted, [])


# --- what is refused -----------------------------------------------------------------------------------------------------


def overflowing(z):
    return math.log(1 + math.exp(z))


def undefined(z):
    return math.sqrt(z)


def undefined_at_0(z):
    return z / abs(z)


def vertical_at_0(z):
    return math.sqrt(abs(z))


def wrong_derivative(z):
    return 3 * z


def cube(z):
    return z**3


def two(z, t):
    return z * t


def with_default(z, k=2):
    return z * k


def of_negative_outputs(z, t):
    return math.log(z) * t


@pytest.mark.parametrize(
    ("register", "message"),
    [
        (lambda: fastmlp.activation(overflowing), "expected the value 99.7 at z = 99.7, got inf in float32"),
        (lambda: fastmlp.activation(undefined), "expected a number for every z, got NaN at z = -0.0894"),
        (lambda: fastmlp.activation(undefined_at_0), "expected a number for every z, got NaN at z = 0"),
        (lambda: fastmlp.activation(vertical_at_0), "expected a finite derivative at z = 0, got nan"),
        (lambda: fastmlp.activation(derivative=wrong_derivative)(cube), "expected the derivative 0.00056307 at z = 0.0137"),
        (lambda: fastmlp.activation(derivative=two)(cube), "expected the derivative"),
        (lambda: fastmlp.activation(two), "activation two: expected the parameters (z), got (z, t)"),
        (lambda: fastmlp.loss(cube), "loss cube: expected the parameters (z, t), got (z)"),
        (lambda: fastmlp.loss(derivative=cube)(two), "derivative cube: expected the parameters (z, t), got (z)"),
        (lambda: fastmlp.activation(with_default), "with_default: expected plain parameters without defaults, got k=2"),
        (lambda: fastmlp.activation(name="relu")(cube), "activation relu: expected a name of your own, got that of a built-in activation"),
        (lambda: fastmlp.loss(name="mse")(two), "loss mse: expected a name of your own, got that of a built-in loss"),
        (lambda: fastmlp.activation(name="../cube")(cube), "expected a name of up to 64 letters, digits and _, got '../cube'"),
        (lambda: fastmlp.activation(name="lambda")(cube), "expected a name of up to 64 letters, digits and _, got 'lambda'"),
        (lambda: fastmlp.activation(3), "activation: expected a name"),
        (lambda: fastmlp.activation(name="three")(3), "expected a Python function of numbers"),
        (lambda: fastmlp.loss(output="softmax")(two), "loss two: expected output to be one of identity, sigmoid, got 'softmax'"),
        (lambda: fastmlp.loss(of_negative_outputs), "loss of_negative_outputs: expected a number for every output z, got NaN at z = "),
    ],
)
def test_what_is_wrong_with_a_formula_is_said_in_one_line(register, message):
    known = set(ACTIVATIONS), set(LOSSES)
    with pytest.raises(ConfigError) as caught:
        register()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (set(ACTIVATIONS), set(LOSSES)) == known


def test_a_name_keeps_its_formula():
    def first(z):
        return z * z

    def second(z):
        return z * z * z

    fastmlp.activation(name="kept")(first)
    fastmlp.activation(name="kept")(first)  # a cell or a module that is run again
    with pytest.raises(ConfigError, match="activation kept: expected the formula that this name was registered with, got another one"):
        fastmlp.activation(name="kept")(second)


def test_a_loss_of_one_kind_of_target_may_have_no_value_for_others():
    @fastmlp.loss
    def squared_log_error(z, t):
        return (z - math.log1p(t)) ** 2  # t above -1

    assert LOSSES["squared_log_error"].output == "identity"


@pytest.mark.parametrize(
    ("wanted", "message"), [("my_swis", "did you mean 'my_swish'"), ("soft_clip", "register one of your own with @fastmlp.act")]
)
def test_an_unknown_activation_is_answered_with_how_to_register_one(wanted, message):
    with pytest.raises(ConfigError, match=message):
        Network([2, 3, 2], wanted)


# --- model files, other processes ----------------------------------------------------------------------------------------

LOAD = """
import json, sys
import numpy as np
import fastmlp
from fastmlp.cli import main
def register(factor):
    @fastmlp.activation
    def clipped(z):
        return factor * max(-1, min(z, 1))
    @fastmlp.loss
    def doubled(z, t):
        return 2 * (z - t) ** 2
FACTOR = {factor}
if FACTOR:
    register(FACTOR)
try:
    net = fastmlp.Network.load({path!r})
    found = [float(value) for value in net.predict(np.eye(2))], net.evaluate(np.eye(2), np.ones(2))["loss"]
except fastmlp.ModelFileError as error:
    found = str(error)
print(json.dumps(found))
"""


def clipped(z):
    return 0.5 * max(-1, min(z, 1))


def doubled(z, t):
    return 2 * (z - t) ** 2


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    fastmlp.activation(clipped)
    fastmlp.loss(doubled)
    net = Network([2, 5, 1], "clipped", "identity")
    fastmlp.train(net, np.eye(2), np.ones(2), loss="doubled", epochs=2, normalize_target="none")
    path = tmp_path_factory.mktemp("models") / "net.safetensors"
    net.save(path)
    return net, str(path)


def loaded(tmp_path, **values):
    """Return what a process of its own makes of a model file. A program without a file has no source that could be read."""
    program = tmp_path / "program.py"
    program.write_text(LOAD.format(**values))
    return result_of(f"import runpy; runpy.run_path({str(program)!r})")


def test_a_saved_network_computes_the_same_where_its_formulas_are_registered(saved, tmp_path):
    net, path = saved
    values, loss = loaded(tmp_path, factor=0.5, path=path)
    assert values == net.predict(np.eye(2)).tolist()
    assert loss == net.evaluate(np.eye(2), np.ones(2))["loss"]


def test_loading_asks_for_the_formula_that_is_not_registered(saved, tmp_path):
    message = loaded(tmp_path, factor=0, path=saved[1])
    said = (
        "expected the activation to be built in or registered, got 'clipped'; if it is your own, register it first with @fastmlp.activation"
    )
    assert message.startswith(f"{saved[1]}: {said}")
    assert "\n" not in message


def test_loading_notices_another_formula_under_the_same_name(saved, tmp_path):
    message = loaded(tmp_path, factor=0.25, path=saved[1])
    assert "expected the activation clipped that this network was trained with, got one registered here with another formula" in message


def test_the_command_line_says_that_a_model_needs_a_formula(saved):
    done = run_python(f"import sys; sys.argv = ['fastmlp', 'evaluate', {saved[1]!r}, 'synthetic']\nfrom fastmlp.cli import main; main()")
    assert done.returncode == 65
    assert "register it first with @fastmlp.activation" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("values", [[], [1.0], ["x"] * 6, None, {}, [True] * 6])
def test_a_model_file_with_impossible_values_of_a_formula_is_refused_or_read(saved, values):
    file = saved[0].to_tensors()
    config = json.loads(file.metadata["config"]) | {"formulas": {"activation clipped": values}}
    changed = file._replace(metadata=file.metadata | {"config": json.dumps(config)})
    if isinstance(values, list):
        with pytest.raises(ModelFileError, match="another formula"):
            Network.from_tensors("net", changed)
    else:
        assert Network.from_tensors("net", changed).hidden_activations == ("clipped",)


def test_values_of_a_formula_may_differ_by_rounding_and_in_nothing_else(saved):
    file = saved[0].to_tensors()
    config = json.loads(file.metadata["config"])
    values = config["formulas"]["loss doubled"]

    def read(changed):
        now = config | {"formulas": config["formulas"] | {"loss doubled": changed}}
        return Network.from_tensors("net", file._replace(metadata=file.metadata | {"config": json.dumps(now)}))

    assert read([value * (1 + 1e-12) for value in values]).loss == "doubled"
    for place, value in enumerate(values):
        for other in (value * (1 + 1e-7), None):
            with pytest.raises(ModelFileError, match="the loss doubled that this network was trained with, .* another formula"):
                read([*values[:place], other, *values[place + 1 :]])


def test_files_of_networks_without_formulas_of_mine_do_not_mention_any():
    assert "formulas" not in json.loads(Network([2, 3, 2]).to_tensors().metadata["config"])
    assert formulas.described(("relu",), "mse") == {}


def test_a_network_that_reaches_a_process_without_its_formula_says_so(saved, tmp_path):
    path = tmp_path / "net.pickle"
    path.write_bytes(pickle.dumps(saved[0]))
    done = run_python(f"import pickle; pickle.load(open({str(path)!r}, 'rb'))")
    assert "ConfigError: expected the activation to be built in or registered, got 'clipped'" in done.stderr
    assert "register it first with @fastmlp.activation" in done.stderr
