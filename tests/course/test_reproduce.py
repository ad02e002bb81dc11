"""The pieces of the reproduction that can be checked by themselves."""

import numpy as np
import pytest

import fastmlp
from fastmlp.course import reproduce
from fastmlp.course.claims import NO, Findings
from fastmlp.course.reproduce import AS_READ, NETWORK, Laboratory, Stage, non_negative_weights, printed_sigmoid
from fastmlp.network import network_for


@pytest.fixture(scope="module")
def laboratory(mnist):
    few = mnist.first_rows(1200, 100)
    return Laboratory(few, few, few, seeds=2, repeats=3)


def test_weights_like_the_reports_are_whole_hundredths_from_0_to_8():
    network = fastmlp.Network([784, 300, 10], "sigmoid", seed=3)
    non_negative_weights(network)
    for weight in network.weights:
        counts = np.bincount(np.rint(100 * weight).astype(int).ravel())
        assert len(counts) == 9
        assert counts.max() - counts.min() <= 1
        np.testing.assert_allclose(100 * weight, np.rint(100 * weight), atol=1e-5)
    assert all((bias == 0).all() for bias in network.biases)


def test_weights_like_the_reports_differ_by_seed():
    first, second = (fastmlp.Network([784, 300, 10], seed=seed) for seed in (0, 1))
    non_negative_weights(first)
    non_negative_weights(second)
    assert (first.weights[0] != second.weights[0]).mean() > 0.8  # 8 of 9 by chance


def test_printed_sigmoid_fails_the_gradient_check(laboratory):
    events = printed_sigmoid(laboratory)
    next(events)
    with pytest.raises(StopIteration) as end:
        next(events)
    [row] = end.value.value.rows
    assert row.same == NO
    assert row.measured.mean > 0.1


def test_settings_of_the_report_hold_out_a_twelfth_of_a_smaller_data_set(laboratory, mnist):
    few = laboratory.group(laboratory.mnist, {"learning_rate": 0.001})
    assert [(task.training.seed, task.training.validation, task.training.learning_rate) for task in few] == [
        (0, 100, 0.001),
        (1, 100, 0.001),
    ]
    assert laboratory.group(mnist, {})[0].training == AS_READ


def test_final_models_alone_open_the_test_rows_and_see_all_others(laboratory):
    assert (Laboratory(*laboratory[:3]).seeds, Laboratory(*laboratory[:3]).repeats) == (5, 30)
    assert not any(task.opens_test for task in laboratory.group(laboratory.mnist, {}))
    assert [(task.opens_test, task.training.validation) for task in laboratory.finals(laboratory.mnist, {})] == [(True, 0)] * 2


@pytest.mark.long
def test_report_reaches_its_test_accuracy_as_it_is_read_here(mnist):
    network = network_for(mnist, NETWORK, seed=0)
    settings = {name: getattr(AS_READ, name) for name in ("epochs", "batch_size", "learning_rate", "reduction", "normalize")}
    fastmlp.train(network, mnist.x_train, mnist.y_train, **settings)
    assert network.evaluate(mnist.x_test, mnist.y_test)["accuracy"] > 0.972  # the report says 0.975


# --- whole experiments, of which no model is trained: what a model gave is made up ----------------------------------------


def made_up(task, train, validation, loss=0.5, test=None):
    """Return the record of a model that gave these training and validation accuracies epoch by epoch; None for one that diverged."""
    done = validation is not None
    n = len(validation) if done else 0
    history = {
        "epoch": [*range(1, n + 1)], "train_loss": [loss] * n if isinstance(loss, float) else loss, "train_accuracy": list(train)[:n],
        "validation_loss": [loss] * n if isinstance(loss, float) else loss, "validation_accuracy": list(validation or ()),
    }  # fmt: skip
    return {
        "key": task.key, "changed": dict(task.changed), "seed": task.training.seed, "fold": None, "history": history,
        "validation": {"loss": history["validation_loss"][-1] if done else None, "accuracy": validation[-1] if done else None},
        "test": {"loss": 1.0, "accuracy": test} if test is not None and task.opens_test else None,
        "seconds": 1.0, "outcome": "done" if done else "diverged",
    }  # fmt: skip


@pytest.fixture
def found(monkeypatch, mnist, fashion_mnist):
    """Return a function: the rows by id, figures and stages of an experiment whose models gave what another function says of their task."""

    def found(experiment, outcome, seeds=2, repeats=3):
        def complete(tasks, data, ledger, cores, executor):
            for task in tasks:
                ledger.add(outcome(task))
            yield from ()

        monkeypatch.setattr(reproduce, "complete", complete)
        points = fastmlp.load_dataset("synthetic").first_rows(600, 100)
        laboratory = Laboratory(mnist.first_rows(1200, 100), fashion_mnist.first_rows(1200, 100), points, seeds, repeats)
        events, stages = experiment(laboratory), []
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                return {row.id: row for row in end.value.rows}, end.value.figures, stages
            if isinstance(event, Stage):
                stages.append(tuple(event))

    return found


def verdicts(rows):
    return {id: row.same for id, row in rows.items()}


def steps(end, n, start=0.5):
    """Return an accuracy that rises to its end at once after the first of n epochs."""
    return [start] + [end] * (n - 1)


def test_points_of_the_plane_are_learnt_at_the_best_of_four_rates(found):
    accuracies = {1e-5: 0.52, 1e-4: 0.6, 1e-3: 0.97, 1e-2: 0.9}

    def outcome(task):
        accuracy = accuracies[task.training.learning_rate] + 0.01 * task.training.seed
        return made_up(task, [0.5] * 5, steps(accuracy, 5), [0.7, 0.69, 0.68, 0.67, 0.66], test=accuracy - 0.02)

    rows, figures, stages = found(reproduce.synthetic, outcome)
    assert stages == [("1", "synthetic points: learning rates on validation rows", 8), ("1-final", "synthetic points: final runs", 4)]
    assert verdicts(rows) == {"1a": "yes", "1b": "yes", "1c": "no"}
    y = fastmlp.load_dataset("synthetic").y_train[:600]
    assert rows["1a"].measured.mean == pytest.approx(y.mean())
    assert rows["1a"].note == f"{100 * y.mean():.1f} % of 600 points lie outside of the ellipse"
    assert rows["1b"].measured.mean == pytest.approx(0.66)
    assert rows["1b"].note == (
        "from 0.7000 to 0.6600, but guessing gives 0.6931: the rate is too small to learn anything; of the test points 50.50 % are "
        "classified correctly"
    )
    assert rows["1c"].measured.mean == pytest.approx(0.955)
    assert rows["1c"].settings["learning_rate"] == 1e-3
    assert rows["1c"].note == "the best of the rates 1e-05, 0.0001, 0.001, 0.01 by validation"
    assert [len(figures[name]["series"]) for name in ("1b",)] == [4]
    plane = figures["1c"]
    assert plane["title"] == "What a 2-3-2 network has learnt at rate 0.001"
    assert (np.shape(plane["probability"]), len(plane["points"])) == ((61, 61), 600)
    assert figures["1a"]["counts"].tolist() == np.bincount(y).tolist()


def test_a_loss_that_rises_and_a_best_rate_that_is_the_reports_are_told(found):
    rows, _, stages = found(
        reproduce.synthetic, lambda task: made_up(task, [0.5] * 5, steps(0.5 - task.training.learning_rate, 5), [0.7] * 5)
    )
    assert verdicts(rows) == {"1a": "yes", "1b": "no", "1c": "yes"}
    assert stages[1] == ("1-final", "synthetic points: final runs", 2)  # its rate is the best one
    assert rows["1c"].measured is None


OF_20_EPOCHS = {  # rate, rows of a batch: training and validation accuracy at the end, and validation accuracy before the last 15 epochs
    (0.001, 50): (0.9955, 0.973, 0.969),
    (0.001, 20): (0.985, 0.981, 0.97),
    (0.001, 200): (0.95, 0.94, 0.90),
    (0.003, 50): (0.9976, 0.977, 0.9745),
    (0.01, 50): (1.0, 0.987, 0.985),
}


def test_20_epochs_are_told_at_the_reports_rate_and_nearest_to_its_claims(found):
    def outcome(task):
        train, validation, before = OF_20_EPOCHS[task.training.learning_rate, task.training.batch_size]
        return made_up(task, [0.5] * 19 + [train], [before] * 5 + [validation] * 15)

    rows, figures, stages = found(reproduce.overfitting, outcome)
    assert stages == [("2", "MNIST: 20 epochs, learning rates and batch sizes", 10)]
    assert verdicts(rows) == {
        "2a.1": "no", "2a.2": "no", "2a.3": "no", "2b.1": "yes", "2b.2": "yes", "2b.3": "yes", "2c.1": "yes", "2c.2": "no",
    }  # fmt: skip
    assert [round(rows[id].measured.mean, 5) for id in rows] == [0.973, 0.9955, 0.004, 0.977, 0.9976, 0.0025, 0.981, 0.94]
    assert [rows[id].settings["batch_size"] for id in ("2a.1", "2b.1", "2c.1", "2c.2")] == [50, 50, 20, 200]
    assert {row.settings["epochs"] for row in rows.values()} == {20}
    assert rows["2b.1"].settings["learning_rate"] == 0.003
    assert rows["2a.3"].note == "called flat below 0.30 points"
    assert rows["2c.2"].note.startswith("training accuracy 95.00 %; where gradients are summed")
    assert [series["name"] for series in figures["2"]["series"]][3] == "rate 0.003, 50 rows"


def test_models_that_diverged_are_left_out_and_counted(found):
    def outcome(task):
        return made_up(task, [], None) if task.training.seed else made_up(task, steps(0.998, 20), steps(0.98, 20))

    rows, _, _ = found(reproduce.overfitting, outcome)
    assert rows["2a.1"].note == "1 of 2 runs diverged"
    assert (rows["2a.1"].measured.n, rows["2a.1"].same, rows["2a.2"].same) == (1, "yes", "yes")
    rows, _, _ = found(reproduce.overfitting, lambda task: made_up(task, [], None))
    assert {(row.measured, row.same) for row in rows.values()} == {(None, "no")}


@pytest.mark.parametrize(
    ("spread", "behind", "expected"), [(0.001, 0.0, ("yes", "yes", "yes")), (0.02, 0.05, ("no", "no", "no"))], ids=["alike", "apart"]
)
def test_initialisations_are_compared_seed_by_seed(found, spread, behind, expected):
    def outcome(task):
        own = 0.95 + spread * (task.training.seed - 2)
        return made_up(task, [0.9] * 5, steps(own - behind if task.start else own, 5))

    rows, _, stages = found(reproduce.initialisation, outcome, seeds=5, repeats=6)
    assert stages == [("3", "MNIST: 6 initialisations", 11)]
    assert tuple(verdicts(rows).values()) == expected
    assert rows["3a"].experiment == "6 random initialisations"
    assert rows["3a"].measured.mean == pytest.approx(0.95 + 0.5 * spread)
    assert rows["3a"].note.startswith(f"from {100 * (0.95 - 2 * spread):.2f} % to {100 * (0.95 + 3 * spread):.2f} %; ")
    assert rows["3b"].measured.mean == 0.5
    assert rows["3c"].measured.mean == pytest.approx(0.95 - behind)
    assert rows["3c"].settings["weights"] == "0.01 × (0 to 8)"
    assert "(mean cosine of their weights 0.71, of ours 0.00)" in rows["3c"].note  # 0.71: 4 ** 2 over the mean of 0 to 8 squared


@pytest.mark.parametrize(
    ("rates", "expected", "note"),
    [
        ({0.0001: 0.8, 0.001: 0.9, 0.01: 0.97, 0.05: 0.96}, "yes", "0.01 is 1.00 points better than 0.05"),
        ({0.0001: 0.8, 0.001: 0.9, 0.01: 0.93, 0.05: 0.96}, "no", "0.01 is 3.00 points worse than 0.05"),
        ({0.0001: 0.8, 0.001: 0.98, 0.01: 0.97, 0.05: 0.96}, "no", "0.01 is 1.00 points better than 0.05"),
    ],
    ids=["as claimed", "the other way round", "another is best"],
)
def test_learning_rates_are_ranked_for_either_reading_of_a_gradient(found, rates, expected, note):
    def outcome(task):
        averaged = 0.1 * (task.training.reduction == "mean")
        return made_up(task, [0.9] * 5, steps(rates[task.training.learning_rate] - averaged + 0.0001 * task.training.seed, 5))

    rows, figures, stages = found(reproduce.learning_rates, outcome, seeds=5)
    assert stages == [("4", "MNIST: learning rates", 40)]
    best = max(rates, key=rates.get)
    assert verdicts(rows) == {"4a": expected, "4b": expected}
    assert [row.measured.mean for row in rows.values()] == pytest.approx([rates[best] + 0.0002, rates[best] - 0.1 + 0.0002])
    assert [(row.settings["learning_rate"], row.settings["reduction"]) for row in rows.values()] == [(best, "sum"), (best, "mean")]
    assert rows["4a"].note.startswith(", ".join(f"{rate:g}: {100 * value + 0.02:.2f} %" for rate, value in rates.items()))
    assert note in rows["4a"].note
    drawn = [summary.mean for summary in figures["4"]["series"][0]["validation_accuracy"]]
    assert drawn == pytest.approx([value + 0.0002 for value in rates.values()])
    assert [series["name"] for series in figures["4"]["series"]] == ["gradients summed over a batch", "gradients averaged over a batch"]


def test_final_runs_are_read_in_three_ways_and_more_rows_are_compared_with_fewer(found):
    seen = {}

    def outcome(task):
        seen.setdefault(len(task.train_rows) if task.train_rows is not None else None, task)
        test = {("sum", "standardize"): 0.9746, ("mean", "standardize"): 0.972, ("sum", "scale"): 0.978}
        more = 0.97 if task.train_rows is not None and len(task.train_rows) == 1100 else 0.96
        chance = 0.0001 * task.training.seed
        return made_up(task, [0.9] * 5, steps(more + chance, 5), test=test[task.training.reduction, task.training.normalize])

    rows, figures, stages = found(reproduce.final_test, outcome, seeds=5)
    assert stages == [("final", "MNIST: final runs and test rows", 25)]
    assert verdicts(rows) == {"final.1": "yes", "final.2": "no", "final.3": "higher", "final.4": "no"}
    assert [row.measured.mean for row in rows.values()] == pytest.approx([0.9746, 0.972, 0.978, 0.9702])
    assert rows["final.4"].experiment == "slip: 1,000 and 1,100 training rows are both named"
    assert rows["final.4"].settings["rows"] == 1100
    assert rows["final.4"].note.startswith("with fewer 96.02 %: more rows are 1.00 points better than fewer")
    assert set(seen) == {None, 1000, 1100}
    assert seen[None].training.validation == 0
    for rows_of_task, task in seen.items():
        if rows_of_task:
            assert task.train_rows.tolist() == list(range(rows_of_task))
            assert task.validation_rows.tolist() == list(range(1100, 1200))
            assert (task.training.validation, task.opens_test) == (None, False)
    assert figures == {}


def test_networks_of_fashion_are_told_with_the_reports_settings_and_with_the_best_of_a_scan(found):
    test = {"5a": 0.8654, "5b": 0.874, "5c": 0.87}

    def outcome(task):
        id = "5c" if task.network.activation == "relu" else "5b" if len(task.network.hidden) == 2 else "5a"
        best = {"5a": 0.01, "5b": 0.02, "5c": 0.001}[id]
        validation = 0.88 if task.training.learning_rate == best else 0.86
        n, chance = task.training.epochs, 0.0001 * task.training.seed
        losses = [0.5, 0.4, 0.45, 0.5, 0.6] + [0.7] * (n - 5)
        return made_up(task, [0.9] * n, steps(validation + chance, n), losses, test=test[id])

    rows, figures, stages = found(reproduce.fashion, outcome)
    assert stages == [("5-scan", "Fashion-MNIST: settings on validation rows", 18), ("5", "Fashion-MNIST: final runs and test rows", 10)]
    assert verdicts(rows) == {"5a.1": "yes", "5b.1": "higher", "5b.2": "higher", "5c.1": "no", "5c.2": "no", "5c.3": "yes"}
    assert [rows[id].report_says for id in rows] == ["86.5 %", "87.0 %", "87.0 %", "87.9 %", "87.9 %", "overfits after 2 epochs"]
    assert [rows[id].settings["learning_rate"] for id in rows] == [0.01, 0.01, 0.02, 0.01, 0.001, 0.001]
    assert [rows[id].settings["hidden"] for id in rows] == [[300]] + [[300, 300]] * 5
    assert [rows[id].settings["epochs"] for id in rows] == [5, 5, 5, 5, 10, 10]
    assert rows["5b.2"].experiment == "Fashion-MNIST, 300-300 sigmoid, the best by validation"
    assert rows["5c.3"].measured.mean == 2.0
    names = [series["name"] for series in figures["5"]["series"]]
    assert names == ["300 sigmoid, rate 0.01", "300-300 sigmoid, rate 0.02", "300-300 ReLU, rate 0.001"]


@pytest.mark.parametrize(("lowest", "same"), [(3, "yes"), (4, "no")])
def test_overfitting_after_two_epochs_is_a_lowest_loss_at_two_or_three(found, lowest, same):
    def outcome(task):
        losses = [0.5 + 0.01 * abs(epoch - lowest) for epoch in range(1, task.training.epochs + 1)]
        return made_up(task, [0.9] * len(losses), [0.8] * len(losses), losses, test=0.8)

    rows, _, _ = found(reproduce.fashion, outcome)
    assert (rows["5c.3"].measured.mean, rows["5c.3"].same) == (lowest, same)


def test_all_experiments_run_in_their_order_and_their_findings_are_put_together(monkeypatch, laboratory):
    def experiment(id):
        def run(laboratory):
            yield Stage(id, id, 0)
            return Findings([id], {id: {}})

        return run

    monkeypatch.setattr(reproduce, "EXPERIMENTS", tuple(experiment(id) for id in "abc"))
    events = reproduce.reproduce(laboratory)
    assert [next(events).id for _ in range(3)] == ["a", "b", "c"]
    with pytest.raises(StopIteration) as end:
        next(events)
    assert end.value.value == Findings(["a", "b", "c"], {"a": {}, "b": {}, "c": {}})


def test_models_are_kept_in_the_folder_of_their_experiment_and_common_settings_are_shown(laboratory, tmp_path, monkeypatch):
    def complete(tasks, data, ledger, cores, executor):
        yield from (ledger.add(made_up(task, [0.9], [0.8])) for task in tasks)

    monkeypatch.setattr(reproduce, "complete", complete)
    groups = [laboratory.group(laboratory.mnist, {}), laboratory.group(laboratory.mnist, {"learning_rate": 0.5}, 1)]
    events = laboratory._replace(folder=tmp_path).train("7", "title", laboratory.mnist, groups)
    assert tuple(next(events)) == ("7", "title", 3)
    list(events)
    assert len((tmp_path / "experiments" / "7" / "models.jsonl").read_text().splitlines()) == 3
    assert reproduce.common_settings() == {
        "hidden": [300], "activation": "sigmoid", "learning_rate": 0.01, "batch_size": 50, "epochs": 5, "reduction": "sum",
        "normalize": "standardize", "validation": 5000,
    }  # fmt: skip
