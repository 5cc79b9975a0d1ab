"""Private files: their modes whatever the umask, and which folders are not trusted."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from vbc_source.errors import SettingsError
from vbc_source.private_files import make_private_folder, open_private, write_private_file

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folders_and_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    folder = make_private_folder(tmp_path / "data" / "vbc_runs")
    write_private_file(folder / "run.json", "{}")
    (folder / "old").write_text("")  # by an earlier version
    os.close(open_private(folder / "old"))
    assert (mode(folder), mode(folder / "run.json"), mode(folder / "old")) == (0o700, 0o600, 0o600)


def test_a_folder_that_others_could_read_is_narrowed(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir(mode=0o755)
    assert mode(make_private_folder(tmp_path / "runs")) == 0o700


def test_a_folder_that_others_could_write_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "everyone").mkdir(mode=0o777)
    (tmp_path / "group").mkdir(mode=0o770)
    with pytest.raises(SettingsError, match=r"could be written by other users.*DLT_DATA_DIR"):
        make_private_folder(tmp_path / "everyone")
    with pytest.raises(SettingsError, match="could be written by other users"):
        make_private_folder(tmp_path / "group", secrets=True)
    make_private_folder(tmp_path / "group")  # Kubernetes opens volumes to a group, which has no secrets here


def test_a_folder_of_somebody_else_is_not_trusted_nor_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(SettingsError, match="belongs to another user"):
        make_private_folder(tmp_path / "link")
    if os.geteuid() == 0:
        (tmp_path / "theirs").mkdir(mode=0o700)
        os.chown(tmp_path / "theirs", 12345, 12345)
        with pytest.raises(SettingsError, match=r"theirs belongs to another user.*DLT_DATA_DIR"):
            make_private_folder(tmp_path / "theirs")


def test_a_folder_that_cannot_be_made_is_reported_with_the_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"cannot write to .*DLT_DATA_DIR"):
        make_private_folder(tmp_path / "file" / "vbc_tokens")
