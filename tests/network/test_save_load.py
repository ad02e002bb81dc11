"""A network in a file comes back to the bit; a sound file that describes no network is refused."""

import copy
import itertools
import json

import numpy as np
import pytest

import fastmlp
from fastmlp import ConfigError, InputNotFound, ModelFileError, Network, OutputError, TrainingSettings
from fastmlp.storage import model_file
from tests.pairs import each_pair

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((20, 4))
BYTES = GENERATOR.integers(0, 256, (20, 2, 2), dtype=np.uint8)
TARGETS = {
    "softmax": GENERATOR.integers(0, 3, 20),
    "sigmoid": GENERATOR.integers(0, 2, (20, 3)),
    "identity": GENERATOR.standard_normal((20, 3)),
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


def trained(x=X, output="softmax", dtype="float32", y=None, sizes=(4, 6, 5, 3), activation=("relu", "tanh"), **settings) -> Network:
    net = Network(sizes, activation, output, dtype=dtype)
    fastmlp.train(net, x, TARGETS[output] if y is None else y, **{"epochs": 1} | settings)
    return net


def assert_comes_back(net: Network, path, x=X) -> Network:
    net.save(path)
    loaded = Network.load(path)
    assert loaded.parameters.tobytes() == net.parameters.tobytes()
    assert loaded.predict(x).tobytes() == net.predict(x).tobytes()
    for field in ("sizes", "layers", "output", "loss", "dtype", "class_names", "target_is_column"):
        assert getattr(loaded, field) == getattr(net, field)
    return loaded


# Round trips


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("output", TARGETS)
def test_a_network_comes_back_to_the_bit(path, output, dtype):
    assert_comes_back(trained(output=output, dtype=dtype), path)


@each_pair(x=[X, BYTES], scaling=[("none", None), ("scale", None), ("standardize", True), ("standardize", False)])
def test_the_normalisation_comes_back_to_the_bit(path, x, scaling):
    net = trained(x, normalize=scaling[0], per_feature=scaling[1])
    loaded = assert_comes_back(net, path, x)
    assert loaded.input_scaling.kind == net.input_scaling.kind
    assert loaded.input_scaling.mean.tobytes() == net.input_scaling.mean.tobytes()
    assert loaded.input_scaling.std.shape == net.input_scaling.std.shape


def test_an_untrained_network_comes_back_and_may_still_choose_its_normalisation(path):
    loaded = assert_comes_back(Network([4, 5, 3]), path)
    fastmlp.train(loaded, X, TARGETS["softmax"], normalize="standardize", epochs=1)
    assert loaded.input_scaling.kind == "standardize"


def test_a_network_without_hidden_layers_comes_back(path):
    assert_comes_back(Network([4, 3]), path)


@pytest.mark.parametrize("shape", [(20,), (20, 1)])
def test_the_shape_of_predictions_comes_back(path, shape):
    net = trained(output="identity", sizes=(4, 1), activation="relu", y=GENERATOR.standard_normal(shape))
    assert assert_comes_back(net, path).predict(X).shape == shape


@pytest.mark.parametrize("names", [("a", "b", "c"), ("Straße", "数字", 'quote " \\ \n'), np.array(["x", "y", "z"])])
def test_class_names_come_back(path, names):
    net = Network([4, 3], class_names=names)
    net.save(path)
    assert Network.load(path).class_names == tuple(names)


def test_training_goes_on_alike_with_a_loaded_network(path):
    net = trained(normalize="standardize")
    loaded = assert_comes_back(net, path)
    for each in (net, loaded):
        fastmlp.train(each, X, TARGETS["softmax"], epochs=2)
    assert loaded.parameters.tobytes() == net.parameters.tobytes()


def test_a_loaded_network_keeps_its_normalisation(path):
    trained(normalize="standardize").save(path)
    with pytest.raises(ConfigError, match="normalize: this network was trained with 'standardize' and keeps it"):
        fastmlp.train(Network.load(path), X, TARGETS["softmax"], normalize="scale")


def test_the_settings_of_a_training_are_kept_as_a_record(path):
    settings = TrainingSettings(epochs=3, learning_rate=0.125)
    trained().save(path, settings)
    config = json.loads(model_file.read_tensors(path).metadata["config"])
    assert TrainingSettings.from_mapping(config["training"]) == settings
    assert Network.load(path).sizes == (4, 6, 5, 3)


def test_the_version_is_kept(path):
    trained().save(path)
    assert model_file.read_tensors(path).metadata["fastmlp.version"] == fastmlp.__version__


def test_loaded_parameters_may_be_changed(path):
    trained().save(path)
    loaded = Network.load(path)
    loaded.weights[0][:] = 0
    assert not loaded.parameters[:24].any()


def test_saving_twice_replaces_the_file(path):
    trained().save(path)
    net = trained(epochs=2)
    assert_comes_back(net, path)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_path_may_be_text(path):
    trained().save(str(path))
    assert Network.load(str(path)).sizes == (4, 6, 5, 3)
    for call in (trained().save, Network.load, fastmlp.callbacks.Checkpoint, lambda path: fastmlp.load_dataset("mnist", path)):
        with pytest.raises(ConfigError, match="expected a path, got 3"):
            call(3)


def test_a_file_that_is_not_there_is_not_found(path):
    with pytest.raises(InputNotFound, match="net.safetensors"):
        Network.load(path)


def test_a_folder_that_is_not_there_cannot_be_saved_to(tmp_path):
    with pytest.raises(OutputError, match="nowhere"):
        trained().save(tmp_path / "nowhere" / "net.safetensors")


# Sound files that mean nothing


class Parts:
    """What a sound model file of a 4-6-5-3 network holds, to be spoilt: tensors, and metadata decoded from JSON."""

    def __init__(self, path, **arguments):
        trained(normalize="standardize", **arguments).save(path)
        file = model_file.read_tensors(path)
        self.path, self.tensors, self.metadata = path, dict(file.tensors), dict(file.metadata)
        self.config, self.classes, self.preprocess = (json.loads(file.metadata[key]) for key in ("config", "classes", "preprocess"))

    def load(self) -> Network:
        decoded = {"config": self.config, "classes": self.classes, "preprocess": self.preprocess}
        self.write(self.metadata | {key: json.dumps(value) for key, value in decoded.items()})
        return Network.load(self.path)

    def write(self, metadata) -> None:
        model_file.write_tensors(self.path, self.tensors, metadata)


@pytest.fixture
def parts(path):
    return Parts(path)


def test_the_parts_of_a_file_put_together_again_are_a_network(parts):
    assert parts.load().parameters.tobytes() == trained(normalize="standardize").parameters.tobytes()


def assert_refused(parts, message=None) -> None:
    with pytest.raises(ModelFileError, match=message) as raised:
        parts.load()
    assert str(parts.path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_tensor_that_is_missing_or_belongs_to_no_layer_is_named(parts, subtests):
    for name in ("layers.0.weight", "layers.2.bias", "normalisation.mean", "normalisation.deviation"):
        with subtests.test("missing", name=name):
            spoilt = copy.deepcopy(parts)
            del spoilt.tensors[name]
            assert_refused(spoilt, name)
    for name in ("layers.3.weight", "layers.3.bias", "layers.0.gamma", "optimizer.momentum", ""):
        with subtests.test("of no layer", name=name):
            spoilt = copy.deepcopy(parts)
            spoilt.tensors[name] = np.zeros(3, np.float32)
            assert_refused(spoilt, f"{name!r} belongs to no layer")


WRONG_TENSORS = [
    ("layers.0.weight", np.zeros((6, 4), np.float32)),
    ("layers.0.weight", np.zeros(24, np.float32)),
    ("layers.1.weight", np.zeros((7, 5), np.float32)),
    ("layers.1.bias", np.zeros((5, 1), np.float32)),
    ("layers.2.bias", np.zeros(4, np.float32)),
    ("layers.2.bias", np.zeros(0, np.float32)),
    ("layers.2.bias", np.zeros((), np.float32)),
    ("layers.2.weight", np.zeros((5, 3), np.float64)),
    ("layers.2.weight", np.zeros((5, 3), np.int32)),
]


def test_a_tensor_of_another_shape_or_type_is_named(parts, subtests):
    for name, tensor in WRONG_TENSORS:
        with subtests.test(name, shape=tensor.shape, dtype=tensor.dtype):
            spoilt = copy.deepcopy(parts)
            spoilt.tensors[name] = tensor
            assert_refused(spoilt, f"tensor {name}: expected float32")


def test_weights_that_are_not_finite_are_refused(parts, subtests):
    for name, value in (("layers.0.weight", np.nan), ("layers.0.weight", np.inf), ("layers.2.bias", -np.inf), ("layers.2.bias", np.nan)):
        with subtests.test(name, value=value):
            spoilt = copy.deepcopy(parts)
            spoilt.tensors[name].reshape(-1)[-1] = value
            assert_refused(spoilt, "expected finite weights")


NO_SCALINGS = [
    ("normalisation.mean", np.full(4, np.nan)),
    ("normalisation.deviation", np.full(4, np.inf)),
    ("normalisation.deviation", np.zeros(4)),
    ("normalisation.deviation", -np.ones(4)),
    ("normalisation.deviation", np.array(1.0)),  # the mean has one number per feature
    ("normalisation.deviation", np.ones(4, np.float32)),
    ("normalisation.deviation", np.ones(3)),
    ("normalisation.mean", np.ones((4, 1))),
    ("normalisation.deviation", np.full(4, 1e-320)),  # float32 cannot hold the inverse of this
]


def test_a_normalisation_that_cannot_be_applied_is_refused(parts, subtests):
    for name, tensor in NO_SCALINGS:
        with subtests.test(name, tensor=tensor):
            spoilt = copy.deepcopy(parts)
            spoilt.tensors[name] = tensor
            assert_refused(spoilt, "normalisation|std")


NO_NETWORKS = [
    ("sizes", [4, 6, 5, 4]),
    ("sizes", [4, 6, 3]),
    ("sizes", [4, 6, 5, 3, 2]),
    ("sizes", [4]),
    ("sizes", []),
    ("sizes", None),
    ("sizes", "4-6-5-3"),
    ("sizes", [4, 6.0, 5, 3]),
    ("sizes", [4, True, 5, 3]),
    ("sizes", [4, -6, 5, 3]),
    ("sizes", [4, 10**15, 5, 3]),
    ("sizes", {"0": 4}),
    ("activations", ["relu", "swish"]),
    ("activations", ["relu", "tanh", "tanh"]),
    ("activations", []),
    ("activations", None),
    ("activations", "relu"),
    ("activations", ["relu", 3]),
    ("activations", ["relu", None]),
    ("output", "linear"),
    ("output", None),
    ("output", 3),
    ("output", ["softmax"]),
    ("loss", "poisson"),
    ("loss", "hinge"),
    ("loss", None),
    ("loss", ["cross_entropy"]),
    ("dtype", "float64"),
    ("dtype", "float16"),
    ("dtype", "object"),
    ("dtype", None),
    ("target_is_column", "yes"),
    ("target_is_column", None),
]


def test_a_configuration_of_no_network_is_refused(parts, subtests):
    for key, value in NO_NETWORKS:
        with subtests.test(key=key, value=value):
            spoilt = copy.deepcopy(parts)
            spoilt.config[key] = value
            assert_refused(spoilt)


def test_a_key_that_is_missing_is_named(parts, subtests):
    for key in ("sizes", "activations", "output", "loss", "dtype", "target_is_column"):
        with subtests.test(key):
            spoilt = copy.deepcopy(parts)
            del spoilt.config[key]
            assert_refused(spoilt, f"expected '{key}' in the metadata, found none")


def test_a_key_that_is_unknown_is_ignored(parts):
    parts.config["colour"] = "blue"
    parts.metadata["a later invention"] = "yes"
    assert parts.load().sizes == (4, 6, 5, 3)


def test_class_names_that_do_not_fit_are_refused(parts, subtests):
    for classes in (["a", "b"], ["a", "b", "c", "d"], [], [0, 1, 2], ["a", "b", None], "abc", {"0": "a"}, 3):
        with subtests.test(classes=classes):
            parts.classes = classes
            assert_refused(parts)


def test_a_normalisation_that_is_unknown_or_has_no_mean_is_refused(parts, subtests):
    unknown = ({"normalize": "minmax"}, {"normalize": 3}, {"normalize": ["scale"]}, {}, [], None, "scale")
    for preprocess in (*unknown, {"normalize": "none"}, {"normalize": "scale"}):
        with subtests.test(preprocess=preprocess):
            parts.preprocess = preprocess
            assert_refused(parts)


UNSOUND_JSON = [
    "",
    "{",
    "3",
    '{"sizes": [4, 6, 5, 3], "sizes": [4, 3]}',
    '{"sizes": NaN}',
    '{"sizes": [' + "9" * 5000 + "]}",
    "[" * 100_000,
    '{"sizes":' * 500 + "1" + "}" * 500,
    '{"sizes": "\\ud800"}',
]


def test_metadata_that_hold_no_sound_json_are_refused(parts, subtests):
    for key in ("config", "classes", "preprocess"):
        for text in UNSOUND_JSON:
            with subtests.test(key, text=text[:20]):
                parts.write(parts.metadata | {key: text})
                with pytest.raises(ModelFileError, match=key):
                    Network.load(parts.path)


def test_metadata_that_hold_no_json_object_are_refused_and_missing_ones_are_named(parts, subtests):
    for key, text in itertools.product(("config", "preprocess"), ("null", "[]")):
        with subtests.test(key, text=text):
            parts.write(parts.metadata | {key: text})
            with pytest.raises(ModelFileError, match="expected JSON objects"):
                Network.load(parts.path)
    for key in ("config", "classes", "preprocess"):
        with subtests.test("missing", key=key):
            parts.write({name: text for name, text in parts.metadata.items() if name != key})
            with pytest.raises(ModelFileError, match=key):
                Network.load(parts.path)


@pytest.mark.parametrize("found", ["0", "2", "999", "x", "1x", ""])
def test_another_format_is_refused(parts, monkeypatch, found):
    text = parts.path.read_bytes()
    assert text.count(b'"fastmlp.format":"1"') == 1
    monkeypatch.setattr(model_file, "_check_format", lambda found: None)
    monkeypatch.setattr(model_file, "FORMAT", found)
    parts.write(parts.metadata)
    monkeypatch.undo()
    with pytest.raises(ModelFileError, match="expected format 1, got"):
        Network.load(parts.path)


def test_a_format_with_a_higher_minor_number_is_read(parts, monkeypatch):
    monkeypatch.setattr(model_file, "_check_format", lambda found: None)
    monkeypatch.setattr(model_file, "FORMAT", "1.7")
    parts.write(parts.metadata)
    monkeypatch.undo()
    assert Network.load(parts.path).sizes == (4, 6, 5, 3)
