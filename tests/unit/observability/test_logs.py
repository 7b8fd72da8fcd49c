"""What libraries say of themselves stays out of the log, and what they say again and again is there once."""

import logging
import subprocess
import sys

PROGRAM = """
import logging
from shared.observability import logs

for level in ("info", "info"):
    logs.configure(level)
for _ in range(3):
    logging.getLogger("kafka.net.sasl.plain").warning("Sending username and password in the clear")
    logging.getLogger("kafka.net.selector").warning("Task %s ran for %s", "a", "0.2s")
    logging.getLogger("kafka.coordinator").warning("the coordinator is gone")
logging.getLogger("kafka.net.sasl.plain").warning("something else")
"""


def test_a_library_is_heard_once_of_each_connection_and_not_of_its_own_loop() -> None:
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=120)
    said = ran.stderr
    assert said.count("in the clear") == 1
    assert "something else" in said
    assert "Task" not in said
    assert said.count("the coordinator is gone") == 3


def test_the_loggers_are_those_of_the_installed_client() -> None:
    import kafka.net.sasl.plain
    import kafka.net.sasl.scram
    import kafka.net.selector

    for module in (kafka.net.sasl.plain, kafka.net.sasl.scram, kafka.net.selector):
        assert isinstance(module.log, logging.Logger)
        assert module.log.name == module.__name__
