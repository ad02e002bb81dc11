"""Run folders written by hand, as the commands leave them."""

import json

from fastmlp.settings import NetworkSettings, TrainingSettings

FIELDS = (
    "epoch",
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "learning_rate",
    "seconds",
    "samples_per_second",
)


def history(*validation_accuracy, **changes):
    """A history with these accuracies on validation rows and plain numbers for the rest."""
    epochs = len(validation_accuracy)
    made = {
        "epoch": list(range(1, epochs + 1)),
        "train_loss": [1.0 / (epoch + 1) for epoch in range(epochs)],
        "train_accuracy": [accuracy + 0.01 for accuracy in validation_accuracy],
        "validation_loss": [1.1 / (epoch + 1) for epoch in range(epochs)],
        "validation_accuracy": list(validation_accuracy),
        "learning_rate": [0.01] * epochs,
        "seconds": [0.5] * epochs,
        "samples_per_second": [110_000.0] * epochs,
    }
    return made | changes


def model(seed, *accuracies, changed=None, fold=None, test=None, outcome="done", seconds=1.0, key=None):
    made = history(*accuracies)
    last = accuracies[-1] if outcome == "done" else None
    return {
        "key": key or f"{changed or ''} seed={seed} fold={fold}",
        "changed": changed or {},
        "seed": seed,
        "fold": fold,
        "history": made,
        "validation": {"loss": last and made["validation_loss"][-1], "accuracy": last},
        "test": test,
        "seconds": seconds,
        "outcome": outcome,
    }  # fmt: skip


def write_run(folder, kind=None, *, models=(), epochs=None, result=None, experiments=None, **manifest):
    """Write a run folder and return it; keywords change the manifest."""
    folder.mkdir(parents=True)
    network, train = (
        NetworkSettings(activation="sigmoid").to_dict(),
        TrainingSettings(epochs=2, learning_rate=0.2, validation=5000, normalize="scale").resolved("image").to_dict(),
    )
    made = {
        "started": "2026-11-25T16:42:55.137+00:00",
        "ended": "2026-11-25T16:42:56.137+00:00",
        "outcome": "done",
        "seed": 0,
        "settings": {"network": network, "train": train},
        "data": {"name": "mnist", "files": {"train-images-idx3-ubyte": "ab" * 32}},
        "versions": {"fastmlp": "0.1.0", "python": "3.11.7", "numpy": "2.4.6", "numba": "0.68.1", "llvmlite": None},
        "cpu": "Some CPU @ 2 GHz",
        "results": None,
    }
    made |= {"kind": kind, "arguments": {}} if kind else {}
    (folder / "manifest.json").write_text(json.dumps(made | manifest))
    machine = {"cpu": "Some CPU @ 2 GHz", "cores": 2, "memory_bytes": 8 * 2**30, "system": "Linux", "python": "3.11.7"}
    (folder / "env.json").write_text(json.dumps({"versions": made["versions"], "machine": machine, "threads": 2}))
    if epochs is not None:
        write_lines(folder / "metrics.jsonl", [{field: epochs[field][place] for field in FIELDS} for place in range(len(epochs["epoch"]))])
    if models:
        write_lines(folder / "models.jsonl", models)
    for name, found in (experiments or {}).items():
        (folder / "experiments" / name).mkdir(parents=True)
        write_lines(folder / "experiments" / name / "models.jsonl", found)
    if result is not None:
        (folder / "result.json").write_text(json.dumps(result))
    return folder


def write_lines(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def summary(mean, std=0.001, n=5):
    return {"mean": mean, "std": std, "lowest": mean - 2 * (std or 0), "highest": mean + 2 * (std or 0), "n": n}


def series(name, *accuracies):
    """A curve of a reproduction's figure, epoch by epoch."""
    found = [summary(accuracy) for accuracy in accuracies]
    losses = [summary(1 - accuracy) for accuracy in accuracies]
    scores = {"train_loss": losses, "train_accuracy": found, "validation_loss": losses, "validation_accuracy": found}
    return {"name": name, "runs": 5, "epoch": list(range(1, len(found) + 1)), **scores}


def row(id, experiment, says, measured, same, quantity="validation accuracy", settings=None, note=""):
    return {
        "id": id, "experiment": experiment, "report_says": says, "quantity": quantity, "measured": measured, "settings": settings or {},
        "same": same, "note": note,
    }  # fmt: skip


def write_reproduction(folder, note="", name="our weights"):
    """Write the folder of a reproduction with a row and a figure of each kind; texts can be made hostile."""
    grid = [-3.0, 0.0, 3.0]
    figures = {
        "1a": {"kind": "class_distribution", "title": "Classes", "claim": "two classes" + note, "class_names": ["inside", "outside" + note],
               "counts": [26_566, 33_434]},
        "1b": {"kind": "curves", "title": "Loss", "claim": "the loss falls", "score": "train_loss", "series": [series(name, 0.5, 0.6)]},
        "1c": {"kind": "decision_boundary", "title": "Boundary", "claim": "", "x1": grid, "x2": grid,
               "probability": [[0.9, 0.2, 0.9], [0.8, 0.1, 0.8], [0.9, 0.2, 0.9]], "points": [[0.1, 0.2, 0], [1.5, 1.0, 1]]},
        "2": {"kind": "curves", "title": "20 epochs", "claim": "98 % validation",
              "series": [series(name, 0.9, 0.97), series("other", 0.8, 0.9)]},
        "3": {"kind": "band", "title": "30 initialisations", "claim": "hardly moves", "series": [series(name, 0.9, 0.97)]},
        "4": {"kind": "sweep", "title": "Learning rates", "claim": "0.01 is best", "setting": "learning_rate",
              "values": [0.0001, 0.01, 0.05], "series": [{"name": name, "validation_accuracy": [summary(0.9), summary(0.97), None]}]},
    }  # fmt: skip
    rows = [
        row(
            "0",
            "slip: the printed sigmoid",
            "its derivative is a (1 − a)",
            summary(1.0915, None, 1),
            "no",
            "relative error of the derivative",
        ),
        row("2a.1", "20 epochs: validation", "98 %", summary(0.9756, 0.0012, 5), "yes", settings={"epochs": 20, "activation": "sigmoid"}),
        row("2a.3", "20 epochs: after epoch 5", "validation is flat", summary(0.0021, 0.0004, 5), "yes", "gain in validation accuracy"),
        row("final.1", "final run" + note, "97.5 %", summary(0.9801, 0.0006, 5), "higher", "test accuracy", note=note),
        row("5c.1", "Fashion-MNIST, ReLU", "87.9 %", None, "no", "test accuracy", note="5 of 5 runs diverged"),
    ]
    result = {"rows": rows, "figures": figures, "how_compared": "How it was compared." + note, "seconds": 400.0, "quick": False}
    experiments = {"2": [model(0, 0.9, 0.97, seconds=2.0), model(1, 0.9, 0.98, seconds=3.0)]}
    arguments = {"seeds": 5, "repeats": 30, "quick": False}
    data = {"name": "mnist, fashion-mnist, synthetic", "files": {}}
    return write_run(folder, "reproduce", result=result, experiments=experiments, arguments=arguments, data=data)
