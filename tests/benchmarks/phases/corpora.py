"""Documents of one's own on the way that every corpus takes: `imported`, then the stages mix, tokenizer and tokens."""

import gzip
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from infra.canonical import digest
from infra.params import Params, Runtime
from infra.stage import Draft, Stage
from infra.store import Artifact, Store
from model.indexed import IndexedDataset
from tasks.documents import iter_documents
from tasks.encoding import Encoder
from tasks.evaluate.prediction import HeldOut, take_heldout, token_bytes
from tasks.mix import MixParams, mix
from tasks.tokenizer import TokenizerParams, train_tokenizer
from tasks.tokens.files import prefixes, token_files
from tasks.tokens.stage import TokensParams, tokens

IMPORTED = pa.schema([("doc_id", pa.string()), ("url", pa.string()), ("text", pa.string()), ("quality", pa.float32())])


@dataclass(frozen=True)
class Document:
    """One text. Documents of one `url` are on one side of the split."""

    doc_id: str
    text: str
    url: str | None = None
    quality: float | None = None


@dataclass(frozen=True)
class Corpus:
    """What training needs."""

    store: Store
    mix: Artifact
    tokenizer: Artifact
    tokens: Artifact

    @property
    def encoder(self) -> Encoder:
        """The tokenizer, loaded."""
        return Encoder.load(self.tokenizer.file("tokenizer.json").parent)

    def held_out(self, most_tokens: int = 1 << 60) -> tuple[HeldOut, list[str]]:
        """(the documents of split test in the order of their tokens, their ids)."""
        files = token_files(self.tokens, "test")
        found = take_heldout(
            [IndexedDataset(prefix) for prefix in prefixes(self.tokens, files)],
            token_bytes(self.encoder),
            most_tokens,
        )
        rows = self.tokens.read_table("documents", ["doc_id", "split", "file", "token_start"]).to_pylist()
        order = {file.file: number for number, file in enumerate(files)}
        rows = [row for row in rows if row["split"] == "test"]
        rows.sort(key=lambda row: (order[row["file"]], row["token_start"]))
        assert len(rows) == len(found.n_bytes), "every document is taken"
        return found, [row["doc_id"] for row in rows]


class ImportedParams(Params):
    """Stands for the texts."""

    content: str


def prepare(store: Store, documents: Sequence[Document], mixing: MixParams, tokenizing: TokenizerParams) -> Corpus:
    """Bring documents to where training begins."""
    made = mix.run(store, documents=imported(store, documents), params=mixing, runtime=Runtime(cores=1))
    tokenizer = train_tokenizer.run(store, documents=made, params=tokenizing)
    return Corpus(store, made, tokenizer, tokens.run(store, documents=made, tokenizer=tokenizer, params=TokensParams()))


def imported(store: Store, documents: Sequence[Document]) -> Artifact:
    """Commit documents as an artifact of stage `imported`."""
    columns = [[getattr(document, name) for document in documents] for name in IMPORTED.names]

    def write(params: ImportedParams, out: Draft) -> None:
        out.write("documents", pa.table(dict(zip(IMPORTED.names, columns, strict=True)), schema=IMPORTED), part=0)
        out.count("documents", len(documents), out=len(documents))

    made = Stage(
        write,
        name="imported",
        version=0,
        libraries=(),
        tables={"documents": IMPORTED},
        one_to_one=False,
        fingerprint=None,
    )
    return made.run(store, params=ImportedParams(content=digest(columns)))


def read_texts(path: Path) -> Iterator[str]:
    """The texts of a .jsonl or .jsonl.gz file, whose lines hold a field `text`."""
    opened: Callable = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)["text"]


def texts_of(store: str, ref: str) -> Iterator[str]:
    """The texts that an artifact of a store stands for: of a mix, or of any stage before it."""
    for table in iter_documents(Store(Path(store)).open(ref), ["text"]):
        yield from table["text"].to_pylist()


def cut(text: str, most: int) -> str:
    """The beginning of a text, to the end of a paragraph where there is one in its second half."""
    if len(text) <= most:
        return text
    end = text.rfind("\n\n", most // 2, most)
    return text[: end if end > 0 else most]
