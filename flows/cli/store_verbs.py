"""Verbs that look at the store: ls, show, diff, lineage, verify, tag, path, gc."""

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from flows.cli.output import described, print_json, print_table
from flows.cli.state import JsonOption, StoreOption, the_store
from infra.quantities import byte_size
from infra.stage.provenance import source_digest
from infra.store import Artifact, Manifest, Store
from infra.store.maintenance import children, collect_garbage, diff, find_garbage, readable, verify

Ref = Annotated[str, typer.Argument(help="stage@latest, stage@TAG, stage/VERSION (a prefix will do), or just stage.")]


def ls(
    stage: Annotated[str | None, typer.Argument(help="Only this stage.")] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List artifacts by stage, oldest first."""
    opened = the_store(store)
    tags = _tags_by_ref(opened)
    rows: list[dict[str, Any]] = []
    manifests, damaged = readable(opened, stage)
    _warn(damaged.values())
    for manifest in manifests:
        counts = manifest.counts
        rows.append(
            {
                "ref": manifest.ref,
                "ended": manifest.timing.ended[:19],
                "in": counts.in_.n,
                "out": counts.out.n,
                "unit": counts.out.unit,
                "bytes": sum(entry.bytes for entry in manifest.files),
                "seconds": manifest.timing.seconds,
                "tags": tags.get(manifest.ref, []),
            }
        )
    if as_json:
        print_json(rows)
    elif not rows:
        what = f"no artifact of stage {stage}" if stage else "no artifact"
        typer.echo(f"{what} in {opened.root}; `sluice run pipeline` makes some")
    else:
        print_table(
            [
                [
                    r["ref"],
                    r["ended"],
                    r["in"],
                    r["out"],
                    r["unit"],
                    byte_size(r["bytes"]),
                    r["seconds"],
                    " ".join(r["tags"]),
                ]
                for r in rows
            ],
            ["artifact", "ended (UTC)", "in", "out", "of", "size", "seconds", "tags"],
        )


def show(ref: Ref, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Show what an artifact is, what it was made of and what it holds."""
    artifact = the_store(store).open(ref)
    manifest = artifact.manifest
    if as_json:
        print_json(manifest.model_dump(mode="json", by_alias=True))
        return
    counts = manifest.counts
    typer.echo(f"{manifest.ref}   {artifact.path}")
    typer.echo(
        f"  made     {manifest.timing.ended[:19]} UTC in {manifest.timing.seconds:.1f} s"
        f" ({manifest.timing.cpu_seconds:.1f} CPU s) by run {manifest.run.name}"
    )
    typer.echo(
        f"  code     VERSION {manifest.code.stage_version}, commit {manifest.code.git_sha or 'unknown'}"
        f"{' with changes' if manifest.code.git_dirty else ''}"
    )
    for role, refs in manifest.parents.items():
        typer.echo(f"  {role:<8} {refs if isinstance(refs, str) else ', '.join(refs)}")
    for role, files in manifest.inputs.items():
        size = byte_size(sum(file.bytes for file in files))
        typer.echo(
            f"  {role:<8} {len(files)} files, {size}: {', '.join(file.name for file in files[:4])}"
            f"{' …' if len(files) > 4 else ''}"
        )
    typer.echo(f"  in       {counts.in_.n:,} {counts.in_.unit}")
    for reason, n in counts.dropped.items():
        typer.echo(f"    - {n:>9,}  {reason}")
    typer.echo(f"  out      {counts.out.n:,} {counts.out.unit}")
    _section("params", manifest.params)
    _section("metrics", manifest.metrics)
    typer.echo(f"  files    {len(manifest.files)}, {byte_size(sum(e.bytes for e in manifest.files))}")
    for entry in manifest.files[:20]:
        rows = "" if entry.rows is None else f"  {entry.rows:,} rows"
        typer.echo(f"    {entry.path}  {byte_size(entry.bytes)}{rows}")
    if len(manifest.files) > 20:
        typer.echo(f"    … and {len(manifest.files) - 20} more")
    warning = source_warning(manifest)
    _warn([warning] if warning else [])


def source_warning(manifest: Manifest) -> str | None:
    """Say when today's source of the stage is not what wrote the artifact though its VERSION is the same."""
    from flows.stages import load_stages

    stage = load_stages().get(manifest.stage)
    if stage is None or stage.stage_version != manifest.code.stage_version:
        return None
    if source_digest(stage.function.__module__) == manifest.code.source_digest:
        return None
    return (
        f"{manifest.ref} was made by other source code under the same VERSION {stage.stage_version};"
        f" `--refresh {manifest.stage}` tells whether that changes its bytes"
    )


def diff_verb(one: Ref, two: Ref, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Show where two artifacts differ: parameters, parents, code, counts, files."""
    opened = the_store(store)
    found = list(diff(opened.open(one).manifest, opened.open(two).manifest))
    if as_json:
        print_json([{"place": place, "one": left, "two": right} for place, left, right in found])
    elif not found:
        typer.echo("no difference")
    for place, left, right in [] if as_json else found:
        typer.echo(f"{place}:  {left}  ->  {right}")


def lineage(
    ref: Ref,
    down: Annotated[
        bool, typer.Option("--down", help="What was made from it, instead of what it was made from.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what an artifact was made from, back to the input files."""
    opened = the_store(store)
    artifact = opened.open(ref)
    if as_json:
        print_json(_lineage_tree(opened, artifact.manifest, down))
    else:
        _print_lineage(opened, artifact.manifest, down, "", set())


def verify_verb(
    ref: Annotated[str | None, typer.Argument(help="One artifact; by default all of them.")] = None,
    deep: Annotated[bool, typer.Option("--deep", help="Read every byte and compare sha256.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check that artifacts are whole; exit status 1 if one is not."""
    opened = the_store(store)
    manifests, damaged = ([opened.open(ref).manifest], {}) if ref else readable(opened)
    problems = list(damaged.values())
    problems += [problem for manifest in manifests for problem in verify(Artifact(opened, manifest), deep)]
    checked = [*(manifest.ref for manifest in manifests), *damaged]
    if as_json:
        print_json({"checked": checked, "problems": problems})
    else:
        for problem in problems:
            typer.echo(problem)
        typer.echo(f"{len(checked)} artifacts checked{' byte by byte' if deep else ''}, {len(problems)} problems")
    if problems:
        raise typer.Exit(1)


def tag(
    name: Annotated[str, typer.Argument(help="The name to give.")],
    ref: Ref,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Name an artifact: afterwards stage@NAME means it, and gc never takes it."""
    opened = the_store(store)
    named = opened.tag(name, ref)
    full = opened.open(named).ref
    if as_json:
        print_json({"tag": named, "ref": full})
    else:
        typer.echo(f"{named} is {full}")


def path(
    ref: Ref,
    file: Annotated[str | None, typer.Argument(help="A file under its data/.")] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print where an artifact, or one of its files, lies."""
    artifact = the_store(store).open(ref)
    found = artifact.file(file) if file else artifact.path
    if as_json:
        print_json({"ref": artifact.ref, "path": str(found)})
    else:
        typer.echo(str(found))


def gc(
    keep: Annotated[
        int, typer.Option(min=0, help="Latest artifacts of each stage to keep, with all they come from.")
    ] = 3,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, only say what would go.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove artifacts that no tag, no recent artifact and no running work needs."""
    opened = the_store(store)
    garbage = find_garbage(opened, keep)
    _warn(garbage.problems)
    if yes:
        collect_garbage(opened, garbage)
    if as_json:
        print_json(
            {"removed" if yes else "would_remove": garbage.refs, "staging": garbage.staging, "bytes": garbage.bytes}
        )
        return
    for name in [*garbage.refs, *(f"unfinished {name}" for name in garbage.staging)]:
        typer.echo(name)
    verb = "removed" if yes else "would remove"
    typer.echo(
        f"{verb} {len(garbage.refs)} artifacts ({byte_size(garbage.bytes)}), {len(garbage.staging)} leftovers,"
        f" {garbage.trash} trashed folders{'' if yes else '; add --yes to do it'}"
    )


def _warn(problems: Iterable[str]) -> None:
    for problem in problems:
        typer.secho(f"warning: {problem}", fg="yellow", err=True)


def _tags_by_ref(store: Store) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for stage, name, version in store.tags():
        found.setdefault(f"{stage}/{version}", []).append(name)
    return found


def _neighbours(store: Store, manifest: Manifest, down: bool) -> list[Manifest]:
    if down:
        return children(store, manifest.ref)
    return [store.open(ref).manifest for ref in manifest.parent_refs()]


def _lineage_tree(store: Store, manifest: Manifest, down: bool) -> dict[str, Any]:
    name = "children" if down else "parents"
    below = [_lineage_tree(store, one, down) for one in _neighbours(store, manifest, down)]
    return {"ref": manifest.ref, "inputs": {r: [f.name for f in fs] for r, fs in manifest.inputs.items()}, name: below}


def _print_lineage(store: Store, manifest: Manifest, down: bool, indent: str, seen: set[str]) -> None:
    again = manifest.ref in seen
    counts = manifest.counts
    typer.echo(
        f"{indent}{manifest.ref}  "
        + ("(see above)" if again else f"{counts.in_.n:,} {counts.in_.unit} -> {counts.out.n:,} {counts.out.unit}")
    )
    if again:
        return
    seen.add(manifest.ref)
    for role, files in manifest.inputs.items():
        shown = ", ".join(file.name for file in files[:3]) + (" …" if len(files) > 3 else "")
        typer.echo(f"{indent}  {role}: {len(files)} files ({shown})")
    for neighbour in _neighbours(store, manifest, down):
        _print_lineage(store, neighbour, down, indent + "  ", seen)


def _section(title: str, values: dict[str, Any]) -> None:
    for number, line in enumerate(described(values)):
        typer.echo(f"  {title if number == 0 else '':<8} {line}")
