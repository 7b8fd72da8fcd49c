"""JMESPath (https://jmespath.org) over changes, with a bound on the work. Pure.

The language has no loops, but ``[@,@] | [@,@] | …`` doubles a value with each step. So what an evaluation visits
and makes is counted, and one that exceeds the bound fails. What a function makes is counted before it is made.
"""

import warnings
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import jmespath
import jmespath.exceptions
from jmespath.functions import Functions
from jmespath.visitor import Options, TreeInterpreter

MOST_CHARACTERS = 1_000
#: Steps of an evaluation, and values that it makes. One over an ordinary change takes about a hundred.
MOST_WORK = 20_000
#: Characters of a text that an expression makes. A body has no more bytes (body.MOST_BYTES).
MOST_MADE = 200_000
#: Characters that are worth a step.
_CHARACTERS = 100

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
        super().__init__(Options(custom_functions=_BoundedFunctions(self)))
        self.work = 0

    def visit(self, node: Any, *arguments: Any, **options: Any) -> Any:
        self.spend(1)
        result = super().visit(node, *arguments, **options)
        if node["type"] in ("multi_select_list", "multi_select_dict", "flatten", "function_expression"):
            self.measure(result)
        return result

    def measure(self, value: Any) -> int:
        """Count a value, with all that it contains. Returns about how many characters its JSON has."""
        pending, characters = [value], 0
        while pending:
            found = pending.pop()
            self.spend(1)
            size = 1
            if isinstance(found, dict):
                pending.extend(found.values())
                size = sum(len(name) for name in found)
            elif isinstance(found, list):
                self.spend(len(found))
                pending.extend(found)
            elif isinstance(found, str):
                size = len(found)
            elif isinstance(found, int):
                # As to_number makes them of a literal: of up to 1,000 digits.
                size = found.bit_length() // 3
            self.spend(size // _CHARACTERS)
            characters += size
        return characters

    def spend(self, work: int) -> None:
        self.work += work
        if self.work > MOST_WORK:
            raise BadExpression(f"takes more than {MOST_WORK:,} steps")


class _BoundedFunctions(Functions):
    """The functions of JMESPath. Those that make more than they get are bounded before they do, and all cost what
    they may have to look through."""

    def __init__(self, interpreter: _Bounded) -> None:
        self._interpreter = interpreter

    def call_function(self, function_name: str, resolved_args: Iterable[Any]) -> Any:
        arguments = list(resolved_args)
        for each in arguments:
            if isinstance(each, str | list | dict):
                self._interpreter.spend(len(each) // _CHARACTERS)
        match function_name, arguments:
            case "join", [str(glue), list(parts)] if all(isinstance(each, str) for each in parts):
                _check_text(sum(map(len, parts)) + len(glue) * max(0, len(parts) - 1))
            case "to_string", [list() | dict() | int() as value]:
                _check_text(self._interpreter.measure(value))
        return super().call_function(function_name, arguments)


def _check_text(characters: int) -> None:
    if characters > MOST_MADE:
        raise BadExpression(f"makes a text of more than {MOST_MADE:,} characters")


@lru_cache(1_000)
def _parsed(expression: str) -> Any:
    with warnings.catch_warnings():
        # That a literal such as `a` is written in an old way is for who maintains expressions, not for a log.
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        return jmespath.compile(expression)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200] or type(error).__name__
