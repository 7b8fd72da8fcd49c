"""JMESPath (https://jmespath.org) over changes, with a bound on the work. Pure.

The language has no loops, but ``[@,@] | [@,@] | …`` doubles a value with each step. So what an evaluation visits
and makes is counted, and one that exceeds the bound fails.
"""

import warnings
from functools import lru_cache
from typing import Any

import jmespath
import jmespath.exceptions
from jmespath.visitor import TreeInterpreter

MOST_CHARACTERS = 1_000
#: Steps of an evaluation, and values that it makes. One over an ordinary change takes about a hundred.
MOST_WORK = 20_000


#: What an evaluation takes beside its steps, in steps.
_BASE = 20


class Meter:
    """The work that evaluations may do together: whoever does many looks whether some of it is ``left``."""

    def __init__(self, left: int) -> None:
        self.left = left


class BadExpression(ValueError):
    """The text is no JMESPath expression, or its evaluation fails."""


def check(expression: str) -> None:
    """Raises BadExpression for a text that is no expression."""
    if len(expression) > MOST_CHARACTERS:
        raise BadExpression(f"an expression has at most {MOST_CHARACTERS} characters")
    try:
        _parsed(expression)
    except (jmespath.exceptions.JMESPathError, RecursionError) as error:
        raise BadExpression(f"is no JMESPath expression: {_first_line(error)}") from None


def evaluate(expression: str, value: Any, meter: Meter | None = None) -> Any:
    """The result over ``value`` (JSON). The ``meter`` counts the work, and does not end it. Raises
    BadExpression."""
    interpreter = _Bounded()
    try:
        return interpreter.visit(_parsed(expression).parsed, value)
    # The library raises its own errors, and TypeError and others for values of unexpected types. Whatever an
    # expression causes concerns its owner only.
    except Exception as error:
        raise BadExpression(f"the expression fails: {_first_line(error)}") from None
    finally:
        if meter is not None:
            meter.left -= _BASE + interpreter.work


class _Bounded(TreeInterpreter):
    def __init__(self) -> None:
        super().__init__()
        self.work = 0

    def visit(self, node: Any, *arguments: Any, **options: Any) -> Any:
        self._spend(1)
        result = super().visit(node, *arguments, **options)
        if node["type"] in ("multi_select_list", "multi_select_dict", "flatten", "function_expression"):
            self._measure(result)
        return result

    def _measure(self, value: Any) -> None:
        pending = [value]
        while pending:
            found = pending.pop()
            self._spend(1)
            if isinstance(found, dict):
                pending.extend(found.values())
            elif isinstance(found, list):
                self._spend(len(found))
                pending.extend(found)
            elif isinstance(found, str):
                self._spend(len(found) // 100)

    def _spend(self, work: int) -> None:
        self.work += work
        if self.work > MOST_WORK:
            raise BadExpression(f"takes more than {MOST_WORK:,} steps")


@lru_cache(1_000)
def _parsed(expression: str) -> Any:
    with warnings.catch_warnings():
        # That a literal such as `a` is written in an old way is for who maintains expressions, not for a log.
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        return jmespath.compile(expression)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200] or type(error).__name__
