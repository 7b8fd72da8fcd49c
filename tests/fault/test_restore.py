"""The drill: a backup is taken under load, MongoDB loses everything later, and is restored."""

from pathlib import Path

import pytest

from services.backup.dump import backup
from services.backup.restore import restore
from tests.fault.load import market_items
from tests.fault.system import System
from tests.fault.test_end import end

SEED = 141


@pytest.mark.fast
def test_a_backup_is_restored_and_the_services_go_on(system: System, tmp_path: Path) -> None:
    """What was stored after the backup is replayed from the log: every document and every sum is exact, and who
    was erased after the backup stays erased. Downstream readers get each change once."""
    system.start_all()
    system.load(market_items(800, SEED), rate=400)
    system.wait_stored(300, since=0)
    folder = tmp_path / "backup"
    manifest = backup(system.settings, folder, "all", print)
    assert manifest.collections["relations"].documents > 100
    system.load(market_items(600, SEED + 1), rate=400)
    system.wait_drained()
    end(system, list(system.workers))
    erased = system.database.erased.count_documents({})
    # A database that goes back is no fault now.
    system.watch.end()
    system.client.drop_database(system.settings.database)
    done = restore(system.settings, folder, None, False, print)
    assert (done.lost_keys, done.lost_entries) == ([], 0)
    assert system.database.erased.count_documents({}) < erased, "the backup is from before some erasures"
    system.start_all()
    system.load(market_items(300, SEED + 2), rate=400)
    system.verify()
