"""Fuzz a parser with atheris, for as long as it is left alone: coverage finds what changed bytes alone do not.

    pip install atheris
    python bench/fuzz/parsers.py idx -max_total_time=3600 corpus/

Targets: idx, npy, picture, model, header, json, toml, cgroup. Everything after the target goes to libFuzzer; new inputs are added to the
corpus folder, and the input of a crash is written to the current folder. Only the errors that a parser documents are allowed.
"""

import gzip
import hashlib
import os
import struct
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris
import numpy as np

# Not the kernels: a compiler reads their bytecode.
PACKAGE = Path(__file__).parents[2] / "fastmlp"
ROOMS = ("compilation", "kernels")
KEPT = [f"fastmlp.{name}" for room in ROOMS for name in (room, *(f"{room}.{path.stem}" for path in (PACKAGE / room).glob("[a-z]*.py")))]
with atheris.instrument_imports(include=["fastmlp"], exclude=KEPT):
    from fastmlp import machine
    from fastmlp.cli import configuration
    from fastmlp.data.idx import encode_idx, read_idx
    from fastmlp.data.npy import read_npy
    from fastmlp.data.pictures import read_picture
    from fastmlp.errors import ConfigError, DataError, ModelFileError
    from fastmlp.network import Network
    from fastmlp.storage.model_file import read_tensors, strict_json

FOLDER = Path(tempfile.mkdtemp(prefix="fastmlp-fuzz-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))  # noqa: S108  in memory
PATH = FOLDER / "input"


def idx(data: bytes) -> None:
    """Bytes are an array that encodes to the same bytes, or a DataError."""
    try:
        array = read_idx(data)
    except DataError:
        return
    if not data.startswith(b"\x1f\x8b") and encode_idx(array) != data:
        raise RuntimeError("one file has two meanings")


def npy(data: bytes) -> None:
    """A file is an array, or a DataError."""
    PATH.write_bytes(data)
    try:
        read_npy(PATH)
    except DataError:
        pass


def picture(data: bytes) -> None:
    """A file is a picture of 28 x 28, or a DataError."""
    PATH.write_bytes(data)
    try:
        if read_picture(PATH).shape != (28, 28):
            raise RuntimeError("a picture of another size")
    except DataError:
        pass


def model(data: bytes) -> None:
    """A file is a network that predicts numbers, or a ModelFileError. The checksum is made right, so that the fuzzer gets behind it."""
    PATH.write_bytes(sealed(data))
    try:
        network = Network.load(PATH)
    except ModelFileError:
        return
    if network.n_inputs <= 1000 and not np.isfinite(network.logits(np.zeros((2, network.n_inputs)), kernels="scalar")).all():
        raise RuntimeError("predicts what is no number")


def header(data: bytes) -> None:
    """A header without tensors behind it is read, or a ModelFileError."""
    PATH.write_bytes(sealed(struct.pack("<Q", len(data)) + data))
    try:
        read_tensors(PATH)
    except ModelFileError:
        pass


def sealed(data: bytes) -> bytes:
    """Return a model file whose 64 zeros, if it has them, are replaced by its checksum."""
    return data.replace(b"0" * 64, hashlib.sha256(data).hexdigest().encode(), 1)


def json(data: bytes) -> None:
    """Text is JSON, or a ModelFileError."""
    try:
        strict_json(data.decode("utf-8", "replace"), "text")
    except ModelFileError:
        pass


def toml(data: bytes) -> None:
    """A configuration file gives settings, or a ConfigError."""
    PATH.write_bytes(data)
    try:
        configuration.from_file(PATH)
    except ConfigError:
        pass


def cgroup(data: bytes) -> None:
    """Whatever the files of a cgroup say, there is a number of cores and of bytes."""
    for name in ("cpu.max", "memory.max"):
        (FOLDER / name).write_bytes(data)
    machine.cgroup_cpu_quota(FOLDER)
    machine.memory_limit(FOLDER)


def seeds() -> dict[str, list[bytes]]:
    """Return sound inputs to begin with."""
    file = FOLDER / "seed"
    images = encode_idx(np.arange(18, dtype=np.uint8).reshape(2, 3, 3))
    np.save(file.with_suffix(".npy"), np.arange(6, dtype=np.float32).reshape(2, 3))
    Network([2, 3, 2], class_names=("a", "b")).save(file)
    network = file.read_bytes()
    digest = read_tensors(file).metadata["sha256"].encode()
    unsealed = network.replace(digest, b"0" * 64)
    length = struct.unpack("<Q", network[:8])[0]
    empty = b'{"__metadata__":{"fastmlp.format":"1","sha256":"' + b"0" * 64 + b'"}}'
    return {
        "idx": [images, gzip.compress(images)],
        "npy": [file.with_suffix(".npy").read_bytes()],
        "picture": [a_picture()],
        "model": [unsealed],
        "header": [empty, unsealed[8 : 8 + length]],
        "json": [b'{"sizes": [2, 3, 2], "loss": "mse", "x": [1.5e3, true, null]}'],
        "toml": [b'[network]\nhidden = [30, 10]\nactivation = "relu"\n[train]\nepochs = 3\nlearning_rate = 0.1\nnesterov = true\n'],
        "cgroup": [b"max 100000\n", b"150000 100000\n"],
    }


def a_picture() -> bytes:
    """Return a small picture of a stroke."""
    from PIL import Image

    path = FOLDER / "seed.png"
    stroke = np.full((12, 9), 255, np.uint8)
    stroke[2:10, 4] = 0
    Image.fromarray(stroke).save(path)
    return path.read_bytes()


TARGETS: dict[str, Callable[[bytes], None]] = {
    "idx": idx, "npy": npy, "picture": picture, "model": model, "header": header, "json": json, "toml": toml, "cgroup": cgroup,
}  # fmt: skip


def main(arguments: list[str]) -> None:
    """Fuzz the target that the first argument names."""
    if len(arguments) < 2 or arguments[1] not in TARGETS:
        sys.exit(f"expected a target, one of {', '.join(TARGETS)}; see the first lines of {arguments[0]}")
    name, options = arguments[1], arguments[2:]
    corpora = [Path(option) for option in options if not option.startswith("-")]
    if corpora and not corpora[0].is_file():  # a file is the input of a crash, to be tried again
        corpora[0].mkdir(parents=True, exist_ok=True)
        for number, content in enumerate(seeds()[name]):
            (corpora[0] / f"seed-{number}").write_bytes(content)
    atheris.Setup([arguments[0], *options], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
