"""The `chat-data` stage: conversations to learn answering from, and preferences to learn better answers from.

Conversations are mined from the final text of a mix (`mine.py`), read from a user's files (`rows.py`), or both. A page
lends its side of the split to its questions, so that held-out questions come from held-out pages. A question or an
answer occurs once in all files; where a training page and a held-out one say the same, the held-out one keeps it.
Documents and lines are streamed; what is held is one 64-bit number a question and one an answer.
"""

import re
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

import xxhash
from pydantic import Field

from infra.errors import BadInput
from infra.params import Params
from infra.split import SPLITS, Split, SplitParams
from infra.stage import Draft, Source, stage
from tasks.chat import Message
from tasks.chat_data.mine import LANGUAGES, Pair, mine
from tasks.chat_data.rejected import reject
from tasks.chat_data.rows import BadRowError, Conversation, Preference, parse_row, read_lines
from tasks.corpus import Corpus, read_labels, read_texts
from tasks.documents import part_count
from tasks.tokenizer import picked

HELD_OUT: tuple[Split, ...] = ("test", "validation")
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
        self.questions: Counter[str] = Counter()  # questions of documents and lines: kept, or why not
        self.kept: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
        self.preferences: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}


class Files:
    """The six files of the artifact, open for writing."""

    def __init__(self, path: Callable[[str], Path], opened: ExitStack) -> None:
        def create(name: str) -> TextIO:
            return opened.enter_context(path(name).open("w", encoding="utf-8", newline="\n"))

        self.conversations = {split: create(f"{split}.jsonl") for split in SPLITS}
        self.preferences = {split: create(f"preferences-{split}.jsonl") for split in SPLITS}


class Once:
    """Questions and answers seen so far, by a hash of their words."""

    def __init__(self) -> None:
        self._questions: set[int] = set()
        self._answers: set[int] = set()

    def repeats(self, question: str, answer: str) -> str | None:
        """`duplicate_question` or `duplicate_answer`; else None, and both are taken."""
        asked, said = _fingerprint(question), _fingerprint(answer)
        if asked in self._questions:
            return "duplicate_question"
        if said in self._answers:
            return "duplicate_answer"
        self._questions.add(asked)
        self._answers.add(said)
        return None


class Collector:
    """Takes conversations in order, leaves out repeated ones, adds preferences and writes both."""

    def __init__(self, files: Files, params: ChatDataParams) -> None:
        self.ledger = Ledger()
        self._files = files
        self._params = params
        self._once = Once()
        self._others: dict[str, deque[str]] = {split: deque(maxlen=OTHER_PAGES) for split in SPLITS}

    def add(self, conversations: list[Conversation]) -> int:
        """Write what is new among the conversations of one document or line; returns how many."""
        fresh = []
        for conversation in conversations:
            reason = self._once.repeats(" ".join(m["content"] for m in conversation.prompt), conversation.answer)
            if reason:
                self.ledger.questions[reason] += 1
            else:
                fresh.append(conversation)
        kept = self._within_limit(fresh)
        self.ledger.questions["beyond_max_per_document"] += len(fresh) - len(kept)
        self.ledger.questions["kept"] += len(kept)
        answers = [conversation.answer for conversation in kept]
        for place, conversation in enumerate(kept):
            self._files.conversations[conversation.split].write(conversation.to_json() + "\n")
            self.ledger.kept[conversation.split][conversation.kind] += 1
            if self._params.preferences:
                self._reject(conversation, answers[:place] + answers[place + 1 :])
        for conversation in kept:
            self._others[conversation.split].append(conversation.answer)
        return len(kept)

    def prefer(self, preference: Preference) -> None:
        """Write a preference that a user's file gives."""
        self._files.preferences[preference.split].write(preference.to_json() + "\n")
        self.ledger.preferences[preference.split][preference.kind] += 1

    def _within_limit(self, conversations: list[Conversation]) -> list[Conversation]:
        """At most `max_per_document`, chosen by hash and left in the order of the text."""
        ranked = sorted(conversations, key=lambda conversation: _fingerprint(conversation.question))
        chosen = set(map(id, ranked[: self._params.max_per_document]))
        return [conversation for conversation in conversations if id(conversation) in chosen]

    def _reject(self, conversation: Conversation, same_page: list[str]) -> None:
        others = list(self._others[conversation.split])
        worse = reject(conversation.question, conversation.answer, same_page, others)
        if worse is not None:
            kind, text = worse
            self.prefer(
                Preference(
                    conversation.prompt, conversation.answer, text, conversation.doc_id, conversation.split, kind
                )
            )


@stage("chat-data", version=1, tables={})
def chat_data(documents: Corpus | None, source: Source | None, params: ChatDataParams, out: Draft) -> None:
    """Mine conversations and preferences from a mix, read them from files, or both.

    Raises:
        BadInput: neither is given, or nothing usable was found in them.
    """
    if documents is None and source is None:
        raise BadInput("chat-data needs documents to mine, files of conversations as its source, or both")
    with ExitStack() as opened:
        collector = Collector(Files(out.path, opened), params)
        for splits in (HELD_OUT, ("train",)):  # held-out pages first: what they say is theirs
            for number, file in enumerate(source.files if source else ()):
                collect_file(Path(file.path), file.name, splits, params, collector, count=splits == HELD_OUT)
                out.progress(number + 1, len(source.files) if source else 0, f"{file.name}: {', '.join(splits)}")
            if documents is not None:
                for part in range(part_count(documents)):
                    collect_part(documents, part, splits, params, collector)
                    kept = collector.ledger.questions["kept"]
                    out.progress(part + 1, part_count(documents), f"{kept:,} conversations; now {', '.join(splits)}")
    ledger = collector.ledger
    kept_rows = sum(counter.total() for counter in (*ledger.kept.values(), *ledger.preferences.values()))
    if not kept_rows:
        given = [documents.ref] if documents else []
        given += [file.name for file in source.files] if source else []
        raise BadInput(f"chat-data found no conversation in {', '.join(given)}: {dict(sorted(ledger.records.items()))}")
    report(ledger, documents, source, out)


def collect_part(
    documents: Corpus, part: int, splits: tuple[Split, ...], params: ChatDataParams, collector: Collector
) -> None:
    """Mine the documents of one part that are on these sides of the split."""
    labels = read_labels(documents, part)
    wanted = [index for index, label in enumerate(labels) if label.split in splits]
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
            split = next(split for split in splits if split == label.split)
            added = collector.add([conversation_of(pair, label.doc_id, split) for pair in pairs])
            reason = "used" if added else "only_repeated_questions" if pairs else "no_question"
            collector.ledger.records[reason] += 1


def collect_file(
    path: Path, name: str, splits: tuple[Split, ...], params: ChatDataParams, collector: Collector, count: bool
) -> None:
    """Take the rows of one file that are on these sides of the split.

    Args:
        count: count the lines that hold no row; the file is read once for each side.
    """
    for row in rows_of(path, name, params.split):
        if isinstance(row, str):
            collector.ledger.records[row] += count
        elif row.split in splits and isinstance(row, Preference):
            collector.prefer(row)
            collector.ledger.records["used"] += 1
        elif row.split in splits and isinstance(row, Conversation):
            added = collector.add([row])
            collector.ledger.records["used" if added else "only_repeated_questions"] += 1


def rows_of(path: Path, name: str, split: SplitParams) -> Iterator[Conversation | Preference | str]:
    """The row of each line of a file, or the reason why it holds none."""
    for number, line in read_lines(path):
        try:
            yield parse_row(line, f"{name}:{number}", split) if line is not None else "too_long"
        except BadRowError as error:
            yield str(error)


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
    for split in SPLITS:
        if not ledger.kept[split]:
            out.log.warning("chat-data holds no %s conversation: too few pages on that side of the split", split)


def _sorted(counter: Counter[str]) -> dict[str, int]:
    return {name: counter[name] for name in sorted(counter) if counter[name]}


def _fingerprint(text: str) -> int:
    """A hash of a text's words: case, punctuation and blanks do not make a question another one."""
    return xxhash.xxh3_64_intdigest(" ".join(re.findall(r"\w+", text.lower())).encode())
