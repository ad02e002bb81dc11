"""Rows M of the quality list: model files that are malformed, meaningless or hostile, and sound ones that have to stay readable."""

import json
import os
import re
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fastmlp import ModelFileError, Network
from fastmlp.storage.model_file import read_tensors, write_tensors
from tests.network.test_save_load import Parts, X
from tests.quality.counts import count, record
from tests.quality.refusals import fault, mutants
from tests.quality.tracing import needs_strace, trace
from tests.storage.test_model_file import DATA, FLAT, LAYOUTS, MALFORMED, build
from tests.structure.test_forbidden import asserts, found, unsafe

GOLDEN = sorted((Path(__file__).parents[1] / "storage" / "golden").glob("*.safetensors"))


def test_m01_malformed_model_files(tmp_path, command):
    path, wrong = tmp_path / "model", []
    for case, content in MALFORMED.items():
        path.write_bytes(content)
        if said := fault(lambda: read_tensors(path), ModelFileError):
            wrong.append(f"{case}: {said}")
        if (code := command("evaluate", path, "synthetic").code) != 65:
            wrong.append(f"{case}: exit code {code}")
    record("M1", len(MALFORMED), len(wrong))
    assert wrong == []


PIECES = [b'"', b"[", b"]", b"{", b"}", b",", b":", b"-", b"0", b"9", b"9" * 30, b"1e999", b"NaN", b"null", b"true", b"\\ud800"]
PIECES += [b"\\", b"\xff", b'"t":', b"F64", b"U8", b"BF16", b"__metadata__", b"\0"]


def changed_models(network: bytes, number: int) -> Iterator[bytes]:
    """Yield changed copies of a model file. All but the last are sealed again, so that the checks behind the checksum see them."""
    length = struct.unpack("<Q", network[:8])[0]
    header, data = re.sub(rb"[0-9a-f]{64}", b"0" * 64, network[8 : 8 + length]), network[8 + length :]
    for changed in mutants([header], number // 4, PIECES):
        yield build(changed, data)
    for changed in mutants([FLAT], number // 4, PIECES):
        yield build(changed, DATA)
    content = json.loads(header)
    for key in ("config", "classes", "preprocess"):
        for changed in mutants([content["__metadata__"][key].encode()], number // 12, PIECES):
            yield build({**content, "__metadata__": {**content["__metadata__"], key: changed.decode("latin-1")}}, data)
    yield from mutants([network], number // 4, PIECES)


@pytest.mark.timeout(7200)
def test_m02_fuzzed_model_files(tmp_path):
    number, path, wrong, tried, accepted = count(2_400, 1_000_000), tmp_path / "model", [], 0, 0
    Parts(path)
    for content in changed_models(path.read_bytes(), number):
        tried += 1
        path.unlink()  # cutting a file short and writing it anew costs the disk more than making a new one
        path.write_bytes(content)
        try:
            net = Network.load(path)
        except ModelFileError as error:
            if "\n" in str(error) or len(str(error)) > 1000:
                wrong.append(f"{content.hex()}: a message of {len(str(error))} letters")
            continue
        except Exception as error:
            wrong.append(f"{content.hex()}: {type(error).__name__}: {error}")
            continue
        accepted += 1
        if not np.isfinite(net.predict_proba(X)).all():
            wrong.append(f"{content.hex()}: predicts what is no number")
    record("M2", tried, len(wrong))
    assert wrong[:3] == []
    assert 0 < accepted < tried / 2  # some changes are harmless: a space, the name of a class


MEANINGLESS = {
    "shapes that do not chain": ("tensors", "layers.1.weight", np.zeros((7, 5), np.float32)),
    "a bias of another length": ("tensors", "layers.2.bias", np.zeros(4, np.float32)),
    "a tensor too many": ("tensors", "layers.3.weight", np.zeros((3, 3), np.float32)),
    "weights of another type": ("tensors", "layers.0.bias", np.zeros(6)),
    "weights that are no number": ("tensors", "layers.0.bias", np.full(6, np.nan, np.float32)),
    "infinite weights": ("tensors", "layers.2.bias", np.full(3, np.inf, np.float32)),
    "a deviation of 0": ("tensors", "normalisation.deviation", np.zeros(4)),
    "a deviation whose inverse overflows": ("tensors", "normalisation.deviation", np.full(4, 1e-320)),
    "a mean that overflows": ("tensors", "normalisation.mean", np.full(4, 1e300)),
    "an unknown activation": ("config", "activations", ["relu", "os.system"]),
    "an activation too many": ("config", "activations", ["relu", "tanh", "tanh"]),
    "100,000 activations": ("config", "activations", ["relu"] * 100_000),
    "an unknown output": ("config", "output", "builtins.eval"),
    "an output of 500,000 letters": ("config", "output", "x" * 500_000),
    "a loss that does not fit": ("config", "loss", "mae"),
    "a size of 5,000 digits": ("config", "sizes", [4, int("9" * 4000), 5, 3]),
    "sizes of terabytes": ("config", "sizes", [4, 10**15, 5, 3]),
    "a size of 0": ("config", "sizes", [4, 0, 5, 3]),
    "an unknown type": ("config", "dtype", "object"),
    "an unknown normalisation": ("preprocess", "normalize", "pickle.loads"),
}


def test_m03_sound_files_of_no_network(tmp_path):
    wrong = []
    for case, (part, key, value) in MEANINGLESS.items():
        parts = Parts(tmp_path / "net")
        getattr(parts, part)[key] = value
        if said := fault(parts.load, ModelFileError):
            wrong.append(f"{case}: {said}")
    others = {"format 0": b"0", "format 2": b"2", "format 999": b"999", "no format": b""}
    for case, version in others.items():
        (tmp_path / "net").write_bytes(build(FLAT.replace(b'"fastmlp.format":"1"', b'"fastmlp.format":"%s"' % version), DATA))
        if said := fault(lambda: Network.load(tmp_path / "net"), ModelFileError):
            wrong.append(f"{case}: {said}")
    for key, text in {"config": "[" * 100_000, "classes": '["a", "b"]', "preprocess": '{"normalize": NaN}'}.items():
        parts = Parts(tmp_path / "net")
        parts.write(parts.metadata | {key: text})
        if said := fault(lambda: Network.load(tmp_path / "net"), ModelFileError):
            wrong.append(f"{key} {text[:9]}: {said}")
    record("M3", len(MEANINGLESS) + len(others) + 3, len(wrong))
    assert wrong == []


def test_m04_arrays_of_any_layout(tmp_path):
    wrong = []
    for case, array in LAYOUTS.items():
        write_tensors(tmp_path / "file", {"t": array}, {})
        loaded = read_tensors(tmp_path / "file").tensors["t"]
        if loaded.shape != array.shape or loaded.astype(array.dtype).tobytes() != array.tobytes():
            wrong.append(case)
    record("M4", len(LAYOUTS), len(wrong))
    assert wrong == []


def test_m05_mode_of_the_file_and_links(tmp_path):
    net, wrong = Network([4, 3]), []
    before = os.umask(0)
    try:
        for umask, expected in ((0o022, 0o644), (0o077, 0o600), (0o002, 0o664)):
            os.umask(umask)
            net.save(tmp_path / f"under {umask:o}")
            if (mode := stat.S_IMODE((tmp_path / f"under {umask:o}").stat().st_mode)) != expected:
                wrong.append(f"umask {umask:o}: mode {mode:o}")
    finally:
        os.umask(before)
    (tmp_path / "target").write_bytes(b"")
    (tmp_path / "link").symlink_to("target")
    net.save(tmp_path / "link")
    if not (tmp_path / "link").is_symlink() or Network.load(tmp_path / "target").parameters.tobytes() != net.parameters.tobytes():
        wrong.append("the link was replaced")
    record("M5", 4, len(wrong))
    assert wrong == []


def test_m06_golden_file_of_every_format():
    """The files were written by the version that their metadata name; beside each, rows and what that version said to them."""
    wrong = []
    for path in GOLDEN:
        expected = json.loads(path.with_suffix(".json").read_text())
        net = Network.load(path)
        for x, probabilities in ((np.array(expected["floats"]), "of floats"), (np.array(expected["bytes"], np.uint8), "of bytes")):
            if not np.allclose(net.predict_proba(x), expected[probabilities], rtol=0, atol=1e-6):
                wrong.append(f"{path.name}: {probabilities}")
        if (list(net.sizes), list(net.hidden_activations), net.output, net.class_names) != (
            expected["sizes"], expected["activations"], expected["output"], tuple(expected["classes"]),
        ):  # fmt: skip
            wrong.append(f"{path.name}: another network")
    record("M6", len(GOLDEN), len(wrong))
    assert len(GOLDEN) >= 1
    assert wrong == []


def test_m08_no_source_runs_what_it_reads():
    hits = found(unsafe) + found(asserts)
    record("M8", 10, len(hits))  # the ten patterns of tests/structure/test_forbidden.py
    assert hits == []


EVALUATE = """
import sys
from fastmlp.cli import run
sys.exit(run(["predict", *sys.argv[1:], "--json"]))
"""


@needs_strace
def test_m09_predicting_with_an_untrusted_model_only_reads(tmp_path):
    np.save(tmp_path / "rows.npy", X.astype(np.float32))
    names = ["<script>", "$(id)", "../../a\n\x1b[2J"]
    wrong, tried = [], 0
    for activation in ("relu", "tanh")[: count(1, 2)]:
        for rows in (len(X), 1, 2 * len(X))[: count(1, 3)]:
            net = Network([4, 6, 3], activation, class_names=names)
            net.save(tmp_path / "model")
            np.save(tmp_path / "rows.npy", np.tile(X, (2, 1))[:rows].astype(np.float32))
            net.predict_proba(np.load(tmp_path / "rows.npy"))  # so that the kernels are compiled and kept
            folder = tmp_path / f"{activation} {rows}"
            folder.mkdir()
            traced = trace(EVALUATE, tmp_path / "model", tmp_path / "rows.npy", cwd=folder)
            tried += 1
            assert traced.code == 0, traced.err
            assert len(json.loads(traced.out)["predictions"]) == rows
            wrong += traced.of("execve", "execveat", "connect") + traced.writes()
    record("M9", tried, len(wrong))
    assert wrong == []


def test_a_path_of_two_lines_does_not_break_the_message(tmp_path):
    path = tmp_path / "two\nlines"
    parts = Parts(path)
    parts.config["loss"] = "hinge"
    with pytest.raises(ModelFileError) as raised:
        parts.load()
    assert "\n" not in str(raised.value)
