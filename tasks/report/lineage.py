"""Manifests as the page's lineage section tells them: what made each artifact, and the command that makes it again."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from infra.store import Manifest
from tasks.report.data import Node


def node_of(manifest: Manifest) -> Node:
    """One artifact as the lineage section shows it."""
    parents = [
        (role, ref) for role, refs in manifest.parents.items() for ref in ([refs] if isinstance(refs, str) else refs)
    ]
    return Node(
        stage=manifest.stage,
        version=manifest.version,
        parents=tuple(parents),
        ended=manifest.timing.ended[:16].replace("T", " "),
        seconds=manifest.timing.seconds,
        cpu_seconds=manifest.timing.cpu_seconds,
        bytes=sum(file.bytes for file in manifest.files),
        git_sha=manifest.code.git_sha,
        git_dirty=manifest.code.git_dirty,
        stage_version=manifest.code.stage_version,
        params=tuple(flatten(manifest.params)),
        command=stage_command(manifest),
    )


def flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested parameters as (dotted name, JSON value)."""
    found = []
    for name, value in values.items():
        if isinstance(value, dict) and value:
            found += flatten(value, f"{prefix}{name}.")
        else:
            found.append((prefix + name, json.dumps(value, ensure_ascii=False)))
    return found


def stage_command(manifest: Manifest) -> str:
    """The command that makes this artifact again from the same parents, files and parameters."""
    words = ["sluice", "stage", manifest.stage]
    for role, refs in manifest.parents.items():
        for ref in [refs] if isinstance(refs, str) else refs:
            words += ["--in", f"{role}={ref}"]
    for role, files in manifest.inputs.items():
        if role not in manifest.parents:
            words += [word for file in files for word in ("--in", f"{role}={file.path}")]
    words += [word for name, value in flatten(manifest.params) for word in ("--set", f"{name}={value}")]
    return shlex.join(words)


def reproduce(evaluation: Manifest) -> str:
    """Commands that check this run's bytes and compute its evaluation again."""
    lines = []
    code = evaluation.code
    if code.git_sha and not code.git_dirty:
        lines.append(f"git checkout {code.git_sha}")
    words = ["sluice", "run", "evaluate", "--refresh", "evaluate"]
    for role in ("tokens", "chat", "models"):
        refs = evaluation.parents.get(role)
        if refs is not None:
            words += ["--set", f"{role}={refs if isinstance(refs, str) else json.dumps(refs)}"]
    words += [word for name, value in flatten(evaluation.params) for word in ("--set", f"evaluate.{name}={value}")]
    lines.append(shlex.join(words))
    lines.append(f"sluice verify {evaluation.ref} --deep")
    lines.append(f"sluice lineage {evaluation.ref}")
    return "\n".join(lines)


def machine(manifest: Manifest) -> tuple[tuple[str, str], ...]:
    """Where and with what it was measured."""
    found = [(name, str(value)) for name, value in manifest.environment.items() if not isinstance(value, dict)]
    libraries = manifest.environment.get("libraries") or {}
    return (*found, *((name, str(version)) for name, version in libraries.items()))
