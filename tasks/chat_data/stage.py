"""The `chat-data` stage: conversations to learn answering from, and preferences to learn better answers from.

Conversations are mined from the final text of a mix (`mine.py`), read from a user's files (`rows.py`), or both. A page
lends its side of the split to its questions, so that held-out questions come from held-out pages. All sources are read
once a side, held-out sides first, and nothing is written that a side before has taken (`once.py`). Documents and lines
are streamed.
"""

from collections import Counter, deque
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from pydantic import Field

from infra.errors import BadInput
from infra.params import Params
from infra.split import SPLITS, Split, SplitParams
from infra.stage import Draft, Source, stage
from tasks.chat import Message
from tasks.chat_data.mine import LANGUAGES, Pair, mine
from tasks.chat_data.once import Once, fingerprint
from tasks.chat_data.rejected import reject
from tasks.chat_data.rows import BadRowError, Conversation, Preference, parse_row, read_lines
from tasks.corpus import Corpus, read_labels, read_texts
from tasks.documents import part_count
from tasks.tokenizer import picked

SIDES: tuple[Split, ...] = ("test", "validation", "train")  # in the order they are collected: the first to ask keeps it
OTHER_PAGES = 64  # answers of pages before that a rejected one may be taken from


class ChatDataParams(Params):
    """What is mined."""

    share: float = Field(1.0, gt=0, le=1, description="Share of the mix's documents to mine, picked by doc_id.")
    max_per_document: int = Field(12, ge=1, description="Questions a document gives at most.")
    max_answer_chars: int = Field(320, ge=40, description="Longest answer, in code points.")
    preferences: bool = Field(True, description="Build a worse answer to each question, for preference learning.")
    split: SplitParams = Field(
        default_factory=SplitParams, description="Sides of a file's rows that name none; pages bring theirs."
    )
    seed: int = Field(0, description="Seed of the sample of documents.")


class Ledger:
    """What became of everything that came in."""

    def __init__(self) -> None:
        self.records: Counter[str] = Counter()  # documents and lines: used, or why not
        self.examples: dict[str, str] = {}  # a line that was left out, by reason
        self.questions: Counter[str] = Counter()  # questions of documents and lines: kept, or why not
        self.pairs: Counter[str] = Counter()  # preferences that lines give or that are built: kept, or why not
        self.kept: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
        self.preferences: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}

    def leave_out(self, reason: str, place: str) -> None:
        """Count a line that is not used."""
        self.records[reason] += 1
        self.examples.setdefault(reason, place)


class Files:
    """The six files of the artifact, open for writing."""

    def __init__(self, path: Callable[[str], Path], opened: ExitStack) -> None:
        def create(name: str) -> TextIO:
            return opened.enter_context(path(name).open("w", encoding="utf-8", newline="\n"))

        self.conversations = {split: create(f"{split}.jsonl") for split in SPLITS}
        self.preferences = {split: create(f"preferences-{split}.jsonl") for split in SPLITS}


class Collector:
    """Takes rows in order, leaves out repeated ones, builds preferences and writes both."""

    def __init__(self, files: Files, params: ChatDataParams) -> None:
        self.ledger = Ledger()
        self._files = files
        self._params = params
        self._once = Once()
        self._others: dict[str, deque[Conversation]] = {split: deque(maxlen=OTHER_PAGES) for split in SPLITS}

    def add_page(self, conversations: list[Conversation]) -> int:
        """Write what is new among the conversations mined from one page; returns how many."""
        kept = self._new_ones(conversations)
        answers = [conversation.answer for conversation in kept]
        for place, conversation in enumerate(kept):
            self._write(conversation, answers[:place] + answers[place + 1 :])
        for conversation in kept:
            self._others[conversation.split].append(conversation)
        return len(kept)

    def add_row(self, row: Conversation | Preference) -> str | None:
        """Write a row that a user's file gives; returns the reason if it is left out."""
        reason = self._once.refusal(row, mined=False)
        counter = self.ledger.pairs if isinstance(row, Preference) else self.ledger.questions
        counter[reason or "kept"] += 1
        if reason is not None:
            return reason
        self._once.take(row, mined=False)
        if isinstance(row, Preference):
            self._write_pair(row)
        else:
            self._write(row, [])
            self._others[row.split].append(row)
        return None

    def _new_ones(self, conversations: list[Conversation]) -> list[Conversation]:
        """Those that are new, at most `max_per_document`, chosen by hash and left in the order of the text."""
        chosen: set[int] = set()
        for place in sorted(range(len(conversations)), key=lambda place: fingerprint(conversations[place].question)):
            reason = self._once.refusal(conversations[place], mined=True)
            if reason is None and len(chosen) == self._params.max_per_document:
                reason = "beyond_max_per_document"
            self.ledger.questions[reason or "kept"] += 1
            if reason is None:
                self._once.take(conversations[place], mined=True)
                chosen.add(place)
        return [conversation for place, conversation in enumerate(conversations) if place in chosen]

    def _write(self, conversation: Conversation, same_page: list[str]) -> None:
        self._files.conversations[conversation.split].write(conversation.to_json() + "\n")
        self.ledger.kept[conversation.split][conversation.kind] += 1
        if self._params.preferences:
            self._reject(conversation, same_page)

    def _write_pair(self, pair: Preference) -> None:
        self._files.preferences[pair.split].write(pair.to_json() + "\n")
        self.ledger.preferences[pair.split][pair.kind] += 1

    def _reject(self, conversation: Conversation, same_page: list[str]) -> None:
        """Build a pair. Another answer to the same question is none that is worse."""
        others = [other.answer for other in self._others[conversation.split] if other.prompt != conversation.prompt]
        worse = reject(conversation.question, conversation.answer, same_page, others)
        if worse is None:
            self.ledger.pairs["no_worse_answer"] += 1
            return
        kind, text = worse
        pair = Preference(conversation.prompt, conversation.answer, text, conversation.doc_id, conversation.split, kind)
        new = self._once.take_built(pair)
        self.ledger.pairs["kept" if new else "duplicate_pair"] += 1
        if new:
            self._write_pair(pair)


@stage("chat-data", version=2, tables={})
def chat_data(documents: Corpus | None, source: Source | None, params: ChatDataParams, out: Draft) -> None:
    """Mine conversations and preferences from a mix, read them from files, or both.

    Raises:
        BadInput: neither is given, or nothing usable was found in them.
    """
    if documents is None and source is None:
        raise BadInput("chat-data needs documents to mine, files of conversations as its source, or both")
    with ExitStack() as opened:
        collector = Collector(Files(out.path, opened), params)
        for side in SIDES:
            for number, file in enumerate(source.files if source else ()):
                collect_file(Path(file.path), file.name, side, params, collector)
                out.progress(number + 1, len(source.files) if source else 0, f"{file.name}: {side}")
            if documents is not None:
                for part in range(part_count(documents)):
                    collect_part(documents, part, side, params, collector)
                    kept = collector.ledger.questions["kept"]
                    out.progress(part + 1, part_count(documents), f"{kept:,} conversations; now {side}")
    ledger = collector.ledger
    kept_rows = sum(counter.total() for counter in (*ledger.kept.values(), *ledger.preferences.values()))
    if not kept_rows:
        given = [documents.ref] if documents else []
        given += [file.name for file in source.files] if source else []
        raise BadInput(f"chat-data found no conversation in {', '.join(given)}: {dict(sorted(ledger.records.items()))}")
    report(ledger, documents, source, out)


def collect_part(documents: Corpus, part: int, side: Split, params: ChatDataParams, collector: Collector) -> None:
    """Mine the documents of one part that are on this side of the split."""
    labels = read_labels(documents, part)
    wanted = [index for index, label in enumerate(labels) if label.split == side]
    if not wanted:
        return
    texts = read_texts(documents, part)
    for index in wanted:
        label = labels[index]
        if not picked(label.doc_id, params.share, params.seed):
            collector.ledger.records["not_sampled"] += 1
        elif label.language not in LANGUAGES:
            collector.ledger.records["no_questions_in_its_language"] += 1
        else:
            pairs = mine(texts[index].as_py(), params.max_answer_chars)
            added = collector.add_page([conversation_of(pair, label.doc_id, side) for pair in pairs])
            collector.ledger.records["used" if added else "only_repeats" if pairs else "no_question"] += 1


def collect_file(path: Path, name: str, side: Split, params: ChatDataParams, collector: Collector) -> None:
    """Take the rows of one file that are on this side of the split. Lines without a row count with the first side."""
    for number, line in read_lines(path):
        place = f"{name}:{number}"
        row = row_of(line, place, params.split)
        if isinstance(row, str):
            if side == SIDES[0]:
                collector.ledger.leave_out(row, place)
        elif row.split == side:
            reason = collector.add_row(row)
            if reason is None:
                collector.ledger.records["used"] += 1
            else:
                collector.ledger.leave_out(reason, place)


def row_of(line: bytes | None, place: str, split: SplitParams) -> Conversation | Preference | str:
    """The row of a line of a file, or the reason why it holds none."""
    try:
        return parse_row(line, place, split) if line is not None else "too_long"
    except BadRowError as error:
        return str(error)


def conversation_of(pair: Pair, doc_id: str, split: Split) -> Conversation:
    """A mined question and answer as a conversation of two turns."""
    messages = (Message(role="user", content=pair.question), Message(role="assistant", content=pair.answer))
    return Conversation(messages, doc_id, split, pair.kind)


def report(ledger: Ledger, documents: Corpus | None, source: Source | None, out: Draft) -> None:
    """Counts and metrics of the artifact."""
    unit = " and ".join(filter(None, ["documents" if documents else "", "lines" if source else ""]))
    dropped = {reason: n for reason, n in ledger.records.items() if reason != "used"}
    n_conversations = sum(counter.total() for counter in ledger.kept.values())
    out.count(unit, ledger.records.total(), dropped=dropped, out=n_conversations, out_unit="conversations")
    out.metrics["conversations"] = {split: _sorted(ledger.kept[split]) for split in SPLITS}
    out.metrics["preferences"] = {split: _sorted(ledger.preferences[split]) for split in SPLITS}
    out.metrics["questions"] = {"found": ledger.questions.total(), **_sorted(ledger.questions)}
    out.metrics["pairs"] = {"found": ledger.pairs.total(), **_sorted(ledger.pairs)}
    for reason, place in sorted(ledger.examples.items()):
        out.log.warning("chat-data left out %d line(s) as %s, such as %s", ledger.records[reason], reason, place)
    out.metrics["examples_left_out"] = dict(sorted(ledger.examples.items()))
    for split in SPLITS:
        if not ledger.kept[split]:
            out.log.warning("chat-data holds no %s conversation: too few pages on that side of the split", split)


def _sorted(counter: Counter[str]) -> dict[str, int]:
    return {name: counter[name] for name in sorted(counter) if counter[name]}
