"""Folders and files are their owner's from the moment they exist, and narrowed with a word where they were not."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from shared.contracts.errors import ConfigurationError
from shared.local.cache import cache_folder
from shared.local.contexts import Held, read
from shared.local.private import private_file, private_folder, write_private
from shared.local.processes import Process
from shared.local.servers import data_folder
from tests.support.waiting import PATIENCE_SECONDS


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def _open_handed() -> "object":
    before = os.umask(0)
    yield
    os.umask(before)


def test_a_new_folder_is_its_owners_whatever_the_umask(tmp_path: Path) -> None:
    said: list[str] = []
    assert mode(private_folder(tmp_path / "above" / "data", said.append)) == 0o700
    assert said == []


@pytest.mark.parametrize("wide", [0o755, 0o777, 0o750, 0o701, 0o770])
def test_a_folder_that_was_open_is_narrowed_and_that_is_said(wide: int, tmp_path: Path) -> None:
    folder, said = tmp_path / "data", list[str]()
    folder.mkdir()
    folder.chmod(wide)
    with data_folder(folder, said.append):
        assert mode(folder) == 0o700
    [line] = said
    assert str(folder) in line
    assert f"mode {wide:o}" in line


def test_a_folder_that_cannot_be_narrowed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that knows no modes."""

    def refuse(*_: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    tmp_path.chmod(0o755)
    monkeypatch.setattr(os, "fchmod", refuse)
    with pytest.raises(ConfigurationError, match=r"mode 755.*name another"), data_folder(tmp_path):
        pass


def test_a_folder_that_all_users_share_is_refused_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    with pytest.raises(ConfigurationError, match="name one in it"), data_folder(folder):
        pass
    assert mode(folder) == 0o1777


@pytest.mark.skipif(os.geteuid() != 0, reason="only an administrator can give a file away")
def test_what_is_another_users_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("data", "cache"):
        (tmp_path / name).mkdir()
    (tmp_path / "key").touch()
    (tmp_path / "there.json").write_text('{"settings": {}}')
    for path in tmp_path.iterdir():
        os.chown(path, 12_345, -1)
    with pytest.raises(ConfigurationError, match="id 12345"), data_folder(tmp_path / "data"):
        pass
    with pytest.raises(ConfigurationError, match="id 12345"):
        private_file(tmp_path / "key", os.O_RDONLY)
    with pytest.raises(ConfigurationError, match="id 12345"):
        read(tmp_path / "there.json")
    monkeypatch.setenv("KITH_CACHE_FOLDER", str(tmp_path / "cache"))
    with pytest.raises(ConfigurationError, match="KITH_CACHE_FOLDER"):
        cache_folder()


def test_a_file_is_private_before_anything_is_in_it(tmp_path: Path) -> None:
    file = private_file(tmp_path / "log", os.O_WRONLY)
    assert mode(tmp_path / "log") == 0o600
    os.close(file)
    (tmp_path / "old").write_text("old")
    (tmp_path / "old").chmod(0o644)
    os.close(private_file(tmp_path / "old", os.O_RDONLY))
    assert mode(tmp_path / "old") == 0o600
    write_private(tmp_path / "old", "new")
    assert (mode(tmp_path / "old"), (tmp_path / "old").read_text()) == (0o600, "new")


def test_the_place_of_a_new_file_cannot_be_taken_by_a_link(tmp_path: Path) -> None:
    (tmp_path / f".secret.{os.getpid()}").symlink_to(tmp_path / "elsewhere")
    write_private(tmp_path / "secret", "password")
    assert not (tmp_path / "elsewhere").exists()


def test_the_cache_of_programs_is_not_for_others_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("KITH_CACHE_FOLDER", str(tmp_path / "cache"))
    assert mode(cache_folder()) == 0o700
    (tmp_path / "cache").chmod(0o775)
    assert mode(cache_folder()) == 0o755
    assert "only its owner" in caplog.text


def test_a_child_and_its_log_are_private(tmp_path: Path) -> None:
    made = tmp_path / "made"
    process = Process("child", [sys.executable, "-c", f"open({str(made)!r}, 'w')"], tmp_path / "log" / "child.log")
    process.start()
    process._wait(PATIENCE_SECONDS)
    assert (mode(made), mode(process.log), mode(process.log.parent)) == (0o600, 0o600, 0o700)


def test_a_context_and_its_folder_are_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "kith").mkdir(mode=0o777)
    held = Held.take(None, "shop", "kith up")
    held.write(held.context)
    assert (mode(tmp_path / "kith"), mode(held.path)) == (0o700, 0o600)
    held.end()


def test_no_name_is_private_for_an_instant_only(tmp_path: Path) -> None:
    """The system calls of ``write_private``: the file is never created with wider rights and narrowed later."""
    script = (
        "from pathlib import Path; import sys; from shared.local.private import write_private, private_folder\n"
    )
    script += "def hook(name, args):\n    if name in ('os.chmod',): print(name, args[0])\n"
    script += (
        "sys.addaudithook(hook); private_folder(Path(sys.argv[1])); write_private(Path(sys.argv[1], 'a'), 'b')"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "new")], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
