"""The service document and ``$metadata`` (CSDL 4.0 in XML). Pure."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any
from xml.etree import ElementTree

from services.exports.columns import Column, Dataset, Type
from services.exports.datasets import DATASETS
from services.exports.odata.mongo import SUMMED

NAMESPACE = "Kith"
_EDMX = "http://docs.oasis-open.org/odata/ns/edmx"
_EDM = "http://docs.oasis-open.org/odata/ns/edm"
_VOCABULARIES = "https://oasis-tcs.github.io/odata-vocabularies/vocabularies/Org.OData"
EDM: Mapping[Type, str] = {
    **dict.fromkeys(("text", "choice", "json"), "Edm.String"),
    "integer": "Edm.Int64",
    "number": "Edm.Double",
    "boolean": "Edm.Boolean",
    "time": "Edm.DateTimeOffset",
    "day": "Edm.Date",
    "texts": "Collection(Edm.String)",
}
_ALWAYS = frozenset(
    {"id", "consumer_id", "provider_id", "relation_id", "kind", "time", "by", "key", "day", "count"}
)
SETS: Mapping[str, Dataset] = {dataset.entity_set: dataset for dataset in DATASETS.values()}


def service_document(base: str) -> dict[str, Any]:
    """``base`` is the address of the service, with a slash at its end."""
    sets = [{"name": name, "kind": "EntitySet", "url": name} for name in SETS]
    return {"@odata.context": f"{base}$metadata", "value": sets}


@lru_cache(maxsize=1)
def metadata() -> bytes:
    """The model. Annotations mark properties that cannot be filtered or ordered, so that clients do it
    themselves."""
    # Prefixes as in the specification's examples: not every client reads XML by its namespaces.
    root = ElementTree.Element("edmx:Edmx", {"xmlns:edmx": _EDMX, "Version": "4.0"})
    for name in ("Core", "Capabilities"):
        reference = _element(root, "edmx:Reference", Uri=f"{_VOCABULARIES}.{name}.V1.xml")
        _element(reference, "edmx:Include", Namespace=f"Org.OData.{name}.V1", Alias=name)
    schema = _element(_element(root, "edmx:DataServices"), "Schema", xmlns=_EDM, Namespace=NAMESPACE)
    for dataset in SETS.values():
        entity = _element(schema, "EntityType", Name=dataset.entity)
        _element(_element(entity, "Key"), "PropertyRef", Name="id")
        for column in dataset.visible(personal=False):
            _property(entity, column)
        _text(entity, "Core.Description", dataset.description)
    container = _element(schema, "EntityContainer", Name="Container")
    for name, dataset in SETS.items():
        entities = _element(container, "EntitySet", Name=name, EntityType=f"{NAMESPACE}.{dataset.entity}")
        restricted = [
            column.name for column in dataset.visible(personal=False) if not _comparable(dataset, column)
        ]
        _restriction(entities, "Filter", "Filterable", restricted)
        lists = [column.name for column in dataset.visible(personal=False) if column.type == "texts"]
        withheld = [column.name for column in dataset.visible(personal=False) if column.anonymised is not None]
        _restriction(entities, "Sort", "Sortable", [*restricted, *lists, *withheld])
        for change in ("Insert", "Update", "Delete"):
            record = _element(
                _element(entities, "Annotation", Term=f"Capabilities.{change}Restrictions"), "Record"
            )
            _element(record, "PropertyValue", Property=f"{change}able", Bool="false")
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _property(entity: ElementTree.Element, column: Column) -> None:
    element = _element(entity, "Property", Name=column.name, Type=EDM[column.type])
    if column.name in _ALWAYS or column.type == "texts":
        element.set("Nullable", "false")
    if column.type == "time":
        element.set("Precision", str(column.digits))
    _text(element, "Core.Description", column.description)


def _comparable(dataset: Dataset, column: Column) -> bool:
    return column.path is not None or (dataset.partials and (column.name in SUMMED or column.name == "id"))


def _restriction(entities: ElementTree.Element, what: str, able: str, names: Sequence[str]) -> None:
    if not names:
        return
    record = _element(_element(entities, "Annotation", Term=f"Capabilities.{what}Restrictions"), "Record")
    value = _element(record, "PropertyValue", Property=f"Non{able}Properties")
    collection = _element(value, "Collection")
    for name in names:
        _element(collection, "PropertyPath").text = name


def _text(parent: ElementTree.Element, term: str, text: str) -> None:
    _element(parent, "Annotation", Term=term, String=text)


def _element(parent: ElementTree.Element, name: str, **attributes: str) -> ElementTree.Element:
    return ElementTree.SubElement(parent, name, attributes)
