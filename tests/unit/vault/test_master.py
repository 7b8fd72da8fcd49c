"""Master keys: from a file, from the environment, from a cloud's key service."""

import base64
import os
from pathlib import Path

import pytest

from shared.contracts.errors import ConfigurationError, Unavailable, WrongMasterKey
from shared.settings import Settings
from shared.vault.keys import Vault
from shared.vault.master import CloudKeys, EnvironmentKeys, FileKeys, add_to_file, new_master_key
from shared.vault.memory_store import MemoryKeyStore
from shared.vault.open import master_keys
from shared.vault.protocols import MasterKeys
from shared.vault.tokens import DataKey, Unreadable


class FakeKeyService:
    """What AWS KMS and Google KMS do, in memory: ciphertexts that only they can read, bound to a context."""

    def __init__(self) -> None:
        self.keys = {
            "projects/kith/keys/one": DataKey(os.urandom(32)),
            "projects/kith/keys/two": DataKey(b"2" * 32),
        }
        self.available = True
        self.calls: list[tuple[str, str]] = []

    def encrypt(self, key_id: str, plaintext: bytes, context: bytes) -> bytes:
        self._called("encrypt", key_id)
        return self.keys[key_id].seal(plaintext, context)

    def decrypt(self, key_id: str, ciphertext: bytes, context: bytes) -> bytes:
        self._called("decrypt", key_id)
        return self.keys[key_id].open(ciphertext, context)

    def _called(self, what: str, key_id: str) -> None:
        self.calls.append((what, key_id))
        if not self.available:
            raise TimeoutError("the service does not answer")


def cloud(service: FakeKeyService, *ids: str) -> CloudKeys:
    return CloudKeys(service, ids, passing=lambda error: isinstance(error, TimeoutError))


@pytest.fixture(params=["file", "environment", "cloud"])
def masters(request: pytest.FixtureRequest, tmp_path: Path) -> MasterKeys:
    if request.param == "file":
        add_to_file(tmp_path / "master.key")
        return FileKeys(tmp_path / "master.key")
    if request.param == "environment":
        return EnvironmentKeys(new_master_key())
    return cloud(FakeKeyService(), "projects/kith/keys/one")


def test_what_a_master_key_wraps_it_unwraps_in_its_context_only(masters: MasterKeys) -> None:
    id = masters.current
    wrapped = masters.wrap(id, b"s" * 32, b"here")
    assert wrapped != b"s" * 32
    assert masters.unwrap(id, wrapped, b"here") == b"s" * 32
    assert list(masters.known()) == [id]
    with pytest.raises(Unreadable):
        masters.unwrap(id, wrapped, b"there")
    with pytest.raises(Unreadable):
        masters.unwrap(id, wrapped[:-1] + bytes([wrapped[-1] ^ 1]), b"here")


def test_a_vault_works_with_any_of_them(masters: MasterKeys) -> None:
    store = MemoryKeyStore()
    key = Vault(store, masters).keys("t", ["a"])["a"]
    again = Vault(store, masters).keys("t", ["a"])["a"]
    assert isinstance(key, DataKey)
    assert isinstance(again, DataKey)
    assert key.secret == again.secret
    assert key.secret not in b"".join(each.wrapped for each in store.wrapping.values())


def test_a_new_key_in_the_file_is_the_current_one_and_needs_no_restart(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "master.key"
    first = add_to_file(path)
    keys = FileKeys(path)
    wrapped = keys.wrap(first, b"s" * 32, b"")
    second = add_to_file(path)
    assert keys.current == second != first
    assert list(keys.known()) == [second, first]
    assert keys.unwrap(first, wrapped, b"") == b"s" * 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["master.key"]


def test_a_master_key_that_is_not_here_can_still_come(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    add_to_file(path)
    with pytest.raises(WrongMasterKey, match=r"local:0000.*waiting does not help"):
        FileKeys(path).unwrap("local:0000", b"x" * 60, b"")


def test_a_file_that_everybody_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    add_to_file(path)
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="every user can read the master key"):
        FileKeys(path)
    path.chmod(0o640)
    assert FileKeys(path).current


@pytest.mark.parametrize("content", ["", "# nothing\n", "secret\n", "c2hvcnQ=\n", "é\n"])
def test_what_is_no_key_is_refused_without_being_quoted(tmp_path: Path, content: str) -> None:
    path = tmp_path / "master.key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="master key") as refused:
        FileKeys(path)
    assert "secret" not in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        FileKeys(tmp_path / "none")


def test_the_environment_may_hold_several_and_either_base64() -> None:
    one, two = os.urandom(32), b"\xff" * 32
    keys = EnvironmentKeys(f"{base64.b64encode(two).decode()}, {base64.urlsafe_b64encode(one).decode()}")
    assert len(keys.known()) == 2
    assert keys.current == EnvironmentKeys(base64.urlsafe_b64encode(two).decode()).current


def test_a_key_service_is_asked_with_the_name_that_wrapped() -> None:
    service = FakeKeyService()
    before = cloud(service, "projects/kith/keys/one")
    wrapped = before.wrap(before.current, b"s" * 32, b"c")
    after = cloud(service, "projects/kith/keys/two")
    assert after.unwrap("projects/kith/keys/one", wrapped, b"c") == b"s" * 32
    assert service.calls == [("encrypt", "projects/kith/keys/one"), ("decrypt", "projects/kith/keys/one")]


def test_a_key_service_that_is_away_is_unavailable_and_its_other_errors_are_its_own() -> None:
    service = FakeKeyService()
    keys = cloud(service, "projects/kith/keys/one")
    with pytest.raises(KeyError):
        keys.wrap("projects/kith/keys/none", b"s" * 32, b"")
    service.available = False
    with pytest.raises(Unavailable, match="TimeoutError"):
        keys.wrap(keys.current, b"s" * 32, b"")
    with pytest.raises(ConfigurationError, match="name of at least one key"):
        CloudKeys(service, [])


def test_a_service_is_asked_once_and_not_for_every_consumer() -> None:
    service = FakeKeyService()
    vault = Vault(MemoryKeyStore(), cloud(service, "projects/kith/keys/one"))
    vault.keys("t", [f"c{n}" for n in range(1_000)])
    vault.keys("t", [f"d{n}" for n in range(1_000)])
    assert len(service.calls) == 2


def test_without_a_key_nothing_starts_unless_it_is_spelled_out(tmp_path: Path) -> None:
    bare = {"master_key": None, "master_key_file": None}
    with pytest.raises(ConfigurationError, match=r"KITH_MASTER_KEY_FILE .* or KITH_MASTER_KEY"):
        master_keys(Settings(encryption="on", **bare))
    assert master_keys(Settings(encryption="off", **bare)) is None
    path = tmp_path / "master.key"
    id = add_to_file(path)
    found = master_keys(Settings(encryption="on", master_key=None, master_key_file=str(path)))
    assert found is not None
    assert found.current == id
    both = Settings(encryption="on", master_key=new_master_key(), master_key_file=str(path))
    with pytest.raises(ConfigurationError, match="one is enough"):
        master_keys(both)
