"""The routes of the feed."""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

import orjson
from fastapi import FastAPI, Request, Response

from services.exports.column_access import masked, revealed_by_rows, scope_of, split
from services.exports.columns import Column, Dataset
from services.exports.odata import answers
from services.exports.odata.answers import Resource, Style
from services.exports.odata.errors import ODataError, bad, hidden_property
from services.exports.odata.expressions import not_ascii
from services.exports.odata.filters import parse
from services.exports.odata.metadata import SETS, metadata, service_document
from services.exports.odata.mongo import Translator
from services.exports.odata.options import (
    Options,
    check_options,
    check_without_effect,
    options_of,
    purpose_of,
)
from services.exports.odata.reader import Reader
from services.exports.purposes import decision_of
from services.exports.snapshot import MomentPassed, NotConvertible
from services.exports.source import Exports
from shared.access.guard import CallerOf, TenantOf, cursors_in
from shared.access.lineage import reveals
from shared.access.query import misplaced
from shared.contracts.errors import TooSlow, Unavailable, WrongMasterKey
from shared.http.caller import CONSUMERS_READ, Caller
from shared.http.costs import Cost, costs
from shared.http.cursors import Cursors
from shared.http.scopes import any_parameter, needs, public
from shared.http.server import TOO_SLOW

ROOT = "/odata/v1"
_PAGE_SIZE = re.compile(r"(?:odata\.)?maxpagesize\s*=\s*\"?(\d{1,9})\"?", re.ASCII | re.IGNORECASE)


#: Options that shape the list of a set.
_SHAPING = ("$filter", "$orderby", "purpose")

_FAILURES: dict[int | str, dict[str, Any]] = {
    400: {"description": "The request is invalid. The OData error contains the place."},
    406: {"description": "The feed answers in JSON only."},
    501: {"description": "The request is valid OData, but is not supported here."},
}


def _cost(path: dict[str, Any]) -> Cost:
    # ``Relations('x')`` is one entity.
    return Cost.DOCUMENT if str(path.get("path", "")).startswith("(") else Cost.QUERY


def add_odata(app: FastAPI, exports: Exports, public_url: str | None = None) -> None:
    """Add the feed below ``/odata/v1/``: the service document and ``$metadata``, which are the same for every
    caller, and the entity sets. Links begin with ``public_url``, and are relative without it."""

    def answered(request: Request, path: str, set: str | None, caller: Caller | None) -> Response:
        try:
            _check_version(request)
            return _Feed(exports, request, set, caller, public_url).answer(path)
        except ODataError as error:
            return _refused(error)
        except NotConvertible:
            return _refused(not_ascii())
        except MomentPassed as passed:
            return _refused(ODataError(410, "MomentPassed", str(passed)))
        except TooSlow:
            return _refused(ODataError(503, "QueryTooSlow", TOO_SLOW), {"Retry-After": "30"})
        except WrongMasterKey as error:
            return _refused(ODataError(503, "WrongMasterKey", str(error)))
        except Unavailable:
            away = ODataError(503, "Unavailable", "MongoDB is unavailable; retry later")
            return _refused(away, {"Retry-After": "5"})

    # Longer names first: a name may be the prefix of another.
    for name in sorted(SETS, key=len, reverse=True):
        # $metadata describes them, in OData's own words.
        @app.get(f"{ROOT}/{name}{{path:path}}", include_in_schema=False)
        @needs(scope_of(SETS[name]), masks_itself=True, purpose=decision_of(SETS[name]))
        @costs(_cost)
        @any_parameter
        def entities(request: Request, caller: CallerOf, _: TenantOf, path: str) -> Response:
            # The route of the set has decided on the access.
            set = request.scope["route"].path.removeprefix(f"{ROOT}/").partition("{")[0]
            return answered(request, set + path, set, caller)

    @public
    @any_parameter
    def others(request: Request) -> Response:
        """The service document: the list of entity sets. `$metadata` below it describes them."""
        return answered(request, request.path_params.get("path", ""), None, None)

    for path in (ROOT, f"{ROOT}/", f"{ROOT}/{{path:path}}"):
        app.get(
            path,
            tags=["odata"],
            include_in_schema=path == f"{ROOT}/",
            summary="The OData feed.",
            responses=_FAILURES,
        )(others)


class _Feed:
    """One request."""

    def __init__(
        self, exports: Exports, request: Request, set: str | None, caller: Caller | None, public_url: str | None
    ) -> None:
        self._exports = exports
        self._set = set
        self._tenant = caller.tenant if caller else ""
        self._masks = caller.masks if caller else ()
        self._request = request
        self._prefer = request.headers.get("prefer", "")
        self._accept = request.headers.get("accept")
        self._base = _base(request, public_url)
        pairs = parse_qsl(request.url.query, keep_blank_values=True)
        self._given = dict(pairs)
        if faults := misplaced((name for name, _ in pairs), list(self._given)):
            name, fault = next(iter(faults.items()))
            raise ODataError(422, "RepeatedOption", f"{name}: {fault}", name)
        # The purpose that a credential is bound to is not the caller's choice.
        if "purpose" in self._given and (caller is None or caller.purpose is None):
            if reveals(self._masks, ("consent",)):
                raise hidden_property("consent", "purpose")
            if caller is not None and not caller.may(CONSUMERS_READ):
                detail = f"purpose needs the scope {CONSUMERS_READ}, which the credential lacks"
                raise ODataError(403, "Forbidden", detail, "purpose")

    def answer(self, path: str) -> Response:
        if path == "$metadata":
            check_options(self._given, "$metadata")
            if self._given.get("$format", "xml").lower() not in ("xml", "application/xml"):
                raise ODataError(406, "NotAcceptable", "$metadata is XML: $format=xml", "$format")
            return _response(metadata(), "application/xml")
        if not path:
            check_options(self._given, "the service document")
            return _json(service_document(self._base), self._style())
        resource = answers.resource_of(path)
        if resource.set != self._set:
            raise ODataError(404, "NotFound", f"there is no {path}")
        check_options(self._given, answers.asked_for(resource))
        if resource.count:
            return self._count(resource)
        # A raw value is text, whatever form of JSON a client would accept.
        style = Style() if resource.raw else self._style()
        return self._entities(resource, style) if resource.key is None else self._entity(resource, style)

    def _style(self) -> Style:
        return answers.style_of(self._accept, self._given.get("$format"))

    def _columns(self, dataset: Dataset) -> tuple[Sequence[Column], Translator]:
        columns, hidden = split(dataset, False, self._masks)
        if field := revealed_by_rows(dataset, self._masks):
            raise hidden_property(field, dataset.entity_set)
        if "id" in hidden:
            # Links and tokens contain the id, too.
            raise ODataError(403, "Forbidden", "the id is hidden from this credential; export a file instead")
        return columns, Translator(dataset, columns, self._tenant, hidden)

    def _entities(self, resource: Resource, style: Style) -> Response:
        dataset = masked(SETS[resource.set], self._masks)
        columns, translator = self._columns(dataset)
        preferred = _PAGE_SIZE.search(self._prefer)
        size = int(preferred[1]) if preferred and int(preferred[1]) else None
        cursors = self._cursors(resource)
        asked = options_of(self._given, dataset, columns, translator, size, cursors)
        snapshot = self._exports.snapshot(asked.token.moment if asked.token else None)
        page = Reader(snapshot, dataset, self._tenant, translator).page(asked)
        next = (
            answers.next_link(self._base + resource.set, self._given, page.next.text(cursors))
            if page.next
            else None
        )
        body = answers.entities(page.rows, asked.columns, style, self._context(resource, asked), page.count, next)
        applied = {"Preference-Applied": f"odata.maxpagesize={asked.page}"} if size else {}
        return _response(body, style.media_type, applied)

    def _entity(self, resource: Resource, style: Style) -> Response:
        assert resource.key is not None
        dataset = masked(SETS[resource.set], self._masks)
        columns, translator = self._columns(dataset)
        asked = options_of(self._given, dataset, columns, translator, None, self._cursors(resource))
        row = Reader(self._exports.snapshot(), dataset, self._tenant, translator).one(resource.key, asked.purpose)
        if row is None:
            raise ODataError(404, "NotFound", "there is no entity with this id")
        context = self._context(resource, asked)
        if resource.property is None:
            return _json(
                {"@odata.context": f"{context}/$entity", **answers.shown(row, asked.columns, style)}, style
            )
        found = answers.value(row, translator.column(resource.property, "path"), style)
        if found is None:
            return _response(b"", None, status=204)
        if resource.raw:
            text = orjson.dumps(found).decode() if isinstance(found, bool | list) else str(found)
            return _response(text.encode(), "text/plain;charset=utf-8")
        key = resource.key.replace("'", "''")
        context = f"{self._base}$metadata#{resource.set}('{key}')/{resource.property}"
        return _json({"@odata.context": context, "value": found}, style)

    def _cursors(self, resource: Resource) -> Cursors:
        """What chooses and orders the entities belongs to a token; which properties of them are shown does not."""
        shaping = [resource.set, *((name, self._given.get(name, "")) for name in _SHAPING)]
        return cursors_in(self._request, self._tenant, shaping, "$skiptoken")

    def _count(self, resource: Resource) -> Response:
        dataset = SETS[resource.set]
        _, translator = self._columns(dataset)
        check_without_effect(self._given, dataset, translator)
        text = self._given.get("$filter", "").strip()
        reader = Reader(self._exports.snapshot(), dataset, self._tenant, translator)
        count = reader.count(parse(text) if text else None, purpose_of(self._given, dataset))
        return _response(str(count).encode(), "text/plain")

    def _context(self, resource: Resource, asked: Options) -> str:
        names = f"({','.join(column.name for column in asked.columns)})" if asked.selected else ""
        return f"{self._base}$metadata#{resource.set}{names}"


def _base(request: Request, public_url: str | None) -> str:
    """The base of links. It ignores the Host header of a request, which a caller can forge."""
    if public_url is not None:
        return f"{public_url.rstrip('/')}{ROOT}/"
    if "microsoft.data.mashup" in request.headers.get("user-agent", "").lower() and request.scope.get("server"):
        # Power Query rejects a relative context. It gets the address of its connection.
        host, port = request.scope["server"]
        return f"{request.scope['scheme']}://{f'[{host}]' if ':' in host else host}:{port}{ROOT}/"
    raw = (request.scope.get("raw_path") or b"").decode("ascii", "replace")
    below = raw.partition(ROOT)[2]
    return "../" * (below.count("/") - 1) if below else f"{ROOT.rpartition('/')[2]}/"


def _check_version(request: Request) -> None:
    for name in ("odata-maxversion", "odata-version"):
        text = request.headers.get(name)
        if text is not None and not text.startswith("4."):
            raise bad(name, f"this is OData 4.0, and the request asks for {text}")


def _json(content: dict[str, object], style: Style) -> Response:
    if style.metadata == "none":
        content = {name: value for name, value in content.items() if name != "@odata.context"}
    return _response(orjson.dumps(content), style.media_type)


def _response(
    content: bytes, media_type: str | None, headers: dict[str, str] | None = None, status: int = 200
) -> Response:
    response = Response(content, status, {"OData-Version": "4.0", **(headers or {})})
    if media_type is not None:
        # Set directly: Starlette would add a charset to text types.
        response.headers["content-type"] = media_type
    return response


def _refused(error: ODataError, headers: dict[str, str] | None = None) -> Response:
    media_type = "application/json;odata.metadata=minimal;charset=utf-8"
    return _response(answers.error_body(error), media_type, headers, error.status)
