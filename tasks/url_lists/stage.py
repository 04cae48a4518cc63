"""The stage `url-lists`: category lists of domains and addresses -> sorted hashes that gates and signals ask."""

from pathlib import Path

from pydantic import Field

from infra.errors import BadConfig
from infra.params import Params
from infra.stage import Draft, Source, stage
from tasks.url_lists.lists import META, Compiler
from tasks.url_lists.source import category_of, names_hosts_only, open_url_lists


class UrlListsParams(Params):
    """Which lists are taken."""

    categories: tuple[str, ...] = Field(
        (),
        description="Lists to take; what several name belongs to the first. Empty: all, by name. Collections such as"
        " UT1 also hold lists of what is wanted (press, child, sports): name those that are to be thrown away.",
    )


@stage("url-lists", version=1, libraries=("tldextract", "idna"), openers={"lists": open_url_lists})
def url_lists(lists: Source, params: UrlListsParams, out: Draft) -> None:
    """Compile lists of domains and addresses; lines that name nothing are counted by reason."""
    there = sorted({category_of(file.name) for file in lists.files})
    names = list(dict.fromkeys(params.categories)) or there
    missing = [name for name in names if name not in there]
    if missing:
        raise BadConfig(f"url-lists.categories: no list {missing[0]!r} among the files; there are {', '.join(there)}")
    compiler = Compiler(names)
    taken = [file for file in lists.files if category_of(file.name) in names]
    for k, file in enumerate(taken):
        out.progress(k, len(taken), file.name)
        compiler.add_file(category_of(file.name), Path(file.path), hosts_only=names_hosts_only(file.name))
    compiled = compiler.compiled()
    compiled.write(out.path(META).parent)
    out.count("lines", compiled.lines, dropped=compiled.dropped, out=len(compiled.hashes), out_unit="entries")
    out.metrics["entries"] = compiled.meta["entries"]
