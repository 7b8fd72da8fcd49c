"""Folders and files are their owner's from the moment they exist, and narrowed with a word where they were not."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from services.importer.rejects import Rejects
from services.importer.row import BadRow
from shared.contracts.errors import ConfigurationError, InvalidEvent
from shared.local.cache import cache_folder
from shared.local.contexts import Held, read
from shared.local.private import private_file, private_folder, write_into, write_private
from shared.local.processes import Process
from shared.local.servers import data_folder
from shared.vault.master import add_to_file
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


def test_what_is_made_above_a_private_folder_is_private_too(tmp_path: Path) -> None:
    """Else another user could exchange the folder as a whole."""
    key, cached = tmp_path / "a" / "b" / "master.key", tmp_path / "c" / "d" / "cache"
    add_to_file(key)
    with data_folder(tmp_path / "e" / "f" / "data"), pytest.MonkeyPatch.context() as patched:
        patched.setenv("KITH_CACHE_FOLDER", str(cached))
        cache_folder()
    held = Held.take(str(tmp_path / "g" / "h" / "there.json"), "up", "kith up")
    held.end()
    made = [path for path in tmp_path.rglob("*") if path.is_dir()]
    assert len(made) == 10
    assert {mode(path) for path in made} == {0o700}


@pytest.mark.skipif(os.geteuid() != 0, reason="only an administrator can give a file away")
@pytest.mark.parametrize("laid", ["a folder", "a link", "a link to a link", "a folder behind a link of one's own"])
def test_nothing_is_put_where_another_user_has_laid_the_way(laid: str, tmp_path: Path) -> None:
    shared, mine = tmp_path / "shared", tmp_path / "mine"
    shared.mkdir()
    shared.chmod(0o1777)
    mine.mkdir(0o755)
    theirs = shared / "kith"
    if laid.startswith("a folder"):
        theirs.mkdir(0o777)
    else:
        theirs.symlink_to(mine)
    os.chown(theirs, 12_345, -1, follow_symlinks=False)
    named = theirs
    if laid == "a link to a link":
        named = shared / "other"
        named.symlink_to("kith")
    elif laid.endswith("of one's own"):
        named = mine / "there"
        named.symlink_to(theirs)
    for path in (named, named / "data"):
        with pytest.raises(ConfigurationError, match=r"kith belongs to another user.*12345"), data_folder(path):
            pass
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("KITH_CACHE_FOLDER", str(path))
            with pytest.raises(ConfigurationError, match="12345"):
                cache_folder()
    assert mode(mine) == 0o755
    assert [path.name for path in mine.iterdir()] in ([], ["there"])


def test_a_way_of_ones_own_is_gone(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (tmp_path / "disk").mkdir()
    (shared / "link").symlink_to("../disk")
    with data_folder(shared / "link" / "data"):
        assert mode(tmp_path / "disk" / "data") == 0o700
    (shared / "loop").symlink_to("loop")
    with pytest.raises(ConfigurationError, match="loop"), data_folder(shared / "loop" / "data"):
        pass


def test_what_a_person_names_to_write_into_is_private(tmp_path: Path) -> None:
    for before in (None, "longer than what is written"):
        path = tmp_path / f"{before is None}.receipt"
        if before is not None:
            path.write_text(before)
        write_into(path, "text\n")
        assert (mode(path), path.read_text()) == (0o600, "text\n")
    write_into(Path("/dev/null"), "text")
    assert Path("/dev/null").is_char_device()
    with Rejects(tmp_path / "rejected", added=True) as rejects:
        rejects.add("shop", BadRow(1, "invalid", "is bad", "x"), InvalidEvent("invalid", "is bad"))
    assert mode(tmp_path / "rejected") == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only an administrator can give a file away")
def test_nothing_is_written_into_another_users_file(tmp_path: Path) -> None:
    for name in ("receipt", "rejected"):
        (tmp_path / name).touch()
        os.chown(tmp_path / name, 12_345, -1)
    with pytest.raises(ConfigurationError, match="12345"):
        write_into(tmp_path / "receipt", "text")
    with pytest.raises(ConfigurationError, match="12345"), Rejects(tmp_path / "rejected", added=True) as rejects:
        rejects.add("shop", BadRow(1, "invalid", "is bad", "x"), InvalidEvent("invalid", "is bad"))
    assert {(tmp_path / name).read_text() for name in ("receipt", "rejected")} == {""}


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
