"""`kith up` before anything is started: ports, the data folder, and how it introduces itself."""

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from services.cli import __main__ as command
from services.cli import outside, up, up_command
from services.cli.data_lock import holding
from services.cli.detach import reason_of, told
from services.cli.log_view import follow, last_lines
from services.cli.up import Stack
from services.cli.up_run import announce
from shared.contracts.errors import ConfigurationError
from shared.contracts.services import CORE, SERVICES
from shared.local.ports import holder_of, require_free
from shared.local.processes import Process, is_free
from shared.settings import Settings

#: The ports of a stack: of the services, then of Kafka (two) and MongoDB.
PORTS = len(CORE) + 3


@pytest.fixture
def busy() -> Iterator[int]:
    """A port on which this process listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("KITH_") and name.endswith("PORT")]:
        monkeypatch.delenv(name)


def consecutive_free() -> int:
    """Where the servers of other tests are not: shared/local/processes.py chooses from 20,000 on."""
    return next(base for base in range(12_000, 19_000) if all(map(is_free, range(base, base + PORTS))))


def ports_of(settings: Settings, base: int | None = None) -> tuple[dict[str, int], list[str]]:
    said: list[str] = []
    return Stack(settings, port_base=base, say=said.append)._ports(), said


def test_a_base_gives_consecutive_ports() -> None:
    base = consecutive_free()
    ports, said = ports_of(Settings(), base)
    assert ports == {service: base + index for index, service in enumerate(CORE)}
    assert said == []


@pytest.mark.parametrize("nth", range(PORTS))
def test_a_base_of_which_one_port_is_taken_is_refused_with_what_holds_it(nth: int) -> None:
    base = consecutive_free()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", base + nth))
        taken.listen()
        with pytest.raises(ConfigurationError, match=f"{base + nth} for .* is taken by this process"):
            ports_of(Settings(), base)


def test_servers_that_are_given_take_no_port_of_the_base() -> None:
    base = consecutive_free()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", base + len(CORE)))
        taken.listen()
        ports_of(Settings(kafka="elsewhere:1", mongo="mongodb://elsewhere"), base)


def test_a_default_port_that_is_taken_is_replaced_and_that_is_said(
    busy: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(Settings()).model_fields["privacy_port"], "default", busy)
    Settings.model_rebuild(force=True)
    try:
        others = {f"{service}_port": 0 for service in CORE if service != "privacy"}
        ports, said = ports_of(Settings.model_validate(others))
    finally:
        monkeypatch.undo()
        Settings.model_rebuild(force=True)
    assert ports["privacy"] != busy
    [line] = said
    assert f"Port {busy} is taken by this process: privacy listens on {ports['privacy']} instead." == line


def test_a_port_that_a_setting_asks_for_is_not_replaced(busy: int) -> None:
    any_other = {f"{service}_port": 0 for service in CORE}
    with pytest.raises(ConfigurationError, match=f"{busy} for exports"):
        ports_of(Settings.model_validate({**any_other, "exports_port": busy}))


def test_all_that_are_taken_are_named_at_once(busy: int) -> None:
    with socket.socket() as second:
        second.bind(("127.0.0.1", 0))
        second.listen()
        with pytest.raises(ConfigurationError) as refused:
            require_free({"one": busy, "two": second.getsockname()[1], "any": 0})
    assert str(refused.value).count("is taken by") == 2


def test_another_process_is_named_without_its_arguments() -> None:
    script = "import socket,sys; s=socket.socket(); s.bind(('127.0.0.1',0)); s.listen(); "
    script += "print(s.getsockname()[1], flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script, "--password=geheim"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        said = holder_of(int(child.stdout.readline()))
        child.communicate("")
    assert str(child.pid) in said
    assert "python" in said
    assert "geheim" not in said


# The data folder


def test_a_second_stack_on_a_folder_is_told_who_holds_it(tmp_path: Path) -> None:
    addresses = {"ingest": "http://127.0.0.1:1", "mongo": "mongodb://ann:secret@h/"}
    with holding(tmp_path) as holder:
        holder.say(addresses)
        with pytest.raises(ConfigurationError) as refused, holding(tmp_path):
            pass
        said = str(refused.value)
        for part in (str(os.getpid()), "since 20", "http://127.0.0.1:1", str(tmp_path), "--data"):
            assert part in said
        assert "secret" not in said
    with holding(tmp_path):
        pass


def test_a_folder_of_a_killed_process_is_free(tmp_path: Path) -> None:
    script = "import os, sys; from pathlib import Path; from services.cli.data_lock import holding\n"
    script += "with holding(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert done.returncode == -9
    assert (tmp_path / "kith.lock").exists()
    with holding(tmp_path):
        pass


@pytest.mark.parametrize("detach", [(), ("-d",)])
def test_what_goes_wrong_at_the_start_is_said_and_the_status_is_not_0(
    detach: tuple[str, ...], busy: int, tmp_path: Path
) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("kith"), "up", *detach, "--data", str(tmp_path), "--json"],
        env={**os.environ, "KITH_INGEST_PORT": str(busy)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{busy} for ingest is taken by" in done.stderr
    assert "name another base by --port-base" in done.stderr
    assert done.stderr.startswith("kith: ")
    assert not (tmp_path / "mongo").exists(), "nothing was started"


def test_a_detached_start_shows_what_it_waits_for_and_the_reason_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "up.log"
    log.write_text("Waiting for Kafka …\nWaiting for the ")
    shown = told(log, 0)
    assert capsys.readouterr().err == "Waiting for Kafka …\n", "a line that is still being written waits"
    with log.open("a") as file:
        file.write("services …\nkith: apps ended with status 1. Its log:\n    no room\n")
    shown = told(log, shown)
    assert capsys.readouterr().err == "Waiting for the services …\n"
    assert told(log, shown) == shown
    assert reason_of(log, 1, shown) == "apps ended with status 1. Its log:\n    no room"


@pytest.mark.parametrize("refusal", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_what_the_machine_refuses_to_write_is_one_line_with_a_way_out(
    refusal: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise OSError(refusal, os.strerror(refusal), "shop/api-key")

    monkeypatch.setattr(command, "app", refuse)
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"kith: shop/api-key: {os.strerror(refusal)}; ")


def test_an_introduction_shows_no_password(capsys: pytest.CaptureFixture[str]) -> None:
    announce({"analytics": "http://a", "mongo": "mongodb://ann:secret@h:1/"}, "kith_x", "shop", "Ctrl-C stops it.")
    said = capsys.readouterr().out
    assert "secret" not in said
    assert {"shop", "kith_x"} <= set(said.replace("=", " ").replace(".", " ").split())


@pytest.mark.parametrize(
    ("found", "here", "said"),
    [
        ("/usr/bin/kith", "", None),
        (None, "", "call it .venv/bin/kith."),
        (None, "elsewhere", "call it {folder}/.venv/bin/kith."),
        (None, "none", None),
    ],
)
def test_an_introduction_says_how_to_call_what_is_not_on_the_path(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    found: str | None,
    here: str,
    said: str | None,
) -> None:
    (tmp_path / here / "x").mkdir(parents=True)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    if here != "none":
        (tmp_path / ".venv" / "bin" / "kith").touch()
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv" / "bin" / "python"))
    monkeypatch.setattr(shutil, "which", lambda _: found)
    monkeypatch.chdir(tmp_path / here)
    announce({"analytics": "http://a"}, "kith_x", "up", "Ctrl-C stops it.")
    out = capsys.readouterr().out
    assert ("not on the PATH" in out) == (said is not None)
    assert said is None or said.format(folder=tmp_path) in out


# Logs


@pytest.mark.parametrize("lines", [0, 1, 3, 100_000])
def test_the_last_lines_of_a_log(lines: int, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    log = tmp_path / "a.log"
    text = [b"%d %s\n" % (n, b"x" * (n % 97)) for n in range(5_000)] + [b"not ended yet"]
    log.write_bytes(b"".join(text))
    assert last_lines(log, lines) == log.stat().st_size
    assert capfdbinary.readouterr().out == b"".join(text[-lines:] if lines else [])


def test_a_log_is_followed_until_its_stack_ends_also_when_it_is_begun_anew(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    log = tmp_path / "a.log"
    log.write_bytes(b"a long beginning\n")
    contents = iter([b"a long beginning\nmore\n", b"anew\n"])

    def alive() -> bool:
        content = next(contents, None)
        if content is not None:
            log.write_bytes(content)
        return content is not None

    follow(log, log.stat().st_size, alive)
    out, errors = capfdbinary.readouterr()
    assert out == b"more\nanew\n"
    assert b"ended" in errors


def test_the_holder_says_nothing_that_is_no_json(tmp_path: Path) -> None:
    with holding(tmp_path) as holder:
        holder.say({"a": "b" * 5_000})
        holder.say({"a": "b"})
        assert json.loads((tmp_path / "kith.lock").read_text())["addresses"] == {"a": "b"}


class Outside:
    """A server that runs elsewhere."""

    processes: tuple[Process, ...] = ()
    address = "outside://here"


def test_a_connector_is_chosen_by_its_option_and_gets_a_server_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[str] = []

    @contextmanager
    def server(name: str, *_: Path) -> Iterator[Outside]:
        started.append(name)
        yield Outside()

    # A stand-in: the table's own need servers that this machine may not have.
    spec = replace(SERVICES["webhooks"], name="webhooks", needs="kafka")
    monkeypatch.setattr(up, "CONNECTORS", {"webhooks": spec})
    monkeypatch.setattr(up, "CORE", {name: each for name, each in SERVICES.items() if name != "webhooks"})
    monkeypatch.setattr(outside, "server", server)
    assert "webhooks" not in Stack(Settings())._ports()
    stack = Stack(Settings(), connectors={"webhooks"})
    assert list(stack._ports())[-1] == "webhooks"
    with ExitStack() as undo:
        stack._start_outside(undo, tmp_path)
    assert started == ["webhooks"]
    assert stack.settings.kafka == stack.addresses["kafka"] == Outside.address
    given = Stack(Settings(kafka="elsewhere:1"), connectors={"webhooks"})
    given._start_outside(ExitStack(), tmp_path)
    assert started == ["webhooks"]
    assert given.addresses["kafka"] == "elsewhere:1"


def test_each_connector_of_the_table_has_an_option_of_kith_up() -> None:
    def command(connectors: frozenset[str] = frozenset(), *, json: bool = False) -> None:
        found.append((connectors, json))

    found: list[tuple[frozenset[str], bool]] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(up_command, "CONNECTORS", {"rabbit": replace(SERVICES["webhooks"], needs="amqp")})
        app = typer.Typer()
        app.command()(up_command.with_connectors(command))
    assert CliRunner().invoke(app, ["--rabbit", "--json"]).exit_code == 0
    assert CliRunner().invoke(app, []).exit_code == 0
    assert found == [(frozenset({"rabbit"}), True), (frozenset(), False)]
