"""Pages for browsers: static files of a package, beside those that all pages share, under one path."""

from collections.abc import Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from fastapi import FastAPI, HTTPException, Request

from shared.http.scopes import any_parameter, public
from shared.http.static_files import File, answer, file

#: What a browser may do with a page: what its own files do, and ask the APIs at ``{origins}``.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'{origins}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def load(package: str) -> dict[str, File]:
    """The files in the folder ``static`` of a package, and the shared ones, by path, such as
    ``charts/series.js``."""
    shared, own = files("shared.http") / "page", files(package) / "static"
    return {name: file(name, part.read_bytes()) for name, part in (*_walk(shared, ""), *_walk(own, ""))}


def add_files(app: FastAPI, path: str, loaded: dict[str, File], apis: Iterable[str]) -> None:
    """Serve the files below ``path``, such as ``/dashboard``. ``apis`` are the URLs of other APIs that their
    scripts ask. The page holds no data; what it asks for, it asks for with the reader's credential."""
    policy = _POLICY.format(origins="".join(f" {_origin(url)}" for url in dict.fromkeys(apis)))

    @app.get(f"{path}/{{path:path}}", include_in_schema=False)
    # A page keeps its state in its own address, and reads it there.
    @public
    @any_parameter
    async def page(path: str, request: Request) -> Any:
        if (found := loaded.get(path or "index.html")) is None:
            raise HTTPException(404)
        return answer(found, request, {"Content-Security-Policy": policy})


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, Traversable]]:
    found: list[tuple[str, Traversable]] = []
    for part in folder.iterdir():
        found += _walk(part, f"{prefix}{part.name}/") if part.is_dir() else [(prefix + part.name, part)]
    return found


def _origin(url: str) -> str:
    return "/".join(url.split("/")[:3])
