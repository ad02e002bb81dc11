"""Machine code for a wheel: run what people run first, once for each level that this processor has, and keep what was compiled.

    python bench/prebuild.py FOLDER

FOLDER becomes the package fastmlp.prebuilt: the code in a folder for each level, and __init__.py, which says for what it was made and has
the digest of each file. `make wheel` calls this by way of hatch_build.py.
"""

import hashlib
import os
import pprint
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import fastmlp
from fastmlp import cli, machine
from fastmlp.kernels import code_cache, compiling, levels

DATASETS = ("mnist", "fashion-mnist")
ROWS = 400  # two batches of MLPClassifier's 200
PREDICTED = (1, 3, ROWS)  # one row, a few, and many are predicted in ways of their own
THREADS = (1, 2, 3, 4)  # how work is divided among them shapes the code; that this machine has them does not matter
HEADER = '''"""Machine code that came with the package: what it was made for, and the SHA-256 digest of each file. By bench/prebuild.py."""

'''


def prebuild(folder: Path) -> None:
    """Write the package of machine code for each level that this processor has."""
    possible = levels.possible()
    if not possible:
        sys.exit(f"expected a processor that has {' or '.join(levels.LEVELS)}, got {levels.native().name}")
    for level in levels.LEVELS.keys() - possible.keys():
        print(f"{level}: this processor cannot run it")
    for name in DATASETS:
        fastmlp.load_dataset(name)  # fetches it
    data = os.environ.get("FASTMLP_DATA_DIR") or str(machine.cache_folder() / "data")
    digests = {}
    with tempfile.TemporaryDirectory() as caches:
        running = {}
        for level in possible:
            cache = Path(caches, level)
            cache.mkdir()
            environment = os.environ | {"FASTMLP_LEVEL": level, "FASTMLP_CACHE_DIR": str(cache), "FASTMLP_DATA_DIR": data}
            running[level] = subprocess.Popen([sys.executable, __file__], cwd=cache, env=environment, stdout=subprocess.DEVNULL)
        for level, process in running.items():
            if process.wait() != 0:
                sys.exit(f"{level}: exit code {process.returncode}")
            files = sorted(Path(caches, level).rglob("*.code"))
            (folder / level).mkdir(parents=True)
            for file in files:
                payload = code_cache.read(file)
                (folder / level / file.name).write_bytes(payload)
                digests[f"{level}/{file.name}"] = hashlib.sha256(payload).hexdigest()
            print(f"{level}: {len(files)} kernels")
    told = {"MADE_FOR": compiling.made_for(), "DIGESTS": digests}
    lines = [f"{name}: dict[str, str] = {pprint.pformat(value, width=140)}\n" for name, value in told.items()]
    (folder / "__init__.py").write_text(HEADER + "".join(lines))


def run_what_people_run() -> None:
    """Train, evaluate, predict and check as the defaults of the commands, of the functions and of the estimators say."""
    for name in DATASETS:
        command("train", name, "--epochs", "1", "--out", f"{name}.safetensors")
        command("evaluate", f"{name}.safetensors", name)
    pictures = fastmlp.load_dataset("mnist").x_test
    for rows in PREDICTED:
        np.save(f"{rows}.npy", pictures[:rows])
        command("predict", "mnist.safetensors", f"{rows}.npy")
    for target in ("two", "three", "number"):
        table(Path(f"{target}.csv"), target)
        command("train", f"{target}.csv", "--target", target, "--epochs", "2", "--out", f"{target}.safetensors")
        command("evaluate", f"{target}.safetensors", f"{target}.csv")
        command("predict", f"{target}.safetensors", f"{target}.csv")
    command("check", "mnist.safetensors")
    command("check", "--quick")
    generator = np.random.default_rng(0)
    sparse = np.where(generator.random((ROWS, 784)) < 0.2, generator.integers(1, 256, (ROWS, 784)), 0).astype(np.uint8)
    dense = generator.integers(1, 256, (ROWS, 784)).astype(np.uint8)
    ten = generator.integers(0, 10, ROWS)
    for x in (sparse, dense):
        for threads in THREADS:
            fastmlp.train(fastmlp.Network([784, 300, 10], seed=0), x, ten, epochs=1, threads=threads)
    for inputs in (4, 30):
        for dtype in (np.float32, np.float64):
            x = generator.standard_normal((ROWS, inputs)).astype(dtype)
            for classes in (2, 3, 10):
                classifier = fastmlp.MLPClassifier(max_iter=2).fit(x, generator.integers(0, classes, ROWS))
                for rows in PREDICTED:
                    classifier.predict_proba(x[:rows])
            regressor = fastmlp.MLPRegressor(max_iter=2).fit(x, x[:, 0])
            for rows in PREDICTED:
                regressor.predict(x[:rows])


def table(path: Path, target: str) -> None:
    """Write a table of numbers and a category, with a column to predict: one of two classes, one of three, or a number."""
    generator = np.random.default_rng(0)
    numbers = generator.standard_normal((ROWS, 5))
    colors = generator.choice(["red", "green", "blue"], ROWS)
    targets = {
        "two": generator.choice(["no", "yes"], ROWS),
        "three": generator.choice(["a", "b", "c"], ROWS),
        "number": numbers.sum(axis=1),
    }
    rows = [",".join(map(str, [*row, color, y])) for row, color, y in zip(numbers, colors, targets[target], strict=True)]
    path.write_text("\n".join([f"p,q,r,s,t,color,{target}", *rows]))


def command(*arguments: str) -> None:
    """Run a command of fastmlp's in this process."""
    if code := cli.run(arguments):
        sys.exit(f"fastmlp {' '.join(arguments)}: exit code {code}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        prebuild(Path(sys.argv[1]))
    else:
        run_what_people_run()
