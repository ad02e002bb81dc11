"""Starts processes to be killed: forked from one that has loaded everything, so that a hundred of them take seconds.

Each line of standard input is an order, a JSON object; each gets two answers, {"pid": n} and, at its end, {"code": n}, negative for a
death by signal. An order of {"kind": "command"} runs a command line of fastmlp, the others save a file once a byte has come through `gate`.
"""

import ctypes
import json
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

PR_SET_PTRACER, ANY_PROCESS = 0x59616D61, ctypes.c_ulong(-1)


def main() -> None:
    warm_up()
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            become(order)
            return
        answer(pid=pid)
        _, status = os.waitpid(pid, 0)
        answer(code=os.waitstatus_to_exitcode(status))


def answer(**values: int) -> None:
    print(json.dumps(values), flush=True)


def warm_up() -> None:
    """Load, compile and run what the children will, in a folder that is thrown away. A network this small needs no threads."""
    from fastmlp.cli import run

    line = ["train", "synthetic", "--epochs", "1", "--batch-size", "50", "--optimizer", "adam"]
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()), redirect_stderr(StringIO()) as said:
        os.chdir(folder)
        code = run(line)
        os.chdir(before)
    if code != 0:
        sys.exit(f"the server cannot train: {said.getvalue()}")


def become(order: dict) -> None:
    """Be the process that was ordered; its end is the ordinary end of this interpreter."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the server may have switched it off
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as nohup does
    os.chdir(order["folder"])
    for descriptor, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, order["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        (2, order["err"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        opened = os.open(path, flags, 0o666)
        os.dup2(opened, descriptor)
        os.close(opened)
    for name, value in order["limits"].items():
        resource.setrlimit(getattr(resource, name), (value, value))
    if order["kind"] == "command":
        from fastmlp.cli import main

        sys.argv = ["fastmlp", *order["arguments"]]
        main()
    else:
        save_once_traced(order["kind"], Path(order["target"]), Path(order["gate"]), order["content"])


def save_once_traced(kind: str, target: Path, gate: Path, content: float) -> None:
    """Save when a byte comes through the gate; end as the command line does."""
    from fastmlp.errors import FastmlpError

    ctypes.CDLL(None).prctl(PR_SET_PTRACER, ANY_PROCESS, 0, 0, 0)  # a tracer need be no ancestor
    write = prepared(kind, target, content)
    os.read(os.open(gate, os.O_RDONLY), 1)
    code = 0
    try:
        write()
    except FastmlpError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        code = error.exit_code
    os._exit(code)  # the end of an interpreter would be traced for as long as all the rest


def prepared(kind: str, target: Path, content: float) -> Callable[[], object]:
    """Return a function that saves a file whose content is one number: a checkpoint in the folder `target`, a model or a manifest."""
    import numpy as np

    from fastmlp import Network
    from fastmlp.storage.checkpoints import Checkpoints
    from fastmlp.storage.runs import RunFolder

    network = Network([2, 2])
    network.parameters[:] = content

    def finish() -> None:
        with RunFolder(target) as run:
            run.finish("done", {"content": content})

    return {
        "checkpoint": lambda: Checkpoints(target).save({"content": np.full(1, content)}, {}),
        "model": lambda: network.save(target),
        "manifest": finish,
    }[kind]


if __name__ == "__main__":
    main()
