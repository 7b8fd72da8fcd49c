"""Log lines for people and machines: one line per record on stderr, as key=value pairs (logfmt)."""

import json
import logging
import re
import sys
import time

_BARE = re.compile(r"[^\s\"=\\\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
# Libraries whose "info" messages only help their own authors.
_TALKATIVE = ("kafka", "pymongo", "uvicorn", "asyncio", "urllib3", "httpx", "matplotlib")
# Libraries whose warnings are such messages, too: how long a step of their own loop took on a busy machine.
_ALARMED = ("kafka.net.selector",)
# Libraries that say the same of the settings at each connection.
_REPEATING = ("kafka.net.sasl.plain", "kafka.net.sasl.scram")


class Logfmt(logging.Formatter):
    """``time=… level=… logger=… message=…``, then the call's ``extra``, then the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        pairs: dict[str, object] = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        pairs |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            pairs["traceback"] = self.formatException(record.exc_info)
        return " ".join(f"{name}={_quoted(value)}" for name, value in pairs.items())


class _Once(logging.Filter):
    """Lets each message pass once."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        known = (message := record.getMessage()) in self._said
        self._said.add(message)
        return not known


_ONCE = _Once()


def configure(level: str) -> None:
    """Send log records of ``level`` (debug, info, warning, error) and above to stderr, once per process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Logfmt())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
    for name in _ALARMED:
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in _REPEATING:
        logging.getLogger(name).addFilter(_ONCE)


def _quoted(value: object) -> str:
    text = str(value)
    # JSON's escapes keep a record on one line, whatever it contains.
    return text if _BARE.fullmatch(text) else json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
