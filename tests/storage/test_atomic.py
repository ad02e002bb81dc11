"""Atomic writing: whatever goes wrong, the name stands for the old content or the new one, and nothing else is left."""

import errno
import os
import resource
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fastmlp.errors import OutputError, WriteError
from fastmlp.storage.atomic import free_path, write_atomically

OLD, NEW = b"old content", b"new content, longer than the old one"


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(OLD)
    return path


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_new_file_holds_the_data(tmp_path):
    write_atomically(tmp_path / "new", NEW)
    assert (tmp_path / "new").read_bytes() == NEW
    assert files_in(tmp_path) == ["new"]


@pytest.mark.parametrize("data", [b"", NEW])
def test_an_existing_file_is_replaced_as_a_whole(target, data):
    write_atomically(target, data)
    assert target.read_bytes() == data


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_gets_the_mode_of_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "new", NEW)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == mode


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666])
def test_an_existing_file_keeps_its_mode(target, mode):
    target.chmod(mode)
    write_atomically(target, NEW)
    assert stat.S_IMODE(target.stat().st_mode) == mode


def test_a_link_stays_and_its_target_is_written(target, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link"
    link.symlink_to(target)
    write_atomically(link, NEW)
    assert link.is_symlink()
    assert target.read_bytes() == NEW
    assert files_in(link.parent) == ["link"]


def test_a_dangling_link_gets_its_target(tmp_path):
    (tmp_path / "link").symlink_to("target")
    write_atomically(tmp_path / "link", NEW)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == NEW


def test_a_name_of_255_bytes_is_written(tmp_path):
    path = tmp_path / ("n" * 255)
    write_atomically(path, NEW)
    assert path.read_bytes() == NEW


def test_the_file_is_synced_before_the_rename_and_the_folder_after_it(target, monkeypatch):
    calls = []

    def record(name, function, kind):
        def recorded(*arguments):
            calls.append(f"{name} {kind(*arguments)}".strip())
            return function(*arguments)

        monkeypatch.setattr(os, name, recorded)

    def kind_of(descriptor, *_):
        return "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"

    record("write", os.write, kind_of)
    record("fsync", os.fsync, kind_of)
    record("replace", os.replace, lambda *_: "")
    write_atomically(target, NEW)
    assert calls == ["write file", "fsync file", "replace", "fsync folder"]


def test_short_writes_are_continued(target, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:7]))
    write_atomically(target, NEW)
    assert target.read_bytes() == NEW


@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, WriteError),
        (errno.EDQUOT, WriteError),
        (errno.EIO, WriteError),
        (errno.EFBIG, WriteError),
        (errno.EROFS, OutputError),
        (errno.EACCES, OutputError),
    ],
)
def test_a_failing_call_leaves_the_old_file_alone(target, monkeypatch, call, number, expected):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OutputError) as caught:
            write_atomically(target, NEW)
    assert type(caught.value) is expected
    assert str(target) in str(caught.value)
    assert errno.errorcode[number] in str(caught.value)
    assert target.read_bytes() == OLD
    assert files_in(target.parent) == [target.name]


def test_an_interrupted_rename_is_repeated(target, monkeypatch):
    replace, interruptions = os.replace, [InterruptedError(), InterruptedError()]

    def interrupted(*arguments):
        if interruptions:
            raise interruptions.pop()
        replace(*arguments)

    monkeypatch.setattr(os, "replace", interrupted)
    write_atomically(target, NEW)
    assert target.read_bytes() == NEW
    assert not interruptions


def test_a_file_system_that_cannot_sync_folders_is_good_enough(target, monkeypatch):
    fsync = os.fsync

    def files_only(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", files_only)
    write_atomically(target, NEW)
    assert target.read_bytes() == NEW


def test_ctrl_c_leaves_the_old_file_and_nothing_else(target, monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_atomically(target, NEW)
    assert target.read_bytes() == OLD
    assert files_in(target.parent) == [target.name]


@pytest.mark.parametrize("limit", [0, 4096, 9999])
def test_a_limit_on_file_sizes_is_a_write_error(target, limit):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(WriteError, match="EFBIG"):
            write_atomically(target, bytes(10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert target.read_bytes() == OLD
    assert files_in(target.parent) == [target.name]


@pytest.mark.parametrize("device", ["/dev/null", "/dev/full"])
def test_a_device_is_refused_and_stays_a_device(device):
    with pytest.raises(OutputError, match="regular file"):
        write_atomically(device, NEW)
    assert stat.S_ISCHR(os.stat(device).st_mode)


@pytest.mark.parametrize(
    "name",
    ["", "folder", "missing/file", "file/below", "loop", "nul\0inside", "n" * 256, "dangling"],
)
def test_a_place_that_cannot_be_created_is_an_output_error(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(OLD)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("missing/file")
    before = files_in(tmp_path)
    with pytest.raises(OutputError) as caught:
        write_atomically(f"{tmp_path}/{name}", NEW)
    assert type(caught.value) is OutputError
    assert caught.value.exit_code == 73
    assert files_in(tmp_path) == before
    assert (tmp_path / "file").read_bytes() == OLD


def test_a_folder_that_takes_no_files_is_an_output_error():
    with pytest.raises(OutputError) as caught:
        write_atomically("/sys/model.safetensors", NEW)  # refuses root too
    assert type(caught.value) is OutputError


def test_a_write_protected_file_is_not_replaced(target, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # what the system tells everyone but root
    with pytest.raises(OutputError, match="EACCES"):
        write_atomically(target, NEW)
    assert target.read_bytes() == OLD


def test_the_message_is_one_line_whatever_the_name(tmp_path):
    with pytest.raises(OutputError) as caught:
        write_atomically(tmp_path / "missing" / "two\nlines", NEW)
    assert "\n" not in str(caught.value)
    assert "ENOENT" in str(caught.value)


KILLED_BEFORE_CALL = """
import os, signal, sys
from fastmlp.storage.atomic import write_atomically

calls, fatal = 0, int(sys.argv[3])

def counted(function):
    def call(*arguments):
        global calls
        calls += 1
        if calls == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)
    return call

for name in ("open", "write", "fsync", "close", "replace"):
    setattr(os, name, counted(getattr(os, name)))
write_atomically(sys.argv[1], sys.argv[2].encode())
"""


@pytest.mark.parametrize("before", [None, OLD], ids=["first save", "overwrite"])
def test_kill_9_before_any_call_leaves_the_old_or_the_new_content(tmp_path, before):
    seen = []
    for fatal in range(1, 20):
        path = tmp_path / f"model-{fatal}"
        if before is not None:
            path.write_bytes(before)
        done = subprocess.run([sys.executable, "-c", KILLED_BEFORE_CALL, str(path), NEW.decode(), str(fatal)], check=False)
        seen.append(path.read_bytes() if path.exists() else None)
        write_atomically(path, NEW)  # what the dead process left does not disturb the next one
        if done.returncode == 0:
            break
    assert done.returncode == 0
    assert seen[-1] == NEW
    assert seen == sorted(seen, key=lambda content: content == NEW)
    assert set(seen) == {before, NEW}


def test_writers_at_once_leave_the_content_of_one(tmp_path):
    contents = [bytes([number]) * 100_000 for number in range(8)]
    threads = [threading.Thread(target=write_atomically, args=(tmp_path / "file", content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "file").read_bytes() in contents
    assert files_in(tmp_path) == ["file"]


def test_free_path_counts_up_past_files_and_dangling_links(tmp_path):
    path = tmp_path / "mnist.safetensors"
    assert free_path(path) == path
    path.touch()
    (tmp_path / "mnist-2.safetensors").symlink_to("nowhere")
    assert free_path(path) == Path(tmp_path / "mnist-3.safetensors")
