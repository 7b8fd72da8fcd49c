"""No object shows its secret in its text: a log line, an assertion or a traceback may contain that."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from services.cli.service_client import ServiceClient
from services.webhooks.management.endpoints import Made
from shared.http.caller import Caller
from shared.local.containers import MongoAddress
from shared.local.contexts import Context
from shared.settings import Settings
from shared.vault.tokens import KEY_BYTES, DataKey

ROOT = Path(__file__).parents[3]
SECRET = "s3cret-value"
#: Fields of data classes that are secrets by their names.
NAMED = re.compile(r"(^|_)(secret|password|passphrase|private|uri)$")

HOLDERS: list[Any] = [
    Settings(
        mongo=f"mongodb://kith:{SECRET}@host/", kafka_password=SECRET, master_key=SECRET, audit_key=SECRET * 4
    ),
    ServiceClient("privacy", "http://127.0.0.1", "admin", SECRET),
    MongoAddress(f"mongodb://kith:{SECRET}@host/"),
    Context("up", {"kafka_password": SECRET}),
    Made({"name": "x"}, SECRET),
    DataKey(SECRET.encode().ljust(KEY_BYTES, b"x")),
    Caller("acme", frozenset(), key="a1b2c3d4"),
]


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: type(holder).__name__)
def test_no_object_shows_its_secret(holder: Any) -> None:
    assert SECRET not in f"{holder!r} {holder!s} { {'x': holder} }"


def test_a_field_that_is_named_a_secret_is_not_in_the_text_of_its_object() -> None:
    shown = []
    for path in [*(ROOT / "shared").rglob("*.py"), *(ROOT / "services").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and (node.decorator_list or node.bases):
                shown += [
                    f"{path.relative_to(ROOT)} {node.name}.{field.target.id}"
                    for field in node.body
                    if isinstance(field, ast.AnnAssign)
                    and isinstance(field.target, ast.Name)
                    and NAMED.search(field.target.id)
                    and "SecretStr" not in ast.unparse(field.annotation)
                    and "repr=False" not in ast.unparse(field)
                ]
    assert shown == []
