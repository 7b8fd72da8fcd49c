"""Requests to processes of this machine: no TLS, no proxy, and as much time as a test has.

httpx's own functions read all authorities that the world trusts anew for each request: 20 ms of a processor, which
a wait that asks twenty times a second would spend while what it waits for is starting.
"""

import ssl
from functools import partial

import httpx

from tests.support.waiting import PATIENCE_SECONDS

_TRUSTS_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

request = partial(httpx.request, verify=_TRUSTS_NOBODY, trust_env=False, timeout=PATIENCE_SECONDS)
