"""The most of something at a time: of one credential, of one tenant, and of a whole process. Pure."""

from typing import NamedTuple, Self

LARGEST = 10**9
#: The largest body of any route of any service, after decompression. A constant, because producers depend on it.
MAX_BODY_BYTES = 1024 * 1024


class Most(NamedTuple):
    """Written ``credential/tenant/process``, as in ``2/4/8``."""

    credential: int
    tenant: int
    process: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError unless they are three whole numbers from 1, none larger than the next."""
        parts = [part.strip() for part in text.split("/")]
        if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 11 for part in parts):
            raise ValueError("is not credential/tenant/process, three whole numbers such as 2/4/8")
        credential, tenant, process = (int(part) for part in parts)
        if not 1 <= credential <= tenant <= process <= LARGEST:
            raise ValueError(f"must ascend: 1 ≤ credential ≤ tenant ≤ process ≤ {LARGEST:,}")
        return cls(credential, tenant, process)

    def __str__(self) -> str:
        return f"{self.credential}/{self.tenant}/{self.process}"


class Owner(NamedTuple):
    """The one whom something counts for. Where nobody shows a credential (``bounded`` false, KITH_ACCESS=open)
    there are no tenants to protect from each other, and only the process is bounded."""

    tenant: str
    key: str
    bounded: bool = True


def of_address(host: str) -> Owner:
    """The owner of what has shown no credential: its address."""
    return Owner("", f"address {host}")
