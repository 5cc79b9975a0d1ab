"""A kill never leaves half of a file that an Iceberg table depends on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from loading import run_vbc, still_gateway

from vbc_source.emulator import Gateway
from vbc_source.lakes.iceberg_files import WholeFileIO


def test_a_file_has_its_name_when_it_is_whole(own_folder: Path) -> None:
    path = own_folder / "metadata" / "00001-a.metadata.json"
    with WholeFileIO().new_output(str(path)).create() as stream:
        stream.write(b"{}")
        stream.flush()
        assert not list(path.parent.glob("*.json"))
    assert path.read_bytes() == b"{}"
    with pytest.raises(FileExistsError):
        WholeFileIO().new_output(str(path)).create()


def test_a_file_that_is_not_written_to_its_end_leaves_nothing(own_folder: Path) -> None:
    path = own_folder / "00001-a.metadata.json"
    path.write_bytes(b"before")
    stream = WholeFileIO().new_output(str(path)).create(overwrite=True)
    with suppress(KeyboardInterrupt), stream:
        stream.write(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"before"
    assert list(own_folder.iterdir()) == [path]


@pytest.mark.destinations
def test_tables_in_a_folder_are_written_so(
    serve: Callable[[Gateway], str], own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name of each comes with its bytes, whatever writes it."""
    from vbc_source.lakes import iceberg_files

    named: set[Path] = set()
    replace = Path.replace

    def note(draft: Path, path: Path) -> Path:
        named.add(Path(path))
        return replace(draft, path)

    monkeypatch.setattr(iceberg_files.Path, "replace", note)
    url = serve(still_gateway(recordings=5, users=1))
    settings = {
        "DESTINATION__FILESYSTEM__BUCKET_URL": str(own_folder / "lake"),
        "DESTINATION__FILESYSTEM__TABLE_FORMAT": "iceberg",
    }
    for command in ("sync", "compact"):
        done = run_vbc(own_folder, url, command, "--destination", "filesystem", **settings)
        assert done.returncode == 0, done.stderr
    metadata = set((own_folder / "lake").rglob("*.metadata.json"))
    assert metadata
    assert metadata <= named
