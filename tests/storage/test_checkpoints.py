"""Checkpoints: the last two are kept, the newest sound one is found, and nothing is lost on the way."""

import errno
import os
import re

import numpy as np
import pytest

from fastmlp.errors import InputNotFound, ModelFileError, OutputError, WriteError
from fastmlp.storage import atomic
from fastmlp.storage.checkpoints import Checkpoints


def save(checkpoints, number):
    return checkpoints.save({"content": np.full(3, number)}, {"said": f"number {number}"})


def content(path, stored):
    arrays = {name: np.empty(shape, dtype) for name, (dtype, shape) in stored.shapes.items()}
    stored.read_into(arrays)
    assert stored.metadata["said"] == f"number {arrays['content'][0]}"
    return int(arrays["content"][0])


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints"


def test_there_is_none_before_the_first(folder):
    assert Checkpoints(folder).newest(content) is None
    assert not folder.exists()


def test_the_newest_is_found(folder):
    for number in (1, 2, 3):
        save(Checkpoints(folder), number)
        assert Checkpoints(folder).newest(content) == number


def test_two_are_kept_and_numbers_go_on(folder):
    checkpoints = Checkpoints(folder)
    paths = [save(checkpoints, number) for number in range(1, 6)]
    assert [path.name for path in paths] == [f"ckpt-00000{number}.safetensors" for number in range(1, 6)]
    assert names(folder) == ["ckpt-000004.safetensors", "ckpt-000005.safetensors"]


def test_numbers_are_not_compared_as_text(folder):
    folder.mkdir()
    first = save(Checkpoints(folder), 1)
    first.rename(folder / "ckpt-999999.safetensors")
    save(Checkpoints(folder), 2)
    assert names(folder) == ["ckpt-1000000.safetensors", "ckpt-999999.safetensors"]
    assert Checkpoints(folder).newest(content) == 2


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-1], lambda data: data[:-1] + bytes([data[-1] ^ 1])])
def test_a_damaged_newest_one_falls_back_to_the_older_with_a_warning(folder, damage):
    checkpoints = Checkpoints(folder)
    save(checkpoints, 1)
    newest = save(checkpoints, 2)
    newest.write_bytes(damage(newest.read_bytes()))
    with pytest.warns(UserWarning, match=rf"{re.escape(str(newest))}.*going back to .*ckpt-000001"):
        assert Checkpoints(folder).newest(content) == 1


def test_one_that_means_nothing_to_the_reader_is_passed_over_too(folder):
    save(Checkpoints(folder), 1)
    save(Checkpoints(folder), 2)

    def only_odd(path, stored):
        if (number := content(path, stored)) % 2 == 0:
            raise ModelFileError("expected an odd number")
        return number

    with pytest.warns(UserWarning, match="odd"):
        assert Checkpoints(folder).newest(only_odd) == 1


def test_a_damaged_one_goes_before_a_sound_one_does(folder):
    save(Checkpoints(folder), 1)
    save(Checkpoints(folder), 2).write_bytes(b"damaged")
    checkpoints = Checkpoints(folder)
    with pytest.warns(UserWarning, match="going back"):
        checkpoints.newest(content)
    save(checkpoints, 3)
    assert names(folder) == ["ckpt-000001.safetensors", "ckpt-000003.safetensors"]


def test_without_a_sound_one_it_is_an_error(folder):
    for number in (1, 2):
        save(Checkpoints(folder), number).write_bytes(b"damaged")
    with pytest.raises(ModelFileError, match="found none of 2") as caught:
        Checkpoints(folder).newest(content)
    assert caught.value.exit_code == 65


def test_other_files_are_neither_read_nor_removed(folder):
    checkpoints = Checkpoints(folder)
    folder.mkdir()
    others = ["ckpt-1.safetensors", "ckpt-000009.safetensors.bak", "mine.txt", "ckpt-abcdef.safetensors"]
    for name in others:
        (folder / name).write_text("mine")
    for number in range(4):
        save(checkpoints, number)
    assert checkpoints.newest(content) == 3
    assert set(others) <= set(names(folder))


@pytest.mark.parametrize(("number", "error"), [(errno.ENOSPC, WriteError), (errno.EROFS, OutputError)])
def test_a_save_that_fails_leaves_the_earlier_ones(folder, monkeypatch, number, error):
    checkpoints = Checkpoints(folder)
    for value in (1, 2):
        save(checkpoints, value)
    before = {path: path.read_bytes() for path in folder.iterdir()}

    def fail(*_):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "fsync", fail)
        with pytest.raises(error):
            save(checkpoints, 3)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_what_a_killed_process_left_is_removed_on_request(folder):
    save(Checkpoints(folder), 1)
    (folder / ".fastmlp-0123456789abcdef.tmp").write_bytes(b"half a file")
    Checkpoints(folder).remove_leftovers()
    assert names(folder) == ["ckpt-000001.safetensors"]


def test_a_file_in_place_of_the_folder_is_an_error(folder):
    folder.write_text("mine")
    with pytest.raises(OutputError):
        save(Checkpoints(folder), 1)
    with pytest.raises(InputNotFound):
        Checkpoints(folder).newest(content)
    assert folder.read_text() == "mine"


def test_a_new_folder_lasts_through_a_power_cut(folder, monkeypatch):
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")) or fsync(descriptor))
    save(Checkpoints(folder), 1)
    assert synced[0] == str(folder.parent.resolve())
