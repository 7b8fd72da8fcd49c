"""Contexts: which stack a command talks to, what is stale, and that no other process is ever stopped."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from services.cli import down
from services.cli.__main__ import app
from services.cli.context import place, talks_to_a_stack
from services.cli.session import Options, values_of
from shared.contracts.errors import ConfigurationError
from shared.local import contexts
from shared.local.contexts import Context, Held, path_of, read, running
from shared.local.locks import Lock, is_held
from shared.service.launch import read_settings
from shared.settings import Settings, require
from tests.support.waiting import PATIENCE_SECONDS

ADDRESSES = {"kafka": "127.0.0.1:20001", "mongo": "mongodb://ann:secret@127.0.0.1:20002/?replicaSet=rs0"}

#: Another process that holds a stack: it writes its context, says so, and waits for the end.
HOLDER = """
import sys
from dataclasses import replace
from shared.local.contexts import Held
held = Held.take(sys.argv[1] or None, sys.argv[2], "kith up")
held.write(replace(held.context, ready=sys.argv[3] == "ready", settings=eval(sys.argv[4])))
print(held.path, flush=True)
sys.stdin.read()
held.end()
"""


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith("KITH_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "kith"


@contextmanager
def stack(
    default: str = "up", asked: str = "", ready: bool = True, settings: dict[str, str] = ADDRESSES
) -> Iterator["subprocess.Popen[str]"]:
    """A stack that another process holds."""
    script = [HOLDER, asked, default, "ready" if ready else "starting", repr(settings)]
    with subprocess.Popen(
        [sys.executable, "-c", *script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.path = Path(process.stdout.readline().strip())  # type: ignore[attr-defined]
        try:
            yield process
        finally:
            process.kill()


def talk(*arguments: str, needed: Any = ("kafka", "mongo")) -> tuple[Settings | None, str]:
    """The settings that a command gets, and what it says on stderr."""
    found: list[Settings] = []

    def command() -> None:
        settings = read_settings()
        require(settings, *needed)
        found.append(settings)

    alone = typer.Typer()
    alone.command()(talks_to_a_stack(command))
    done = CliRunner().invoke(alone, arguments)
    if isinstance(done.exception, ConfigurationError):
        return None, str(done.exception)
    assert done.exception is None, done.exception
    assert done.stdout == "", "what a program reads stays as it is"
    return found[0], done.stderr


# The file


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("kith status --context ", {"one", "two"}),
        ("kith --context t", {"two"}),
        ("kith logs ", set()),
        ("kith logs --context one ", {"relations"}),
        ("kith --context two logs ", {"mongo"}),
    ],
)
def test_a_shell_offers_the_stacks_that_run_and_their_logs(tmp_path: Path, line: str, offered: set[str]) -> None:
    for name, log in (("one", "relations"), ("two", "mongo")):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{log}.log").touch()
    with stack(asked="one") as one, stack(asked="two") as two:
        for process, name in ((one, "one"), (two, "two")):
            file: Path = process.path  # type: ignore[attr-defined]
            file.write_text(json.dumps({**json.loads(file.read_text()), "logs": str(tmp_path / name)}))
        asked = {"_KITH_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        done = CliRunner().invoke(app, [], prog_name="kith", env=asked)
    assert set(done.stdout.split()) == offered


def test_a_context_is_readable_by_its_owner_only_and_ends_with_its_stack(state: Path) -> None:
    with stack() as process:
        files = [path for path in state.iterdir() if path.suffix == ".json"]
        assert [stat.S_IMODE(path.stat().st_mode) for path in [*files, state]] == [0o600, 0o700]
        assert [context.pid for context in running()] == [process.pid]
        process.communicate("", timeout=PATIENCE_SECONDS)
    assert running() == []
    assert list(state.iterdir()) == []


def test_what_a_killed_process_leaves_is_stale_though_its_number_lives_on(state: Path) -> None:
    with stack() as process:
        process.kill()
        process.wait()
        [file] = state.glob("*.json")
        # As if the number belonged to another process by now: this one.
        file.write_text(json.dumps({**json.loads(file.read_text()), "pid": os.getpid()}))
        assert not read(file).running
        assert running() == []
        assert not file.exists(), "nobody is asked to look at it again"


def test_the_next_stack_gets_the_next_name_and_a_name_that_is_asked_for_is_not_replaced() -> None:
    with stack(), stack() as second:
        assert [context.name for context in running()] == ["up", "up-2"]
        with pytest.raises(ConfigurationError, match=f"up-2 is running .*process {second.pid}.*kith down"):
            Held.take("up-2", "up", "kith up")


class Ended:
    """A stack that ends while it starts, and has said why."""

    def __init__(self, *_: object, stderr: IO[bytes], **__: object) -> None:
        stderr.write(b"kith: no room\n")
        stderr.flush()
        self.stdout = Path(os.devnull).open()  # noqa: SIM115

    def wait(self) -> int:
        return 1


@pytest.mark.parametrize("asked", [None, "up"])
def test_a_second_stack_in_the_background_leaves_the_log_of_the_first(
    state: Path, monkeypatch: pytest.MonkeyPatch, asked: str | None
) -> None:
    with stack():
        monkeypatch.setattr(subprocess, "Popen", Ended)
        (state / "up.log").write_text("of the first\n")
        done = CliRunner().invoke(app, ["up", "-d", *(["--context", asked] if asked else [])])
        said = str(done.exception) + done.stderr
    assert done.exit_code == 1
    assert ("the stack up is running" if asked else "no room") in said
    assert (state / "up.log").read_text() == "of the first\n"
    assert (state / "up-2.log").exists() == (asked is None)


def test_a_file_of_a_person_is_not_overwritten(tmp_path: Path) -> None:
    mine = tmp_path / "staging.json"
    mine.write_text(json.dumps({"settings": ADDRESSES}))
    with pytest.raises(ConfigurationError, match="not overwritten"):
        Held.take(str(mine), "up", "kith up")
    assert json.loads(mine.read_text()) == {"settings": ADDRESSES}


@pytest.mark.parametrize("text", ["", "[]", "{", '"x"', '{"name": 1, "settings": {}, "pid": 1}', "\x00"])
def test_what_is_no_context_is_passed_by_and_named_when_it_is_asked_for(state: Path, text: str) -> None:
    state.mkdir(parents=True)
    (state / "odd.json").write_text(text)
    with stack():
        settings, _ = talk()
        assert settings is not None
    settings, said = talk("--context", "odd")
    assert settings is None
    assert "odd" in said


@pytest.mark.parametrize("name", ["", ".", "..", ".x", "a b", "a\nb", "é/../x y", "*"])
def test_a_name_is_no_way_out_of_the_folder(name: str, state: Path) -> None:
    try:
        path = path_of(name)
    except ConfigurationError:
        return
    assert os.sep in name, "a path that somebody means"
    assert path.parent != state


def test_a_folder_of_somebody_else_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "state" / "kith").mkdir(parents=True)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    uid = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    assert contexts.folder() == tmp_path / f"kith-{uid + 1}"
    (tmp_path / f"kith-{uid + 1}").mkdir()
    with pytest.raises(ConfigurationError, match="folder"):
        contexts.folder()
    assert running() == []


def test_secrets_and_whole_paths_travel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"kafka": "k:1", "kafka_password": "s3cret", "kafka_ca_file": "ca.pem", "kind_weights": {"view": 0.25}}
    settings = Settings.model_validate(given)
    values = json.loads(json.dumps(values_of(settings)))
    assert values == {**given, "kafka_ca_file": str(tmp_path / "ca.pem")}
    with stack(settings=values):
        found, _ = talk(needed=("kafka",))
        assert found == settings.model_copy(update={"kafka_ca_file": str(tmp_path / "ca.pem")})


# Which one a command talks to


def test_the_one_that_runs_is_found_and_said_in_one_line_without_a_password() -> None:
    with stack():
        settings, said = talk()
    assert settings is not None
    assert (settings.kafka, settings.mongo) == (ADDRESSES["kafka"], ADDRESSES["mongo"])
    assert said == "kith: using the stack up (Kafka 127.0.0.1:20001, MongoDB 127.0.0.1:20002)\n"


def test_explicit_settings_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("kith_database", "other")  # as pydantic takes it, too
    with stack(settings={**ADDRESSES, "database": "kith"}):
        settings, said = talk()
        assert settings is not None
        assert settings.database == "other"
        assert "KITH_DATABASE from the environment" in said


@pytest.mark.parametrize("variable", ["KITH_KAFKA", "KITH_MONGO"])
def test_two_installations_are_never_mixed_by_accident(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "production:1")
    with stack():
        settings, said = talk()
        assert settings is None
        assert {"KITH_KAFKA", "KITH_MONGO"} <= set(said.replace(":", " ").split())
        assert f"unset {variable}" in said
        assert "--context up" in said
        settings, said = talk("--context", "up")
        assert settings is not None
        assert getattr(settings, variable[5:].lower()) == "production:1"
        assert f"{variable} from the environment" in said


def test_of_several_one_has_to_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    with stack(), stack(asked="shop", settings={"kafka": "shop:1", "mongo": "mongodb://shop:2"}) as shop:
        settings, said = talk()
        assert settings is None
        assert "up " in said
        assert "shop " in said
        assert "--context" in said
        for way in (("--context", "shop"), ("--context", str(shop.path))):  # type: ignore[attr-defined]
            settings, _ = talk(*way)
            assert settings is not None
            assert settings.kafka == "shop:1"
        monkeypatch.setenv("KITH_CONTEXT", "shop")
        settings, _ = talk()
        assert settings is not None
        assert settings.kafka == "shop:1"
        settings, _ = talk("--context", "up")
        assert settings is not None
        assert settings.kafka == ADDRESSES["kafka"], "the option is nearer than the variable"
        settings, said = talk("--context", "sohp")
        assert settings is None
        assert "running: shop, up" in said


def test_a_file_that_a_person_wrote_is_a_context(tmp_path: Path) -> None:
    mine = tmp_path / "staging.json"
    mine.write_text(json.dumps({"settings": ADDRESSES}))
    settings, said = talk("--context", str(mine))
    assert settings is not None
    assert settings.kafka == ADDRESSES["kafka"]
    assert "staging" in said


def test_such_a_file_may_lie_beside_the_others_and_is_used_by_its_name_only(state: Path) -> None:
    state.mkdir(parents=True)
    (state / "staging.json").write_text(
        json.dumps({"settings": {"kafka": "staging:1", "mongo": "mongodb://staging"}})
    )
    assert talk()[0] is None
    with stack():
        settings, _ = talk()
        assert settings is not None
        assert settings.kafka == ADDRESSES["kafka"]
    settings, _ = talk("--context", "staging")
    assert settings is not None
    assert settings.kafka == "staging:1"


def test_a_mistake_in_such_a_file_is_said(tmp_path: Path) -> None:
    mine = tmp_path / "staging.json"
    mine.write_text(json.dumps({"settings": {**ADDRESSES, "databse": "other"}}))
    settings, said = talk("--context", str(mine))
    assert settings is None
    assert "databse" in said


def test_without_a_stack_everything_that_is_missing_is_named_at_once() -> None:
    settings, said = talk(needed=("kafka", "mongo", "master_key"))
    assert settings is None
    assert {name for name in ("KITH_KAFKA", "KITH_MONGO", "KITH_MASTER_KEY_FILE") if name in said} == {
        "KITH_KAFKA",
        "KITH_MONGO",
        "KITH_MASTER_KEY_FILE",
    }
    assert "kith up" in said
    assert "export" in said


def test_one_that_is_starting_is_not_used_yet() -> None:
    with stack(ready=False):
        for way in ((), ("--context", "up")):
            settings, said = talk(*way)
            assert settings is None
            assert "not ready yet" in said


def test_a_command_that_needs_no_server_runs_beside_any_number_of_stacks() -> None:
    with stack(), stack():
        settings, said = talk(needed=())
    assert settings is not None
    assert said == ""


def test_nothing_of_a_stack_stays_for_the_next_command() -> None:
    with stack():
        talk()
    settings, said = talk()
    assert settings is None
    assert "No stack is running" in said


# Ending one


def test_down_ends_the_holder_and_waits_for_it() -> None:
    with stack() as process:
        done = CliRunner().invoke(app, ["down"])
        assert done.exit_code == 0, done.output
        assert process.wait(PATIENCE_SECONDS) == -signal.SIGTERM
    assert "Stopping the stack up" in done.output
    assert CliRunner().invoke(app, ["down"]).output.startswith("Nothing to stop")


def test_down_touches_no_process_that_has_the_number_by_now(state: Path) -> None:
    with stack() as dead:
        dead.kill()
        dead.wait()
        stranger = subprocess.Popen(["sleep", "600"])
        try:
            left = replace(read(state / "up.json"), pid=stranger.pid)
            down._ask_to_stop(left, stranger.pid)
            down._stop(left)
            assert stranger.poll() is None
        finally:
            stranger.kill()
            stranger.wait()


def test_a_stack_of_another_machine_is_ended_there(state: Path) -> None:
    with stack():
        there = replace(read(state / "up.json"), host="elsewhere")
        with pytest.raises(ConfigurationError, match="elsewhere"):
            down._stop(there)
        assert there.running
    assert socket.gethostname() != "elsewhere"


# Small things


def test_a_lock_is_one_process_s(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    first, second = Lock(path), Lock(path)
    assert not is_held(path)
    assert first.acquire()
    assert is_held(path)
    assert not second.acquire()
    first.release()
    assert not path.exists()
    assert second.acquire()
    second.release()


names = st.text(min_size=1, max_size=20).filter(lambda text: "\x00" not in text and "/" not in text)


@given(names)
def test_a_data_folder_of_any_name_makes_a_context(name: str) -> None:
    path_of(Options(Path("/somewhere") / name).name("up"))


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("127.0.0.1:9092", "127.0.0.1:9092"),
        ("a:1,b:2", "a:1,b:2"),
        ("mongodb://u:p@h:1,g:2/?replicaSet=rs0", "h:1,g:2"),
        ("mongodb+srv://u:p@h/x", "h"),
        ("mongodb://h:1", "h:1"),
    ],
)
def test_an_address_is_shown_without_who_comes(address: str, shown: str) -> None:
    assert place(address) == shown


def test_the_fields_of_a_context_survive_a_file(state: Path) -> None:
    held = Held.take("x", "up", "kith up")
    try:
        said = Context("x", ADDRESSES, {"a": "b"}, "kith up", os.getpid(), "h", "t", True, "/d", "/l", "/k")
        held.write(said)
        assert read(state / "x.json") == replace(said, path=state / "x.json")
    finally:
        held.end()
