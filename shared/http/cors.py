"""Allows pages of other origins to call an API from a browser."""

from collections.abc import Sequence

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

_PREFLIGHT_SECONDS = 600
#: For APIs whose pages only read.
READING = ("GET",)


def allow_origins(app: FastAPI, origins: Sequence[str], methods: Sequence[str] = READING) -> None:
    """Let pages of these origins (``http://127.0.0.1:8703``) use these methods. They send the reader's credential
    in a header. Cookies are not used, so a page that is not listed cannot act in a reader's name."""
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=[origin.rstrip("/") for origin in origins],
            allow_methods=methods,
            allow_headers=["Authorization", "Content-Type", "Kith-Tenant"],
            expose_headers=["Retry-After", "RateLimit-Limit", "RateLimit-Remaining"],
            max_age=_PREFLIGHT_SECONDS,
        )
