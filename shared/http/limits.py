"""The limits of a process that answers requests, from its settings. ``docs/how-to/limits.md`` lists all."""

from dataclasses import dataclass
from functools import cache
from typing import Any, Self

from shared.contracts.limits import Most
from shared.settings import Settings

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """``bodies`` counts bytes; the seconds are of shared.http.connections."""

    threads: int
    waiting: Most
    heavy_threads: int
    measure_processes: int
    heavy_waiting: Most
    bodies: Most
    publishing: Most
    downloads: Most
    streams: Most
    connections: Most
    address_connections: int
    proxies: tuple[str, ...]
    head_seconds: float
    body_seconds: float
    send_seconds: float

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls._made({name: getattr(settings, name) for name in type(settings).model_fields})

    @classmethod
    @cache
    def usual(cls) -> Self:
        """The limits of a process without settings of its own."""
        return cls._made({name: field.default for name, field in Settings.model_fields.items()})

    @classmethod
    def _made(cls, values: dict[str, Any]) -> Self:
        shared = ("waiting", "heavy_waiting", "publishing", "downloads", "streams", "connections")
        plain = (
            "threads",
            "heavy_threads",
            "measure_processes",
            "address_connections",
            "proxies",
            "head_seconds",
            "body_seconds",
            "send_seconds",
        )
        found: dict[str, Any] = {name: values[name] for name in plain}
        found |= {name: Most.parse(values[name]) for name in shared}
        return cls(**found, bodies=Most(*(part * _MIB for part in Most.parse(values["bodies_mib"]))))
