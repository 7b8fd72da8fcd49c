"""When the certificates end that the settings name: the services' own, and those of connections to servers."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from cryptography.x509 import InvalidVersion, load_pem_x509_certificates
from prometheus_client import CollectorRegistry, Gauge

from shared.settings import Settings

#: Settings that are files, and whether they hold authorities.
_FILES: Mapping[str, bool] = {
    "tls_cert_file": False,
    "tls_client_ca_file": True,
    "kafka_ca_file": True,
    "kafka_cert_file": False,
}
#: Settings that are addresses.
_ADDRESSES = ("mongo", "cassandra", "postgres", "amqp")
#: Options of these that name files, in lower case (MongoDB's are compared so), and whether they hold authorities.
_OPTIONS: Mapping[str, bool] = {
    "tlscafile": True,
    "tlscertificatekeyfile": False,
    "ca": True,
    "sslrootcert": True,
    "sslcert": False,
    "cafile": True,
    "certfile": False,
}

_log = logging.getLogger(__name__)


class CertificateFile(NamedTuple):
    """A PEM file, and the setting that names it, with the option of an address: ``KITH_MONGO tlsCAFile``."""

    setting: str
    path: str
    authorities: bool


def certificate_files(settings: Settings) -> Iterator[CertificateFile]:
    """The files that the settings name."""
    for name, authorities in _FILES.items():
        if path := getattr(settings, name):
            yield CertificateFile(f"KITH_{name.upper()}", path, authorities)
    for name in _ADDRESSES:
        stated = getattr(settings, name)
        address: str = stated.get_secret_value() if hasattr(stated, "get_secret_value") else stated or ""
        try:
            options = parse_qs(urlsplit(address).query)
        except ValueError:
            continue  # whoever connects says what is wrong with it
        for option, values in options.items():
            found = _OPTIONS.get(option.lower())
            if found is not None and values[-1] != "system":  # Postgres' name for the machine's authorities
                yield CertificateFile(f"KITH_{name.upper()} {option}", values[-1], found)


def end_of(file: CertificateFile) -> float | None:
    """When what is in the file is of no use any more, in seconds since 1970: of a chain the first end, of
    authorities, which may follow one another, the last one. None for a file that cannot be read."""
    try:
        ends = [each.not_valid_after_utc for each in load_pem_x509_certificates(Path(file.path).read_bytes())]
    except (OSError, ValueError, InvalidVersion) as error:
        _log.warning(
            "a certificate cannot be read", extra={"setting": file.setting, "reason": type(error).__name__}
        )
        return None
    return (max if file.authorities else min)(ends).timestamp()


def certificate_metric(registry: CollectorRegistry, service: str, settings: Settings) -> None:
    """``kith_certificate_end_seconds``. As connections and servers do, it reads the files at the start: until a
    process is started again, a renewed file is of no use to it."""
    gauge = Gauge(
        "kith_certificate_end_seconds",
        "When a certificate ends (notAfter, in seconds since 1970) that the setting names, as the process has "
        "read it at its start.",
        ["service", "setting"],
        registry=registry,
    )
    for file in certificate_files(settings):
        if (end := end_of(file)) is not None:
            gauge.labels(service, file.setting).set(end)
