"""What an artifact's version is made of.

    version  = digest of {stage, VERSION, Params, parents' versions by role, digests of inputs, versions of libraries}
    part key = digest of {stage, VERSION, Params, libraries, part keys of the aligned parent, versions of the others}

Whatever is not in here (cores, paths, world size, git sha) must not change what a data stage writes.
"""

from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from infra.canonical import digest
from infra.errors import EnvironmentProblem
from infra.params import Params


def library_versions(names: Iterable[str]) -> dict[str, str]:
    """Installed versions of the distributions that shape a stage's output.

    Raises:
        EnvironmentProblem: one of them is not installed.
    """
    found = {}
    for name in sorted(names):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            raise EnvironmentProblem(f"{name} is not installed; run `make setup`") from None
    return found


def artifact_key(
    stage: str,
    stage_version: int,
    params: Params,
    parents: Mapping[str, str | list[str]],
    inputs: Mapping[str, list[dict[str, str | int]]],
    libraries: Mapping[str, str],
    fingerprint: Mapping[str, str],
) -> dict[str, Any]:
    """The full key of an artifact; its digest is the version.

    Args:
        parents: role -> `stage/version`, or a sorted list of these.
        inputs: role -> [{"name", "sha256"}] (remote: {"name", "bytes", "etag"}), sorted; a file's folder is not in it.
        libraries: distribution -> version, of those that shape the output.
        fingerprint: anything else outside that the output depends on (the sample crawl: the installed packages).
    """
    return {
        "stage": stage,
        "stage_version": stage_version,
        "params": params.model_dump(mode="json"),
        "parents": dict(parents),
        "inputs": dict(inputs),
        "libraries": dict(libraries),
        "fingerprint": dict(fingerprint),
    }


def part_key(key: Mapping[str, Any], origin: Mapping[str, Any]) -> str:
    """The key of one part of a narrow stage.

    Args:
        key: the artifact's full key; only what is common to all artifacts that may share the part is taken from it.
        origin: what this part is made from: part keys of aligned parents, versions of whole parents, a byte range.
    """
    common = {name: key[name] for name in ("stage", "stage_version", "params", "libraries", "fingerprint")}
    return digest({**common, "origin": dict(origin)})


def whole_part_key(version: str, index: int) -> str:
    """The key of a part of a global stage: it depends on everything that the artifact depends on."""
    return digest({"version": version, "part": index})
