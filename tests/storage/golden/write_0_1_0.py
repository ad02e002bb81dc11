"""What wrote the files in 0.1.0/: run once, with fastmlp 0.1.0, in an empty folder. Kept to say what is in them; no later version runs it.

    python write_0_1_0.py .

Four models, each with the rows in expected.json and what 0.1.0 made of them:

    softmax-batch      6-5-4-3, batch normalisation, each feature standardised, named classes, weights of the best epoch
    sigmoid-layer      4-6-2, two labels, layer normalisation, float64, AdamW with an average over its steps
    identity-huber     5-7-1, Huber's loss with a number of its own, a column of targets, one pair of mean and deviation
    identity-quantile  5-4-2, the 0.9 quantile, float64, no hidden units normalised, inputs as they are

Four trainings of the command line on the synthetic points, whose expected end is that of the same training without an interruption:

    run-done           Adam, two epochs, done
    run-interrupted    a signal within the second epoch: batch normalisation, an average over the steps, Adam, a step schedule
    run-killed         no word of its end: layer normalisation, the best weights, Nesterov, a plateau schedule
    run-lbfgs          L-BFGS after three of six iterations

Two experiments: sweep-interrupted has one of its four models, repeat-done all of its two.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

import fastmlp

SEED = 5
ROWS = 40  # of the test rows of the synthetic points, whose probabilities are kept

RUNS = {
    "run-done": ["--hidden", "5", "--activation", "tanh", "--optimizer", "adam", "--learning-rate", "0.01", "--batch-size", "400"]
    + ["--epochs", "2", "--patience", "5", "--restore-best", "--validation", "3000", "--seed", "1"],
    "run-interrupted": ["--hidden", "4", "--hidden", "3", "--norm-layers", "batch", "--optimizer", "adam", "--learning-rate", "0.02"]
    + ["--average", "ema", "--average-decay", "0.99", "--schedule", "step", "--decay-rate", "0.5", "--decay-epochs", "1.0"]
    + ["--normalize", "standardize", "--batch-size", "500", "--epochs", "3", "--validation", "2000", "--seed", "2", "--threads", "1"],
    "run-killed": ["--hidden", "4", "--norm-layers", "layer", "--optimizer", "sgd", "--momentum", "0.9", "--nesterov", "--restore-best"]
    + ["--learning-rate", "0.05", "--schedule", "plateau", "--decay-rate", "0.3", "--decay-epochs", "1.0", "--batch-size", "500"]
    + ["--epochs", "4", "--validation", "2000", "--seed", "3", "--threads", "1"],
    "run-lbfgs": ["--hidden", "6", "--activation", "silu", "--optimizer", "lbfgs", "--learning-rate", "1.0", "--dtype", "float64"]
    + ["--epochs", "6", "--validation", "1000", "--seed", "4", "--threads", "1"],
}

# What happens in a process of its own: where a training is ended within an epoch, and how.
END = """
import os, signal, sys
from fastmlp.training import loop
how, epoch = sys.argv.pop(1), int(sys.argv.pop(1))
advance = loop.Trainer._advance

def ended(self):
    if self.epoch == epoch:
        if self.row > 0 or how == "between":  # an iteration of L-BFGS is one step
            os._exit(9) if how == "kill" else os.kill(os.getpid(), signal.SIGINT)
        self._chunk = self.batch_size
    return advance(self)

if how != "run":
    loop.Trainer._advance = ended
from fastmlp.cli import main
main()
"""

END_EXPERIMENT = """
import os, signal, sys
from fastmlp.experiments import ledger
add = ledger.Ledger.add

def ended(self, record):
    add(self, record)
    os.kill(os.getpid(), signal.SIGINT)

ledger.Ledger.add = ended
from fastmlp.cli import main
main()
"""


def main(folder: Path) -> None:
    assert fastmlp.__version__ == "0.1.0"
    draw = np.random.default_rng(SEED)
    expected = {"models": models(folder, draw), "runs": {}}
    for name, flags in RUNS.items():
        expected["runs"][name] = run(folder, name, flags)
    axes = ["--decay-rate", "0.5,0.2", "--norm-layers", "none,layer", "--schedule", "step", "--decay-epochs", "1.0", "--final-rate", "0.1"]
    common = ["--hidden", "3", "--epochs", "1", "--batch-size", "1000", "--learning-rate", "0.1", "--threads", "1", "--validation", "5000"]
    sweep = ["sweep", "synthetic", *axes, *common, "--runs", "1"]
    command(END_EXPERIMENT, [*sweep, "--run-folder", str(folder / "sweep-interrupted")], 130)
    command(END.replace("sys.argv.pop(1), int(sys.argv.pop(1))", '"run", 0'), [*sweep, "--run-folder", str(folder / "whole")], 0)
    expected["sweep"] = losses(folder / "whole")
    shutil.rmtree(folder / "whole")
    repeat = ["repeat", "synthetic", *common, "--runs", "2", "--run-folder", str(folder / "repeat-done")]
    command(END.replace("sys.argv.pop(1), int(sys.argv.pop(1))", '"run", 0'), repeat, 0)
    expected["repeat"] = losses(folder / "repeat-done")
    for lock in folder.glob("*/lock"):
        assert lock.stat().st_size == 0
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


def models(folder: Path, draw: np.random.Generator) -> dict[str, object]:
    found = {}

    def keep(name: str, net: fastmlp.Network, x: np.ndarray, settings: dict[str, object]) -> None:
        kept = fastmlp.TrainingSettings.from_mapping(settings)
        net.save(folder / f"{name}.safetensors", kept)
        rows = x[:8]
        found[name] = {
            "rows": np.round(rows.astype(float), 3).tolist(),
            "logits": net.logits(np.round(rows.astype(float), 3)).tolist(),
            "predicted": np.asarray(net.predict(np.round(rows.astype(float), 3))).tolist(),
            "evaluated": net.evaluate(np.round(rows.astype(float), 3), target[:8]),
            "target": np.asarray(target[:8]).tolist(),
            "loss": net.loss,
            "loss_parameter": net.loss_parameter,
        }

    x = draw.normal(5, 3, (300, 6))
    target = (np.abs(x[:, 0] - 5) + x[:, 1] > 6).astype(int) + (x[:, 2] > 6)
    net = fastmlp.Network([6, 5, 4, 3], ["tanh", "relu"], norm_layers="batch", seed=1, class_names=("none", "one", "Straße"))
    settings = dict(optimizer="sgd", momentum=0.9, learning_rate=0.05, epochs=4, batch_size=20, normalize="standardize", validation=60)
    settings |= dict(restore_best=True, schedule="linear", final_rate=0.1, dropout=(0.1, 0.0))
    fastmlp.train(net, x, target, **settings)
    keep("softmax-batch", net, x, settings)

    x = draw.normal(0, 1, (200, 4))
    target = np.stack([x[:, 0] + x[:, 1] > 0, x[:, 2] * x[:, 3] > 0], axis=1).astype(int)
    net = fastmlp.Network([4, 6, 2], "gelu", "sigmoid", norm_layers="layer", dtype="float64", seed=2)
    settings = dict(optimizer="adamw", weight_decay=0.02, learning_rate=0.02, epochs=5, batch_size=16, average="ema", average_decay=0.95)
    settings |= dict(schedule="exponential", decay_rate=0.9, decay_epochs=1.0)
    fastmlp.train(net, x, target, **settings)
    keep("sigmoid-layer", net, x, settings)

    x = draw.uniform(-1, 1, (200, 5))
    target = (3 * x[:, :1] - x[:, 1:2] ** 2) * 2
    net = fastmlp.Network([5, 7, 1], "tanh", "identity", seed=3, initializer="report")
    settings = dict(loss="huber", huber_delta=0.7, learning_rate=0.05, epochs=6, batch_size=10, normalize="standardize", per_feature=False)
    fastmlp.train(net, x, target, **settings)
    keep("identity-huber", net, x, settings)

    target = np.concatenate([3 * x[:, :1], x[:, 1:2] * x[:, 2:3]], axis=1)
    net = fastmlp.Network([5, 4, 2], "silu", "identity", dtype="float64", seed=4)
    settings = dict(loss="quantile", quantile=0.9, learning_rate=0.05, epochs=6, batch_size=10, normalize="none", optimizer="sgd")
    fastmlp.train(net, x, target, **settings)
    keep("identity-quantile", net, x, settings)
    return found


def run(folder: Path, name: str, flags: list[str]) -> dict[str, object]:
    whole = folder / "whole"
    arguments = ["train", "synthetic", *flags, "--run-folder"]
    command(END, ["run", "0", *arguments, str(whole)], 0)
    how, epoch, code = {
        "run-done": ("run", 0, 0),
        "run-interrupted": ("interrupt", 1, 130),
        "run-killed": ("kill", 2, 9),
        "run-lbfgs": ("between", 3, 130),
    }[name]
    command(END, [how, str(epoch), *arguments, str(folder / name), "--checkpoint-seconds", "0"], code)
    end = whole / "model.safetensors"
    x = fastmlp.load_dataset("synthetic").x_test[:ROWS]
    probabilities = fastmlp.Network.load(end).predict_proba(x)
    shutil.rmtree(whole)
    for old in sorted((folder / name / "checkpoints").glob("*.safetensors"))[:-1]:
        old.unlink()
    return {"probabilities": probabilities.tolist()}


def losses(folder: Path) -> dict[str, float]:
    lines = (folder / "models.jsonl").read_text().splitlines()
    return {line["key"]: line["validation"]["loss"] for line in map(json.loads, lines)}


def command(code: str, arguments: list[str], expected: int) -> None:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == expected, (arguments, done.returncode, done.stdout, done.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
