"""Translates ``$filter`` and ``$orderby`` into MongoDB's queries. Pure.

A comparison of a property with a literal becomes a plain condition, which an index can serve; anything with
functions on its left becomes an ``$expr``. In OData a comparison with null is false, but for ``eq`` and ``ne``, so
MongoDB's order of types, in which null is less than all numbers, must not show.
"""

import re
from collections.abc import Collection, Sequence
from typing import Any

from services.exports.columns import Column, Dataset
from services.exports.odata.errors import bad, hidden_property, unsupported
from services.exports.odata.expressions import NOTHING, Expressions, Made, compared, matches, short_enough
from services.exports.odata.kinds import check_filter
from services.exports.odata.terms import Call, Compare, In, Literal, Logic, Member, Not, Property, Term, Value
from shared.contracts.spelling import nfc
from shared.erasure.records import PSEUDONYMS
from shared.runtime.protocols import Document

_FLIPPED = {"eq": "eq", "ne": "ne", "gt": "lt", "ge": "le", "lt": "gt", "le": "ge"}
_OPERATORS = {"eq": "$eq", "ne": "$ne", "gt": "$gt", "ge": "$gte", "lt": "$lt", "le": "$lte"}
#: The columns of sums, which need all partial sums.
SUMMED = ("count", "rating_count", "rating_sum", "consumers")
_TESTS = frozenset({"contains", "startswith", "endswith"})


class Translator:
    """Conditions on the rows of a dataset of one tenant, in terms of the stored fields."""

    def __init__(
        self, dataset: Dataset, columns: Sequence[Column], tenant: str, hidden: Collection[str] = ()
    ) -> None:
        """``hidden`` are the names of columns that the caller may not see."""
        self._dataset = dataset
        self._hidden = hidden
        self._columns = {column.name: column for column in columns}
        self._tenant = tenant
        self._expressions = Expressions(self.column, self._field)

    def condition(self, term: Term) -> Document:
        """A filter. Raises ODataError."""
        check_filter(term, self.column)
        return self._condition(term)

    def _condition(self, term: Term) -> Document:
        match term:
            case Logic(operator, parts):
                return {f"${operator}": [self._condition(part) for part in parts]}
            case Not(part):
                return {"$nor": [self._condition(part)]}
            case Compare(operator, Property(name), Literal(value)):
                return self._plain(operator, self.column(name), value)
            case Compare(operator, Literal(value), Property(name)):
                return self._plain(_FLIPPED[operator], self.column(name), value)
            case In(Property(name), values):
                return {"$or": [self._plain("eq", self.column(name), value) for value in values]}
            case Member(name, values):
                return self._member(name, values)
            case Call("contains" | "startswith" | "endswith" as name, (Property(of), Literal(str(value)))):
                return self._pattern(name, self.column(of), value)
            case Property(name):
                return self._plain("eq", self.column(name), True)
            case Literal(bool(value)):
                return {} if value else NOTHING
            case Call("contains" | "startswith" | "endswith" as name, (of, what)):
                return self._pattern_of(name, of, what)
            case Compare("eq" | "ne" as operator, Call(name) as call, Literal(bool(value))) | Compare(
                "eq" | "ne" as operator, Literal(bool(value)), Call(name) as call
            ) if name in _TESTS:
                true = self._condition(call)
                return true if (operator == "eq") == value else {"$nor": [true]}
            case Compare(operator, left, right):
                made = self._expressions.made
                return compared(operator, _OPERATORS[operator], made(left), made(right))
            case In(left, values):
                made = self._expressions.made
                one = made(left)
                return {"$or": [compared("eq", "$eq", one, made(Literal(value))) for value in values]}
            case _:
                raise unsupported("$filter", "an expression of this form is not supported")

    def column(self, name: str, target: str = "$filter") -> Column:
        """The column with this name. Raises ODataError for an unknown name (400) and for a hidden one (403)."""
        if name in self._hidden:
            raise hidden_property(name, target)
        if name not in self._columns:
            raise bad(target, f"{self._dataset.entity_set} has no property {name}")
        return self._columns[name]

    def path(self, column: Column, target: str = "$filter") -> str:
        """The path of its values. Raises ODataError for a column that is computed when it is read."""
        if column.anonymised is not None and target == "$orderby":
            raise unsupported(target, f"{column.name} may be withheld, so it cannot order")
        if column.path is not None:
            return column.path
        if self._dataset.partials and column.name in SUMMED:
            return column.name
        raise unsupported(target, f"{column.name} is computed when it is read, so it can neither filter nor order")

    def is_summed(self, term: Term) -> bool:
        """Whether it uses sums, which need all partial sums."""
        match term:
            case Property(name):
                return self._dataset.partials and name in SUMMED
            case Logic(_, parts) | Call(_, parts):
                return any(self.is_summed(part) for part in parts)
            case Compare(_, left, right):
                return self.is_summed(left) or self.is_summed(right)
            case Not(part) | In(part, _):
                return self.is_summed(part)
        return False

    def key(self, id: str) -> Document:
        """The condition that is true for the row with this id only."""
        id = nfc(id)
        if not self._dataset.partials:
            return {"_id": f"{self._tenant}:{id}"}
        by, _, rest = id.partition(":")
        day, _, key = rest.partition(":")
        return {"by": by, "day": day, "key": key}

    def _plain(self, operator: str, column: Column, value: Value) -> Document:
        if column.name == "id":
            return self._of_id(operator, value)
        if column.anonymised is not None:
            made = Made(self._field(column)), self._expressions.made(Literal(value))
            return compared(operator, _OPERATORS[operator], *made)
        path = self.path(column)
        if value is None:
            if operator in ("eq", "ne"):
                return {path: {_OPERATORS[operator]: None}}
            return NOTHING
        return {path: {_OPERATORS[operator]: self._stored(column, value)}}

    def _of_id(self, operator: str, value: Value) -> Document:
        if not isinstance(value, str):  # null, which no id is
            return {} if operator == "ne" else NOTHING
        if not self._dataset.partials:
            return {"_id": {_OPERATORS[operator]: f"{self._tenant}:{nfc(value)}"}}
        if operator not in ("eq", "ne"):
            raise unsupported("$filter", "the id of sums can be compared by eq and ne only; see by, day and key")
        return self.key(value) if operator == "eq" else {"$nor": [self.key(value)]}

    def _member(self, name: str, values: tuple[Value, ...] | None) -> Document:
        path = self.path(self.column(name))
        if values is None:
            return {f"{path}.0": {"$exists": True}}
        return {path: {"$in": list(values)}}

    def _pattern(self, name: str, column: Column, value: str) -> Document:
        if _is_id(column):
            value = nfc(value)
        if column.anonymised is not None:
            return matches(name, Made(self._field(column)), value)
        text = re.escape(value)
        # Other than "$", "\z" is not also before a last line break.
        pattern = {"contains": text, "startswith": f"^{text}", "endswith": rf"{text}\z"}[name]
        if column.name == "id":
            # Stored ids begin with the tenant.
            pattern = (
                f"^{re.escape(self._tenant)}:{'' if name == 'startswith' else '.*'}{pattern.removeprefix('^')}"
            )
        # "s": a dot is any character, a line break, too.
        return {self.path(column): {"$regex": short_enough(pattern), "$options": "s"}}

    def _pattern_of(self, name: str, of: Term, what: Term) -> Document:
        text, value = self._expressions.made(of), self._expressions.made(what)
        if not value.constant:
            raise unsupported("$filter", f"{name} searches for literal texts only")
        return NOTHING if value.value is None else matches(name, text, str(value.value))

    def _field(self, column: Column) -> Any:
        path = self.path(column)
        if column.name == "id" or column.type == "texts":
            raise unsupported("$filter", f"functions of {column.name} are not supported")
        if column.anonymised is not None:
            named = [
                {"$regexMatch": {"input": f"${name}", "regex": PSEUDONYMS}}
                for name in ("consumer_id", "relation_id")
            ]
            return {"$cond": [{"$and": named}, {"$literal": column.anonymised}, f"${path}"]}
        if column.type == "day":
            return {"$dateFromString": {"dateString": f"${path}", "onNull": None}}
        if column.stored is not None:
            raise unsupported("$filter", f"functions of {column.name} are not supported")
        return {"$ifNull": [f"${path}", None]}

    def _stored(self, column: Column, value: Value) -> Any:
        if isinstance(value, str) and _is_id(column):
            value = nfc(value)
        return column.stored(value) if column.stored is not None else value


def _is_id(column: Column) -> bool:
    """Whether its values are ids, which are stored normalised. Other texts are stored unchanged."""
    return column.name in ("id", "key") or column.name.endswith("_id")


def after(order: Sequence[tuple[str, int]], place: Sequence[Any]) -> Document:
    """The filter for rows after a place in an order of (path, 1 or -1), whose last path is unique. Null comes
    first, as in MongoDB's order."""
    ways: list[Document] = []
    same: Document = {}
    for (path, direction), value in zip(order, place, strict=True):
        if direction == 1:
            beyond: Document | None = {path: {"$ne": None} if value is None else {"$gt": value}}
        elif value is None:
            beyond = None
        else:
            beyond = {"$or": [{path: {"$lt": value}}, {path: {"$eq": None}}]}
        if beyond is not None:
            equal = {name: {"$eq": known} for name, known in same.items()}
            ways.append({"$and": [equal, beyond]} if equal else beyond)
        same[path] = value
    return {"$or": ways}
