"""Train every recipe with several seeds, and record what comes out.

    python bench/recipes.py [--seeds N] [--only DATASET/NAME] [--again] [FILE]

Each training is a `fastmlp train DATASET --recipe NAME --seed S` in a process of its own, on all cores, which looks at the test rows once,
at its end. The file, bench/results/recipes.json by default, is written after each training; what it has already, with the same settings
and the same version, is not trained again. bench/make_tables.py makes the table of docs/recipes.md from it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastmlp import __version__, machine
from fastmlp.quantities import percent
from fastmlp.storage.atomic import write_atomically
from fastmlp.training.recipes import RECIPES

RESULTS = Path(__file__).with_name("results") / "recipes.json"
SEEDS = 5


def main(arguments: Sequence[str]) -> int:
    """Train what the file does not have yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="trainings of each recipe, with the seeds 0, 1, …")
    parser.add_argument("--only", action="append", metavar="DATASET/NAME", help="only this recipe; repeat for more")
    parser.add_argument("file", nargs="?", type=Path, default=RESULTS)
    parser.add_argument("--again", action="store_true", help="train anew what the file has already")
    options = parser.parse_args(arguments)
    names = [f"{dataset}/{name}" for dataset, recipes in RECIPES.items() for name in recipes]
    unknown = set(options.only or ()) - set(names)
    if unknown:
        parser.error(f"expected recipes among {', '.join(names)}, got {', '.join(sorted(unknown))}")
    record = kept(options.file)
    for key in options.only or names:
        entry = begun(record, key)
        entry["runs"] = [] if options.again else entry["runs"]
        for seed in range(options.seeds):
            if all(run["seed"] != seed for run in entry["runs"]):
                run = train(*key.split("/"), seed)
                entry["runs"].append(run)
                write_atomically(options.file, (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())
                sys.stdout.write(f"{key} seed {seed}: test accuracy {percent(run['accuracy'])}, {run['seconds']:.0f} s\n")
                sys.stdout.flush()
    return 0


def kept(path: Path) -> dict[str, Any]:
    """Return the record of a file, without what was run by another version or on another machine; a new one where there is none."""
    facts = {"version": __version__, "machine": machine.describe()._asdict()}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    same = found.get("version") == facts["version"] and found.get("machine", {}).get("cpu") == facts["machine"]["cpu"]
    return {**facts, "recipes": found["recipes"] if same else []}


def begun(record: dict[str, Any], key: str) -> dict[str, Any]:
    """Return the entry of a recipe, a new one where its settings have changed."""
    dataset, name = key.split("/")
    recipe = RECIPES[dataset][name]
    settings = json.loads(json.dumps(dict(recipe.settings)))  # as JSON holds them: lists for tuples
    for entry in record["recipes"]:
        if (entry["dataset"], entry["name"]) == (dataset, name):
            if entry["settings"] != settings:
                entry.update(settings=settings, runs=[])
            entry["summary"] = recipe.summary
            chosen: dict[str, Any] = entry
            return chosen
    entry = {"dataset": dataset, "name": name, "summary": recipe.summary, "settings": settings, "runs": []}
    record["recipes"].append(entry)
    return entry


def train(dataset: str, name: str, seed: int) -> dict[str, Any]:
    """Train one network in a process of its own; return its scores on the test rows and its seconds."""
    with tempfile.TemporaryDirectory(prefix="fastmlp-recipe-") as folder:
        line = [sys.executable, "-m", "fastmlp", "train", dataset, "--recipe", name, "--seed", str(seed), "--json", "--quiet"]
        line += ["--no-run-folder", "--out", str(Path(folder) / "model.safetensors")]
        done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=False)
    found = json.loads(done.stdout)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(line)}: {found['error']['message']}")
    return {
        "seed": seed, "accuracy": found["test"]["accuracy"], "loss": found["test"]["loss"], "seconds": found["seconds"]["train"],
        "epochs": len(found["epochs"]), "threads": found["threads"],
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
