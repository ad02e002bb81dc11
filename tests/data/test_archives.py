"""Single members are read into memory; what an archive says of paths, links and devices has no effect on the disk."""

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fastmlp.data import archives
from fastmlp.data.archives import deb_members, tar_members, zip_member
from fastmlp.errors import DataError
from tests.data.packing import ar, deb, tar


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2"])
def test_members_of_a_tar_archive_are_read_whatever_its_compression(mode):
    data = tar(("a", tarfile.REGTYPE, b"alpha"), ("folder/b", tarfile.REGTYPE, b"beta"), ("c", tarfile.REGTYPE, b"gamma"), mode=mode)
    assert tar_members(io.BytesIO(data), {"folder/b": 4, "a": 10}, "t") == {"a": b"alpha", "folder/b": b"beta"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_a_member_that_is_no_plain_file_is_refused(kind):
    with pytest.raises(DataError, match="t: a: expected a plain file, found a link, folder or device"):
        tar_members(io.BytesIO(tar(("a", kind, b""))), {"a": 10}, "t")


def test_members_that_lead_out_of_the_folder_touch_nothing(tmp_path, monkeypatch):
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    bad = [("../slip", tarfile.REGTYPE, b"x"), (str(tmp_path / "absolute"), tarfile.REGTYPE, b"x"), ("link", tarfile.SYMTYPE, b"")]
    data = tar(*bad, ("a", tarfile.REGTYPE, b"alpha"))
    assert tar_members(io.BytesIO(data), {"a": 5}, "t") == {"a": b"alpha"}
    with zipfile.ZipFile("slip.zip", "w") as archive:
        archive.writestr("../slip", "x")
        archive.writestr("a", "alpha")
    assert zip_member(tmp_path / "inside" / "slip.zip", "a", 5) == b"alpha"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["inside", "slip.zip"]


def test_archives_with_too_many_members_or_bytes_are_refused(monkeypatch):
    data = tar(*((str(number), tarfile.REGTYPE, b"12345") for number in range(20)), ("a", tarfile.REGTYPE, b"alpha"))
    monkeypatch.setattr(archives, "MAX_MEMBERS", 20)
    with pytest.raises(DataError, match="expected at most 20 members"):
        tar_members(io.BytesIO(data), {"a": 5}, "t")
    monkeypatch.setattr(archives, "MAX_MEMBERS", 21)
    monkeypatch.setattr(archives, "MAX_BYTES", 104)
    with pytest.raises(DataError, match="and 104 bytes, found more"):
        tar_members(io.BytesIO(data), {"a": 5}, "t")


def test_members_longer_than_expected_are_refused(tmp_path):
    with pytest.raises(DataError, match="t: a: expected at most 4 bytes, found 5"):
        tar_members(io.BytesIO(tar(("a", tarfile.REGTYPE, b"alpha"))), {"a": 4}, "t")
    with zipfile.ZipFile(tmp_path / "z", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(1 << 20))
    with pytest.raises(DataError, match="a: expected at most 4 bytes, found more"):
        zip_member(tmp_path / "z", "a", 4)


def test_missing_members_are_named(tmp_path):
    with pytest.raises(DataError, match="t: expected a member b, found none"):
        tar_members(io.BytesIO(tar(("a", tarfile.REGTYPE, b"alpha"))), {"a": 5, "b": 5}, "t")
    with zipfile.ZipFile(tmp_path / "z", "w") as archive:
        archive.writestr("a", "alpha")
    with pytest.raises(DataError, match="expected a member b, found none"):
        zip_member(tmp_path / "z", "b", 5)
    (tmp_path / "deb").write_bytes(ar(("debian-binary", b"2.0\n")))
    with pytest.raises(DataError, match="expected a member data.tar, found none"):
        deb_members(tmp_path / "deb", {"a": 5})


def test_a_member_of_a_debian_package_is_read(tmp_path):
    (tmp_path / "deb").write_bytes(deb(tar(("./usr/a", tarfile.REGTYPE, b"alpha"))))
    assert deb_members(tmp_path / "deb", {"./usr/a": 5}) == {"./usr/a": b"alpha"}


def damaged(kind: str, folder: Path) -> tuple[bytes, Callable[[Path], object]]:
    """Return a good archive of a kind, and the call that reads its member."""
    content = ("a", tarfile.REGTYPE, bytes(range(250)))
    if kind == "zip":
        with zipfile.ZipFile(folder / "whole", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a", content[2])
        return (folder / "whole").read_bytes(), lambda path: zip_member(path, "a", 250)
    if kind == "tar":
        return tar(content), lambda path: tar_members(io.BytesIO(path.read_bytes()), {"a": 250}, "tar")["a"]
    return deb(tar(content)), lambda path: deb_members(path, {"a": 250})["a"]


@pytest.mark.parametrize("kind", ["zip", "tar", "deb"])
def test_an_archive_cut_anywhere_is_a_data_error(kind, tmp_path):
    whole, read = damaged(kind, tmp_path)
    path = tmp_path / "archive"
    path.write_bytes(whole)
    assert read(path) == bytes(range(250))
    needed = 512 + 250 if kind == "tar" else len(whole)  # what follows the last member of a tar archive is padding
    for length in range(0, needed, 7):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match="expected"):
            read(path)
