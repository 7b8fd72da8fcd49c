"""Runs a service with faults in it: ``python -m tests.fault.process services.relations``.

``KITH_FAULT`` says what goes wrong and where (``points.py``), ``KITH_SABOTAGE`` which protections are off
(``sabotage.py``), ``KITH_UPCAST=1`` teaches it the version 0 of relation.recorded, whose money is called "price".
"""

import os
import runpy
import sys
from typing import Any

from tests.fault import points, sabotage


def main() -> None:
    _, module = sys.argv
    if names := os.environ.get("KITH_SABOTAGE"):
        sabotage.install(names)
    if faults := os.environ.get("KITH_FAULT"):
        points.install(faults)
    if os.environ.get("KITH_UPCAST"):
        _teach_version_0()
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _teach_version_0() -> None:
    from shared.contracts import codec

    codec.UPCASTERS["relation.recorded", 0] = _from_0  # type: ignore[index]


def _from_0(fields: dict[str, Any]) -> dict[str, Any]:
    data = dict(fields["data"])
    if "price" in data:
        data["amount"] = data.pop("price")
    return {**fields, "data": data, "dataversion": 1}


if __name__ == "__main__":
    main()
