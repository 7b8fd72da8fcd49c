"""The HTTP interface of exports: routes over the source and the formats."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Path, Query, Request, Response
from pydantic import BaseModel, Field

from services.exports.column_access import personal_read, scope_of
from services.exports.columns import Dataset
from services.exports.datasets import DATASETS
from services.exports.download import Downloads
from services.exports.formats import FORMATS
from services.exports.measures import Measures, Refused, measure_export
from services.exports.odata.routes import add_odata
from services.exports.purposes import decision_of
from services.exports.query import By, ExportQuery
from services.exports.snapshot import MomentPassed
from services.exports.source import Export, Exports
from shared.access.app import guarded_app
from shared.access.guard import Access, AccessOf, CallerOf, TenantOf
from shared.access.lineage import DerivedFrom
from shared.access.query import misplaced
from shared.contracts.events import Kind, Name, ShortText
from shared.http.caller import ANALYTICS_READ, CONSUMERS_READ, PERSONAL_READ, forbidden
from shared.http.costs import Cost, costs
from shared.http.parameters import moment
from shared.http.paths import QueryId
from shared.http.purposes import SUMS
from shared.http.scopes import Scoped, any_parameter, needs, public
from shared.http.server import problem, problems
from shared.measures.query import NotInstalled

FormatName = Annotated[
    Literal["csv", "csv-excel", "jsonl", "parquet", "hyper"],
    Query(description="Format of the file. csv-excel begins with a byte order mark."),
]
_FAILURES = problems(
    {
        400: "A parameter cannot be used; detail contains its name and the reason.",
        410: "MongoDB no longer has the state of that moment.",
        422: "A parameter is missing or malformed; detail names it.",
        501: "This installation lacks a library that the format needs; detail names the extra to install.",
        503: "MongoDB is unavailable, or too many exports are in progress. Retry after Retry-After seconds.",
    }
)


class ColumnInfo(BaseModel):
    name: str
    type: str = Field(
        description="text, choice (few different texts), integer, number, boolean, time, day, texts, json."
    )
    description: str
    personal: bool = Field(description="Left out unless personal=true.")


class DatasetInfo(BaseModel):
    name: str
    description: str
    filters: list[str]
    columns: list[ColumnInfo]


class Catalogue(BaseModel):
    datasets: list[DatasetInfo]
    formats: list[str]


def create_app(
    exports: Exports,
    ready: Callable[[], Sequence[str]],
    measures: Measures | None = None,
    *,
    access: Access,
    public_url: str | None = None,
) -> FastAPI:
    """Exports as an ASGI application. ``ready`` returns the reasons why it cannot work now. ``measures`` is the
    source of measures; without it there are none. ``access`` decides on each request. ``public_url`` is this
    service's address for clients, for links in the feed; without it they are relative."""
    description = "Relations, relationships and aggregates as files, and as the OData feed /odata/v1/."
    app = guarded_app("Kith exports", description, access, ready)
    downloads = Downloads(access.limits.downloads)

    @app.get("/v1/export", tags=["exports"], summary="What can be exported, and its columns.")
    @public
    def get_catalogue() -> Catalogue:
        """The same for every tenant."""
        return catalogue()

    for dataset in DATASETS.values():
        _add_dataset(app, exports, dataset, downloads)
    if measures is not None:
        _add_measures(app, measures, downloads)
    add_odata(app, exports, public_url)

    @app.exception_handler(Refused)
    async def refused(_: Request, error: Refused) -> Response:
        return problem(error.status, error.detail, kind=error.kind)

    @app.exception_handler(NotInstalled)
    async def not_installed(_: Request, error: NotInstalled) -> Response:
        return problem(501, str(error))

    @app.exception_handler(MomentPassed)
    async def moment_passed(_: Request, error: MomentPassed) -> Response:
        return problem(410, str(error))

    return app


def _add_dataset(app: FastAPI, exports: Exports, dataset: Dataset, downloads: Downloads) -> None:
    @app.get(
        f"/v1/export/{dataset.name}",
        tags=["exports"],
        summary=dataset.description,
        operation_id=f"export_{dataset.name}",
        response_class=Response,
        responses=_FAILURES,
        dependencies=[Depends(downloads.place)],
    )
    @needs(scope_of(dataset), masks_itself=True, purpose=decision_of(dataset))
    @costs(Cost.QUERY)
    def get_export(
        caller: CallerOf,
        access: AccessOf,
        tenant: TenantOf,
        format: FormatName = "csv",
        from_: Annotated[
            str | None, Query(alias="from", description="Start of the period, inclusive: a day (UTC) or a time.")
        ] = None,
        to: Annotated[str | None, Query(description="End of the period, exclusive.")] = None,
        kind: Annotated[Kind | None, Query(description="Only this kind of relations.")] = None,
        category: Annotated[ShortText | None, Query(description="Only providers of this category.")] = None,
        consumer_id: Annotated[QueryId | None, Query(description="Only this consumer.")] = None,
        provider_id: Annotated[QueryId | None, Query(description="Only this provider.")] = None,
        by: Annotated[By | None, Query(description="Only these aggregates.")] = None,
        key: Annotated[ShortText | None, Query(description="Only aggregates of this key.")] = None,
        purpose: Annotated[
            Name | None,
            DerivedFrom("consent"),
            Scoped(CONSUMERS_READ),
            Query(description="Only rows of consumers who have granted this purpose. Needs `consumers:read`."),
        ] = None,
        personal: Annotated[
            bool, Query(description="Include columns with personal data; needs the scope personal:read.")
        ] = False,
    ) -> Any:
        """All rows as of one moment (header `Kith-As-Of`), streamed. If the export fails midway, the connection is
        closed without the end of the body, so a complete body is a complete file. Columns that are masked for the
        credential are left out; the header `Kith-Masked` names them."""
        query = ExportQuery(tenant, None, None, kind, category, consumer_id, provider_id, by, key, purpose)
        query = replace(query, since=_time("from", from_), until=_time("to", to))
        if personal:
            if not caller.may(PERSONAL_READ):
                raise forbidden(PERSONAL_READ)
            access.reading(caller, *personal_read(dataset, query, caller.masks))
        return downloads.begin(
            lambda: exports.open(
                dataset.name,
                query,
                personal=personal,
                masks=caller.masks,
                chosen=query if caller.purpose is None else replace(query, purpose=None),
            ),
            format,
        )


def _add_measures(app: FastAPI, measures: Measures, downloads: Downloads) -> None:
    @app.get(
        "/v1/export/measures/{name}",
        tags=["exports"],
        summary="A measure as a file.",
        response_class=Response,
        responses=_FAILURES,
        dependencies=[Depends(downloads.place)],
    )
    # The service with the measure checks the same credential again, and masks.
    @needs(ANALYTICS_READ, masks_itself=True, purpose=SUMS)
    @costs(Cost.MEASURE)
    @any_parameter
    def get_measure(
        request: Request,
        tenant: TenantOf,
        name: Annotated[str, Path(pattern=r"^[a-z][a-z-]{0,40}$", description="rfm, cohorts, activity …")],
        format: FormatName = "csv",
    ) -> Any:
        """What `GET /v1/measures/{name}` answers, its items as rows. All other parameters are the measure's
        own. The header `Kith-Measure` contains what the answer states beside its items: period, currency, how many
        are left out … (JSON, without lists)."""
        given = request.query_params.multi_items()
        if faults := misplaced((key for key, _ in given), [key for key, _ in given]):
            detail = "; ".join(f"{key}: {fault}" for key, fault in faults.items())
            return problem(422, detail, errors=[{"field": key, "detail": fault} for key, fault in faults.items()])
        asked = {key: value for key, value in given if key != "format"}
        headers = {"Kith-Tenant": tenant}
        if "authorization" in request.headers:
            headers["Authorization"] = request.headers["authorization"]

        def opened() -> Export:
            answer = measures.answer(name, asked, headers)
            return measure_export(name, tenant, answer, datetime.now(UTC), measures.schema(name, answer))

        return downloads.begin(opened, format)


def catalogue() -> Catalogue:
    """What can be exported."""
    datasets = [
        DatasetInfo(
            name=dataset.name,
            description=dataset.description,
            filters=list(dataset.filters),
            columns=[
                ColumnInfo(
                    name=column.name, type=column.type, description=column.description, personal=column.personal
                )
                for column in dataset.columns
            ],
        )
        for dataset in DATASETS.values()
    ]
    return Catalogue(datasets=datasets, formats=list(FORMATS))


def _time(name: str, text: str | None) -> datetime | None:
    return None if text is None else moment(name, text)
