"""Folders of days that two exports want to write at once."""

from pathlib import Path
from typing import Any

import pytest

from services.exports.partitions import _complete
from shared.contracts.errors import ConfigurationError

DAY = "date=2026-01-01"


@pytest.mark.parametrize("existing", [True, False])
def test_what_an_export_writes_is_not_taken_for_what_a_killed_one_left(tmp_path: Path, existing: bool) -> None:
    folder = tmp_path / "days"
    if existing:
        folder.mkdir()
    with _complete(folder, 0o700) as partial:
        (partial / DAY).mkdir()
        with pytest.raises(ConfigurationError, match="another export writes there"), _complete(folder, 0o700):
            raise AssertionError("not begun")
        assert [path.name for path in partial.iterdir()] == [DAY]
    assert [path.name for path in folder.iterdir()] == [DAY]
    assert [path.name for path in tmp_path.iterdir()] == ["days"]


@pytest.mark.parametrize("existing", [True, False])
def test_what_a_killed_export_left_is_replaced(tmp_path: Path, existing: bool) -> None:
    folder = tmp_path / "days"
    left = folder / ".partial" if existing else tmp_path / "days.partial"
    (left / "date=2025-12-31").mkdir(parents=True)
    with _complete(folder, 0o700) as partial:
        (partial / DAY).mkdir()
    assert [path.name for path in folder.iterdir()] == [DAY]
    assert [path.name for path in tmp_path.iterdir()] == ["days"]


def test_of_two_exports_that_begin_at_once_one_is_refused_and_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one begins after the first has found no partial folder."""
    mkdir = Path.mkdir
    other: list[Any] = []

    def late(self: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        if not other:
            other.append(_complete(tmp_path / "days", 0o700))
            (other[0].__enter__() / DAY).mkdir()
        mkdir(self, mode, parents, exist_ok)

    monkeypatch.setattr(Path, "mkdir", late)
    refused = _complete(tmp_path / "days", 0o700)
    with pytest.raises(ConfigurationError, match="another export writes there"), refused:
        raise AssertionError("not begun")
    other[0].__exit__(None, None, None)
    assert [path.name for path in (tmp_path / "days").iterdir()] == [DAY]
