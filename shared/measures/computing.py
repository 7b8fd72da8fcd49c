"""Measures that processes of their own compute: the request, the answer, and the errors between them.

Such a process reads MongoDB itself, so only a query goes to it and only an answer's JSON comes back.
"""

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import orjson

from shared.contracts.errors import TooSlow, Unavailable, WrongMasterKey
from shared.measures.query import BadMeasure, NotInstalled, PeriodQuery
from shared.measures.spec import Measure, S
from shared.runtime.children import ChildEnded, Children, answer_parent, confine
from shared.runtime.interruption import Interrupted

MIB = 1024 * 1024
_ANSWER, _ERROR = b"=", b"!"
#: Errors that arrive as what they are, with their arguments. A subclass stands before its base.
_ERRORS: Mapping[str, tuple[type[Exception], Callable[[Any], list[str]]]] = {
    "bad": (BadMeasure, lambda error: [error.name, error.detail]),
    "not_installed": (NotInstalled, lambda error: [str(error)]),
    "wrong_master_key": (WrongMasterKey, lambda error: [str(error)]),
    "too_slow": (TooSlow, lambda error: [str(error)]),
    "unavailable": (Unavailable, lambda error: [str(error)]),
    "interrupted": (Interrupted, lambda _: []),
}
_TOO_LARGE, _FAULT = "too_large", "fault"

log = logging.getLogger(__name__)


class Compute(Protocol):
    """Computes a measure's answer for a tenant, as JSON. Raises what the measure raises, and ChildEnded."""

    def __call__(self, measure: Measure[Any], tenant: str, query: PeriodQuery) -> bytes: ...


class ComputationFailed(Exception):
    """An unexpected error in the process that computes. Its log has the traceback."""


def here(source: Callable[[str], S]) -> Compute:
    """Computes in the calling thread."""

    def compute(measure: Measure[S], tenant: str, query: PeriodQuery) -> bytes:
        return measure.run(source(tenant), query).model_dump_json().encode()

    return compute


def children_of(module: str, processes: int, seconds: float) -> Children:
    """Processes of ``python -m module``, which calls ``compute_for_parent``."""
    return Children([sys.executable, "-m", module], processes, seconds)


class Elsewhere:
    """Computes where ``ask`` takes a request to: ``Children.ask``."""

    def __init__(self, ask: Callable[[bytes], bytes]) -> None:
        self._ask = ask

    def __call__(self, measure: Measure[Any], tenant: str, query: PeriodQuery) -> bytes:
        answer = self._ask(request_of(measure, tenant, query))
        kind, content = answer[:1], answer[1:]
        if kind == _ANSWER:
            return content
        name, arguments = orjson.loads(content)
        if name == _TOO_LARGE:
            raise ChildEnded("needed more memory than it may have")
        if name == _FAULT:
            raise ComputationFailed(f"the measure {measure.name} failed; the log has the traceback of its process")
        raise _ERRORS[name][0](*arguments)


def compute_for_parent(measures: Sequence[Measure[S]], source: Callable[[str], S], memory_mib: int) -> None:
    """In a process of ``children_of``: answer while it is needed. ``memory_mib`` bounds the process."""
    confine(memory_mib * MIB)
    answer_parent(answering(measures, source))


def request_of(measure: Measure[Any], tenant: str, query: PeriodQuery) -> bytes:
    asked = query.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return orjson.dumps({"measure": measure.name, "tenant": tenant, "query": asked})


def answering(measures: Sequence[Measure[S]], source: Callable[[str], S]) -> Callable[[bytes], bytes]:
    """The answer, or the error, to a request of ``request_of``."""
    known, compute = {measure.name: measure for measure in measures}, here(source)

    def answer(request: bytes) -> bytes:
        asked = orjson.loads(request)
        try:
            measure = known[asked["measure"]]
            return _ANSWER + compute(measure, asked["tenant"], measure.query.model_validate(asked["query"]))
        except MemoryError:
            return _ERROR + orjson.dumps([_TOO_LARGE, []])
        except Exception as error:
            for name, (kind, arguments) in _ERRORS.items():
                if isinstance(error, kind):
                    return _ERROR + orjson.dumps([name, arguments(error)])
            log.exception("a measure failed", extra={"measure": asked["measure"]})
            return _ERROR + orjson.dumps([_FAULT, []])

    return answer
