"""Files of machine code: what somebody else could have put there is never run, and nothing in the folder stops a run."""

import os
import socket
import stat

import pytest

from fastmlp.compilation import code_cache
from fastmlp.compilation.code_cache import Damaged, Distrusted, read, trusted, write

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="rights of another kind")
as_root = pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() != 0, reason="only root can give a file away")
NOBODY = 65534


@pytest.fixture
def kept(tmp_path):
    """A file of code in folders of its own, below a folder that belongs to the user."""
    path = tmp_path / "cache" / "compiled" / "0123" / "kernel.code"
    write(path, b"machine code")
    return path


def test_what_was_kept_is_read(kept):
    assert read(kept) == b"machine code"


def test_folders_and_files_are_for_their_owner_only_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        write(tmp_path / "a" / "b" / "kernel.code", b"code")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "a/b", "a/b/kernel.code")]
    assert modes == [0o700, 0o700, 0o600]


def replaced_by_link(path):
    path.rename(path.with_name("other.code"))
    path.symlink_to("other.code")


def replaced_by_socket(path):
    path.unlink()
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(path.parent)  # the name of a socket may have 108 characters
        server.bind(path.name)


FILES = {
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a symbolic link": replaced_by_link,
    "a socket": replaced_by_socket,
    "a second name of another file": lambda path: os.link(path, path.with_name("other.code")),
    "a file that the group may write": lambda path: path.chmod(0o620),
    "a file that everybody may write": lambda path: path.chmod(0o602),
    "a huge file": lambda path: os.truncate(path, code_cache.LARGEST_FILE + 1),
    "an empty file": lambda path: os.truncate(path, 0),
    "another kernel's file": lambda path: (path.unlink(), write(path.with_name("b.code"), b"b"), path.with_name("b.code").rename(path)),
    "another user's file": lambda path: os.chown(path, NOBODY, NOBODY),
}


@pytest.mark.parametrize("kind", FILES)
def test_code_is_not_taken_from(kind, kept, monkeypatch):
    if "user" in kind and os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    monkeypatch.chdir(kept.parent)
    FILES[kind](kept)
    with pytest.raises((Damaged, OSError)):
        read(kept)


@pytest.mark.parametrize("kind", [kind for kind in FILES if kind != "a folder"])
def test_new_code_takes_the_place_of(kind, kept, monkeypatch):
    if "user" in kind and os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    monkeypatch.chdir(kept.parent)
    FILES[kind](kept)
    write(kept, b"new")
    assert read(kept) == b"new"


@pytest.mark.parametrize("above", range(4), ids=["its folder", "compiled", "cache", "a folder above"])
@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_code_is_not_taken_where_others_may_write_to(above, mode, kept):
    kept.parents[above].chmod(mode)
    with pytest.raises(Distrusted, match="written by others"):
        read(kept)
    with pytest.raises(Distrusted):
        write(kept.with_name("new.code"), b"new")
    kept.parents[above].chmod(0o700)
    assert read(kept) == b"machine code"


@as_root
@pytest.mark.parametrize("above", range(4), ids=["its folder", "compiled", "cache", "a folder above"])
def test_code_is_not_taken_from_below_a_folder_of_another_user(above, kept):
    os.chown(kept.parents[above], NOBODY, NOBODY)
    with pytest.raises(Distrusted, match="another user"):
        read(kept)


def test_sticky_folder_may_be_on_the_way_but_hold_no_code(kept):
    kept.parents[2].chmod(0o1777)  # as /tmp
    assert read(kept) == b"machine code"
    kept.parent.chmod(0o1777)
    with pytest.raises(Distrusted):
        read(kept)


def test_links_of_the_user_are_followed(kept, tmp_path):
    (tmp_path / "link").symlink_to("cache")
    (tmp_path / "second").symlink_to(tmp_path / "link" / ".." / "link")
    assert trusted(tmp_path / "second" / "compiled" / "0123") == kept.parent
    assert read(tmp_path / "second" / "compiled" / "0123" / kept.name) == b"machine code"


@as_root
def test_link_of_another_user_is_not_followed(kept, tmp_path):
    (tmp_path / "link").symlink_to("cache")
    os.lchown(tmp_path / "link", NOBODY, NOBODY)
    with pytest.raises(Distrusted, match="link"):
        read(tmp_path / "link" / "compiled" / "0123" / kept.name)


def test_links_in_a_circle_end(tmp_path):
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(OSError, match="symbolic links"):
        trusted(tmp_path / "link")


def test_file_is_judged_as_it_was_opened(kept, monkeypatch):
    """What has the name by then is another one, of the user's own: it was not what was opened."""
    kept.chmod(0o666)
    look = os.fstat

    def exchanged(descriptor):
        write(kept, b"innocent")
        return look(descriptor)

    monkeypatch.setattr(os, "fstat", exchanged)
    with pytest.raises(Damaged):
        read(kept)
