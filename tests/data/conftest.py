"""A data set of a few bytes in the place of MNIST, and a web server that fails in every way that mirrors fail in."""

import gzip
import hashlib
import http.server
import socket
import struct
import threading
from typing import NamedTuple

import numpy as np
import pytest

from fastmlp.data import fetch


class Tiny(NamedTuple):
    """Four small canonical files: their records, and their uncompressed bytes by name."""

    files: tuple[fetch.CanonicalFile, ...]
    contents: dict[str, bytes]


def header(*shape: int) -> bytes:
    return bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape)


@pytest.fixture
def tiny(monkeypatch, tmp_path) -> Tiny:
    """A tiny MNIST, known to fetch.py; an empty cache in tmp_path / "cache"; no data folder."""
    values = np.random.default_rng(0).integers(0, 256, size=4096, dtype=np.uint8).tobytes()
    images, labels = header(60, 5, 5) + values[:1500], header(60) + values[1500:1560]
    test_images, test_labels = header(20, 5, 5) + values[2000:2500], header(20) + values[3000:3020]
    contents = {
        "train-images-idx3-ubyte": images,
        "train-labels-idx1-ubyte": labels,
        "t10k-images-idx3-ubyte": test_images,
        "t10k-labels-idx1-ubyte": test_labels,
    }
    shapes = ((60, 5, 5), (60,), (20, 5, 5), (20,))
    files = tuple(
        fetch.CanonicalFile(name, hashlib.sha256(data).hexdigest(), shape)
        for (name, data), shape in zip(contents.items(), shapes, strict=True)
    )
    monkeypatch.setitem(fetch.FILES, "mnist", files)
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("FASTMLP_DATA_DIR", raising=False)
    return Tiny(files, contents)


class Mirror(http.server.BaseHTTPRequestHandler):
    """Serves /FAULT/NAME.gz: the file NAME of the tiny data set, spoilt in the way that FAULT says."""

    contents: dict[str, bytes] = {}
    asked: list[str] = []
    closing = threading.Event()

    def do_GET(self):
        fault, name = self.path.strip("/").split("/")
        self.asked.append(self.path)
        plain = self.contents[name.removesuffix(".gz")]
        body = gzip.compress(plain)
        match fault:
            case "good":
                self.answer(body)
            case "encoded":  # the server says that it compressed the file on the way
                self.answer(body, ("Content-Encoding", "gzip"))
            case "403" | "404" | "500" | "503":
                self.send_error(int(fault))
            case "html":
                self.answer(b"<!DOCTYPE html><title>Please log in to this network</title>")
            case "loop":
                self.send_response(302)
                self.send_header("Location", self.path)
                self.end_headers()
            case "short":
                self.answer(body[:-10])
            case "long":
                self.answer(body + b"\0" * 10)
            case "tenfold":
                self.answer(gzip.compress(plain * 10))
            case "bomb":
                self.answer(gzip.compress(plain + bytes(50_000_000)))
            case "huge":
                self.answer(bytes(10 * (len(plain) + 1024)))
            case "hash":
                self.answer(gzip.compress(plain[:-1] + bytes([plain[-1] ^ 1])))
            case "broken":  # promises more than it sends, then closes
                self.answer(body[: len(body) // 2], length=len(body))
            case "reset":
                self.answer(body[: len(body) // 2], length=len(body), flush=True)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
            case "silent":
                self.closing.wait()
            case "slow":
                self.answer(b"", length=len(body))
                for at in range(len(body)):
                    if self.closing.wait(0.1):
                        break
                    self.wfile.write(body[at : at + 1])

    def answer(self, body: bytes, *headers: tuple[str, str], length: int | None = None, flush: bool = False):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for key, value in headers:
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)
        if flush:
            self.wfile.flush()

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request, client_address):
        pass  # clients that hang up are part of the tests


@pytest.fixture
def mirror(tiny):
    """A function: name of a fault -> address of a mirror with that fault. `mirror.asked` lists the paths that were asked for."""
    Mirror.contents, Mirror.asked, Mirror.closing = tiny.contents, [], threading.Event()
    server = Server(("127.0.0.1", 0), Mirror)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()

    def address(fault: str) -> str:
        return f"http://127.0.0.1:{server.server_port}/{fault}/"

    address.asked = Mirror.asked
    yield address
    Mirror.closing.set()
    server.shutdown()
    thread.join()
    server.server_close()
