"""The `tokens` stage: a mix as token ids, in files that training maps into memory.

Parts are encoded in parallel (`encode.py`); then consecutive parts make a group of about `group_bytes`, and a group
gives one file a (domain, split) (`groups.py`). A document is its ids and `<|endoftext|>`; documents stay in the order
of (part, row), since shuffling is the loader's. Parts and groups that are done survive a kill. How many workers encode,
and in which batches, changes no byte.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow.compute as pc
from pydantic import Field

from infra.errors import BadInput
from infra.files import link_or_copy, write_text
from infra.params import Params
from infra.stage import Draft, stage
from infra.tables import read_table
from model.indexed import bin_path, idx_path, token_dtype
from tasks.corpus import Corpus
from tasks.documents import open_part, part_count
from tasks.tokenizer import Vocabulary
from tasks.tokens.encode import TABLE_FILE, EncodeJob, encode_parts, part_folder
from tasks.tokens.files import ANNEAL, DOCUMENTS, INDEX_FILE, TokenFile, in_stream_order, index_json
from tasks.tokens.groups import group_folder, group_parts, is_done, mark_done, read_done, write_group


class TokensParams(Params):
    """How the files are cut."""

    group_bytes: int = Field(
        1_000_000_000, ge=1, description="UTF-8 bytes of text after which the next part begins a new group of files."
    )
    annealing: bool = Field(
        True,
        description="Write training documents that the mix marks for the last phase a second time, as split `anneal`.",
    )


@stage("tokens", version=1, libraries=("tokenizers",), tables={"documents": DOCUMENTS})
def tokens(documents: Corpus, tokenizer: Vocabulary, params: TokensParams, out: Draft) -> None:
    """Encode every document of a mix into Megatron's indexed files.

    Raises:
        BadInput: the mix holds no documents.
    """
    sizes = [pc.sum(open_part(documents, k, ["n_bytes"])["n_bytes"]).as_py() or 0 for k in range(part_count(documents))]
    groups = group_parts(sizes, params.group_bytes)
    encode_what_is_missing(documents, tokenizer, params, out, sizes, groups)
    encoder = tokenizer.encoder
    dtype = token_dtype(encoder.vocab_size)
    files: list[TokenFile] = []
    for number, parts in enumerate(groups):
        folder = group_folder(out.keep, number)
        if not is_done(folder):
            write_group(out.keep, number, parts, dtype)
            out.check_lock()
            mark_done(folder)
        for part in parts:
            shutil.rmtree(part_folder(out.keep, part), ignore_errors=True)
        for file in read_done(folder):
            for path in (bin_path(folder / file.file), idx_path(folder / file.file)):
                link_or_copy(path, out.path(path.relative_to(folder).as_posix()))
            files.append(file)
        out.write("documents", read_table(folder / TABLE_FILE), part=number)
        out.progress(number + 1, len(groups), f"{number + 1} of {len(groups)} groups of files written")
    if not files:
        raise BadInput(f"{documents.ref} holds no documents, so there is nothing to tokenize")
    write_text(out.path(INDEX_FILE), index_json(files, dtype.name, encoder.vocab_size, encoder.end_of_text))
    first = [file for file in files if file.split != ANNEAL]  # the others are among them already
    n_documents = sum(file.documents for file in first)
    out.count("documents", n_documents, out=sum(file.tokens for file in first), out_unit="tokens")
    out.metrics["splits"] = totals_by(files, "split")
    out.metrics["domains"] = totals_by(first, "domain")


def encode_what_is_missing(
    documents: Corpus,
    tokenizer: Vocabulary,
    params: TokensParams,
    out: Draft,
    sizes: Sequence[int],
    groups: Sequence[range],
) -> None:
    """Encode the parts of the groups that are not done; finished parts of an earlier run are left as they are."""
    for partial in out.keep.glob("*.tmp"):
        shutil.rmtree(partial, ignore_errors=True)
    wanted = [part for number, parts in enumerate(groups) if not _done(out.keep, number) for part in parts]
    jobs = [
        EncodeJob(
            store=str(documents.store.root),
            documents=documents.ref,
            tokenizer=tokenizer.ref,
            part=part,
            n_bytes=sizes[part],
            keep=str(out.keep),
            annealing=params.annealing,
        )
        for part in wanted
    ]

    def tell(done: int) -> None:
        before = len(sizes) - len(jobs)
        out.progress(before + done, len(sizes), f"{before + done} of {len(sizes)} parts encoded")

    encode_parts(jobs, out.runtime, tell)


def _done(keep: Path, number: int) -> bool:
    return is_done(group_folder(keep, number))


def totals_by(files: Sequence[TokenFile], field: str) -> dict[str, dict[str, int]]:
    """name -> {"documents", "tokens", "bytes"} by "split" or "domain". Bytes are UTF-8, of the text."""
    totals: dict[str, dict[str, int]] = {}
    for file in in_stream_order(files):
        entry = totals.setdefault(getattr(file, field), {"documents": 0, "tokens": 0, "bytes": 0})
        entry["documents"] += file.documents
        entry["tokens"] += file.tokens
        entry["bytes"] += file.n_bytes
    return totals
