"""Makes a release of a commit: archive, list of its parts (CycloneDX), checksums and, with a key, their signature.

The same commit makes the same bytes wherever Git and zlib are of the same versions. Run by `make release`.
"""

import argparse
import gzip
import hashlib
import re
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

ROOT = Path(__file__).resolve().parent.parent
LOCKED = re.compile(
    r"^([a-z0-9][a-z0-9.-]*)==(\S+)((?: ; .+?)?)((?: --hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE
)
NAMESPACE = "hamiran-release"  # of the signature: one for a release is good for nothing else


class ReleaseError(Exception):
    """No release can be made; the message says why and what to do."""


def make(commit: str, into: Path, *, key: Path | None, root: Path = ROOT) -> list[Path]:
    """Writes the files of a release into a folder and returns them. Raises ReleaseError."""

    def git(*arguments: str) -> bytes:
        return _run("git", "-C", str(root), *arguments)

    found = git("rev-parse", "--verify", f"{commit}^{{commit}}").decode().strip()
    version = tomllib.loads(git("show", f"{found}:pyproject.toml").decode())["project"]["version"]
    newest = re.search(r"^## (\S+)", git("show", f"{found}:CHANGELOG.md").decode(), re.MULTILINE)
    if newest is None or newest[1] != version:
        raise ReleaseError(
            f"pyproject.toml says {version}, and CHANGELOG.md begins with {newest and newest[1]}. "
            "Give the changes their version in both, and commit."
        )
    into.mkdir(parents=True, exist_ok=True)
    name = f"hamiran-{version}"
    archive, parts = into / f"{name}.tar.gz", into / f"{name}.cdx.json"
    tar = git("archive", "--format=tar", f"--prefix={name}/", found)
    archive.write_bytes(gzip.compress(tar, mtime=0))
    lock = git("show", f"{found}:requirements.txt").decode()
    made_at = datetime.fromtimestamp(int(git("show", "-s", "--format=%ct", found)), UTC)
    parts.write_text(bill_of_materials(lock, version=version, commit=found, made_at=made_at))
    sums = into / f"{name}.sha256"
    sums.write_text("".join(f"{_sha256(file)}  {file.name}\n" for file in (archive, parts)))
    files = [archive, parts, sums]
    if key is not None:
        files.append(_signed(sums, key))
    return files


def bill_of_materials(lock: str, *, version: str, commit: str, made_at: datetime) -> str:
    """What `requirements.txt` installs, each with the checksums of its files, as CycloneDX 1.6 in JSON."""
    product = Component(
        name="hamiran",
        version=version,
        type=ComponentType.APPLICATION,
        bom_ref="hamiran",
        purl=PackageURL("generic", name="hamiran", version=version, qualifiers={"vcs_revision": commit}),
    )
    entries = LOCKED.findall(lock.replace(" \\\n    ", " "))
    if not entries:
        raise ReleaseError("requirements.txt locks nothing.")
    bom = Bom(
        serial_number=uuid5(NAMESPACE_URL, f"hamiran@{commit}"),
        metadata=BomMetaData(component=product, timestamp=made_at),
        components=[
            Component(
                name=name,
                version=number,
                type=ComponentType.LIBRARY,
                bom_ref=f"{name}@{number}",
                purl=PackageURL("pypi", name=name, version=number),
                description=marker.removeprefix(" ; ") or None,
                hashes=[
                    HashType(alg=HashAlgorithm.SHA_256, content=each)
                    for each in re.findall(r"sha256:([0-9a-f]{64})", hashes)
                ],
            )
            for name, number, marker, hashes in entries
        ],
    )
    bom.register_dependency(product, list(bom.components))
    outputter = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6)
    return outputter.output_as_string(indent=1) + "\n"


def _signed(sums: Path, key: Path) -> Path:
    """Signs the checksums with an SSH key: OpenSSH is wherever Git is."""
    signature = sums.with_name(f"{sums.name}.sig")
    signature.unlink(missing_ok=True)
    _run("ssh-keygen", "-Y", "sign", "-q", "-f", str(key), "-n", NAMESPACE, str(sums))
    return signature


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _run(*argv: str) -> bytes:
    try:
        return subprocess.run(argv, capture_output=True, check=True).stdout
    except FileNotFoundError:
        raise ReleaseError(f"{argv[0]} is not installed.") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip()
        raise ReleaseError(f"{' '.join(argv[:4])} … failed: {said}") from None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commit", default="HEAD")
    parser.add_argument("--into", type=Path, default=ROOT / "var" / "release")
    parser.add_argument("--key", type=Path, help="An SSH private key to sign with.")
    options = parser.parse_args()
    try:
        files = make(options.commit, options.into, key=options.key)
    except ReleaseError as error:
        sys.exit(str(error))
    for file in files:
        print(file)  # noqa: T201 - its answer
    if options.key is None:
        print("Not signed: make release SIGNING_KEY=~/.ssh/id_ed25519 signs it.")  # noqa: T201


if __name__ == "__main__":
    main()
