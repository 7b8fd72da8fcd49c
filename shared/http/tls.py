"""TLS for the services' APIs, with client certificates where an authority for them is configured."""

import ssl
from dataclasses import dataclass
from typing import Any

from shared.contracts.errors import ConfigurationError
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files: certificate (with the chain), private key, and the authority that signs client certificates."""

    cert_file: str
    key_file: str
    client_ca_file: str | None = None

    def arguments(self) -> dict[str, Any]:
        """The arguments for uvicorn. It accepts TLS 1.2 and newer."""
        wanted = ssl.CERT_NONE if self.client_ca_file is None else ssl.CERT_REQUIRED
        return {
            "ssl_certfile": self.cert_file,
            "ssl_keyfile": self.key_file,
            "ssl_ca_certs": self.client_ca_file,
            "ssl_cert_reqs": wanted,
        }

    def check(self) -> None:
        """Raise ConfigurationError when the files cannot be used."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.cert_file, self.key_file)
            if self.client_ca_file is not None:
                context.load_verify_locations(self.client_ca_file)
        except OSError as error:  # an ssl.SSLError is one
            raise ConfigurationError(f"KITH_TLS_*: the certificate cannot be used: {error}") from error


def tls_of(settings: Settings) -> Tls | None:
    """None without a certificate. Raises ConfigurationError when only one of the two files is set."""
    cert, key, client_ca = settings.tls_cert_file, settings.tls_key_file, settings.tls_client_ca_file
    if cert is None and key is None and client_ca is None:
        return None
    if cert is None or key is None:
        raise ConfigurationError("KITH_TLS_CERT_FILE and KITH_TLS_KEY_FILE belong together; one is not set")
    tls = Tls(cert, key, client_ca)
    tls.check()
    return tls
