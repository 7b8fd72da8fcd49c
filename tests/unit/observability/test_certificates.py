"""When the certificates end that the settings name."""

import logging
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from shared.observability.certificates import certificate_files, certificate_metric
from shared.settings import Settings
from tests.support.certificates import Authority

DAY = 86_400


def ends(**settings: Any) -> dict[str, int]:
    """Whole days until the end, by the setting."""
    registry = CollectorRegistry()
    certificate_metric(registry, "relations", Settings(**settings))
    [family] = registry.collect()
    assert all(sample.labels["service"] == "relations" for sample in family.samples)
    return {each.labels["setting"]: round((each.value - time.time()) / DAY) for each in family.samples}


@pytest.fixture
def files(tmp_path: Path) -> dict[int, Path]:
    """Certificates of services, by the days until their end."""
    return {days: Authority(tmp_path, f"a{days}", days).issue(f"c{days}").cert for days in (3, 20, 90)}


def test_every_file_that_a_setting_names_is_watched(files: dict[int, Path]) -> None:
    found = ends(
        tls_cert_file=str(files[3]),
        tls_client_ca_file=str(files[20]),
        kafka_ca_file=str(files[90]),
        kafka_cert_file=str(files[3]),
        mongo=f"mongodb://u:p@a,b/?tls=true&tlsCAFile={files[20]}&TLSCERTIFICATEKEYFILE={files[3]}",
        cassandra=f"cassandra://u:p@a/kith?ca={files[90]}",
        postgres=f"postgresql://u:p@a/kith?sslrootcert={files[20]}&sslcert={files[3]}",
        amqp=f"amqps://u:p@a/?cafile={files[20]}&certfile={files[90]}",
    )
    assert found == {
        "KITH_TLS_CERT_FILE": 3,
        "KITH_TLS_CLIENT_CA_FILE": 20,
        "KITH_KAFKA_CA_FILE": 90,
        "KITH_KAFKA_CERT_FILE": 3,
        "KITH_MONGO tlsCAFile": 20,
        "KITH_MONGO TLSCERTIFICATEKEYFILE": 3,
        "KITH_CASSANDRA ca": 90,
        "KITH_POSTGRES sslrootcert": 20,
        "KITH_POSTGRES sslcert": 3,
        "KITH_AMQP cafile": 20,
        "KITH_AMQP certfile": 90,
    }


def test_no_file_of_a_certificate_among_the_settings_is_forgotten() -> None:
    names = {name for name in Settings.model_fields if name.endswith(("cert_file", "ca_file"))}
    stated: dict[str, Any] = dict.fromkeys(names, "x.pem")
    found = {file.setting.removeprefix("KITH_").lower() for file in certificate_files(Settings(**stated))}
    assert found == names


def test_of_a_chain_the_first_end_counts_and_of_authorities_the_last(
    files: dict[int, Path], tmp_path: Path
) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(files[90].read_bytes() + files[20].read_bytes())
    assert ends(tls_cert_file=str(both), kafka_ca_file=str(both)) == {
        "KITH_TLS_CERT_FILE": 20,
        "KITH_KAFKA_CA_FILE": 90,
    }


def test_what_cannot_be_read_is_in_the_log_and_stops_nothing(
    tmp_path: Path, files: dict[int, Path], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "bad.pem").write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
    der = ssl.PEM_cert_to_DER_cert(files[20].read_text())
    odd = der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x01", 1)
    (tmp_path / "odd.pem").write_text(ssl.DER_cert_to_PEM_cert(odd))
    with caplog.at_level(logging.WARNING):
        found = ends(
            tls_cert_file=str(tmp_path / "bad.pem"),
            kafka_ca_file=str(tmp_path / "none.pem"),
            kafka_cert_file=str(files[3]),
            tls_client_ca_file=str(tmp_path / "odd.pem"),
            postgres="postgresql://a/kith?sslrootcert=system",
            mongo="mongodb://[a/?tlsCAFile=x",
        )
    assert found == {"KITH_KAFKA_CERT_FILE": 3}
    assert sorted(record.setting for record in caplog.records) == [  # type: ignore[attr-defined]
        "KITH_KAFKA_CA_FILE",
        "KITH_TLS_CERT_FILE",
        "KITH_TLS_CLIENT_CA_FILE",
    ]
