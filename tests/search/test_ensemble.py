"""Networks that are trained together and answer as one: each as if it had been alone, the answer the mean of theirs."""

import numpy as np
import polars as pl
import pytest

import fastmlp
from fastmlp.errors import ConfigError, TrainingError
from fastmlp.network import network_for
from fastmlp.network.joined import joined
from fastmlp.search.ensemble import Ensemble
from fastmlp.search.task import DONE, Trained
from fastmlp.settings import NetworkSettings
from fastmlp.training.history import Epoch

SHORT = {"hidden": (8, 6), "epochs": 3}


def table(kind, preset="best"):
    random = np.random.default_rng(3)
    x = random.normal(size=(300, 3))
    answer = x[:, 0] * x[:, 1] + 0.1 * random.normal(size=300)
    y = answer if kind == "values" else np.where(answer > 0, "up", "down")
    return fastmlp.load_table(pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "y": y}), "y", preset=preset)


@pytest.mark.parametrize("kind", ["classes", "values"])
def test_an_ensemble_answers_the_mean_of_networks_trained_alone(kind, tmp_path):
    data = table(kind)
    members = []
    for seed in (5, 6, 7):
        members.append(network_for(data, NetworkSettings(hidden=SHORT["hidden"]), seed))
        fastmlp.train(members[-1], data, epochs=SHORT["epochs"], seed=seed, verbose=False)
    found = fastmlp.train_ensemble(data, 3, {**SHORT, "seed": 5})
    assert found.sizes == (data.columns.n_inputs, 24, 18, 2 if kind == "classes" else 1)
    mean = np.mean([member.logits(data.x_test).astype(np.float64) for member in members], axis=0)
    np.testing.assert_allclose(found.logits(data.x_test), mean, atol=1e-5)
    if kind == "values":
        values = np.mean([member.predict(data.x_test) for member in members], axis=0)
        np.testing.assert_allclose(found.predict(data.x_test), values, atol=1e-5)
    found.save(tmp_path / "m.safetensors")
    loaded = fastmlp.Network.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(loaded.predict(data.x_test), found.predict(data.x_test))
    alone = fastmlp.train_ensemble(data, 3, {**SHORT, "seed": 5, "threads": 1})
    np.testing.assert_array_equal(alone.parameters, found.parameters)


def test_a_preset_says_how_many_networks_there_are():
    assert [table("classes", preset).n_networks for preset in ("fast", "default", "best")] == [1, 1, table("classes").n_networks]
    assert fastmlp.train_ensemble(table("classes", "fast"), None, SHORT).sizes[1:-1] == SHORT["hidden"]
    with pytest.raises(ConfigError, match=r"preset: expected one of fast, default, best, got 'bets'; did you mean 'best'\?"):
        table("classes", "bets")


def test_what_is_no_setting_of_an_ensemble_is_refused():
    for given, message in (
        ({"epoch": 3}, "unknown setting 'epoch'; did you mean 'epochs'"),
        (3, "expected a mapping"),
        ({"optimizer": "adm"}, "adam"),
    ):
        with pytest.raises(ConfigError, match=message):
            fastmlp.train_ensemble(table("classes"), 2, given)


def test_networks_with_batch_normalisation_are_folded_first():
    data = table("classes")
    settings = NetworkSettings(hidden=(8,), normalization="batch")
    members = [network_for(data, settings, seed) for seed in (0, 1)]
    for seed, member in enumerate(members):
        fastmlp.train(member, data, epochs=2, seed=seed, verbose=False)
    mean = np.mean([member.logits(data.x_test) for member in members], axis=0)
    np.testing.assert_allclose(joined(members).logits(data.x_test), mean, atol=1e-5)


def test_networks_that_differ_are_not_joined():
    one, other, wider = (fastmlp.Network([2, n, 2], seed=n) for n in (3, 3, 4))
    with pytest.raises(ConfigError, match=r"joined: expected networks of one kind, got sizes \(2, 3, 2\) and \(2, 4, 2\)"):
        joined([one, wider])
    other.classes = ["no", "yes"]
    with pytest.raises(ConfigError, match="trained on the same rows, got another known_classes"):
        joined([one, other])
    with pytest.raises(ConfigError, match="without layer normalisation"):
        joined([fastmlp.Network([2, 3, 2], normalization="layer")] * 2)


def test_what_diverges_is_left_out_and_nothing_at_all_is_an_error():
    data = table("values")
    with np.errstate(all="ignore"), pytest.raises(TrainingError, match="the loss of all 2 networks is no longer finite"):
        fastmlp.train_ensemble(data, 2, {**SHORT, "learning_rate": 1e30, "optimizer": "sgd"})


def test_an_epoch_of_an_ensemble_has_each_row_once():
    one = Epoch(1, 0.5, 0.9, None, None, 0.1, 2.0, 50.0)
    models = tuple(Trained(None, None, (one,), {}, None, 2.0, DONE) for _ in range(2))
    together = Ensemble(None, models).epochs()[0]
    assert (together.seconds, together.seconds * together.samples_per_second) == (4.0, 100.0)
