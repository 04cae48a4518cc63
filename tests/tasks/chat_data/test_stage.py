"""The chat-data stage: held-out questions from held-out pages, nothing twice, everything counted."""

import json
from pathlib import Path

import pytest

from infra.canonical import digest
from infra.errors import BadInput
from infra.stage import Source
from infra.store import Artifact, Store
from infra.store.digests import DigestCache
from tasks.chat_data import ChatDataParams, chat_data
from tasks.chat_data.rows import Conversation, Preference, read_conversations, read_preferences
from tests.tasks.mixtures import mixture

SPLITS = ("train", "validation", "test")
WORDS = ("bread", "heap", "queue", "river", "engine", "garden", "mirror", "island", "ladder", "violin")


def page(number: int, sections: int = 4) -> str:
    lines = [f"The handbook of {WORDS[number % 10]} number{number}"]
    for section in range(sections):
        thing = f"{WORDS[(number + section) % 10]}{number}x{section}"
        lines += [f"Keeping a {thing} safe", f"The {thing} is stored in a dry place and is looked at every morning."]
    return "\n".join(lines)


def document(number: int, split: str = "train", text: str | None = None, language: str = "en") -> dict[str, str]:
    return {
        "doc_id": f"{split}{number:03d}",
        "text": text if text is not None else page(number),
        "split": split,
        "domain": "general",
        "language": language,
    }


PAGES = [document(n, SPLITS[0 if n % 4 else 1 + (n // 4) % 2]) for n in range(24)]


def sources(store: Store, **files: str) -> Source:
    folder = store.root / "given"
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / f"{name}.jsonl").write_text(content)
    return Source.of_files(sorted(folder.glob("*.jsonl")), DigestCache(store.root / "digests.json"))


def conversations(made: Artifact) -> dict[str, list[Conversation]]:
    return {split: read_conversations(made.file(f"{split}.jsonl")) for split in SPLITS}


def preferences(made: Artifact) -> dict[str, list[Preference]]:
    return {split: read_preferences(made.file(f"preferences-{split}.jsonl")) for split in SPLITS}


def test_questions_take_the_side_of_their_page(store: Store) -> None:
    made = chat_data.run(store, documents=mixture(store, [PAGES[:9], PAGES[9:]]), params=ChatDataParams())
    for split, rows in conversations(made).items():
        assert rows
        assert all(row.split == split and row.doc_id.startswith(split) for row in rows)
        texts = {page["doc_id"]: page["text"] for page in PAGES}
        assert all(row.answer in texts[row.doc_id] for row in rows)


def test_counts_add_up(store: Store) -> None:
    odd = [
        document(90, text="Nothing to ask here"),
        document(91, text=PAGES[1]["text"]),
        document(92, language="de"),
        document(93, text=""),
    ]
    made = chat_data.run(store, documents=mixture(store, [PAGES, odd]), params=ChatDataParams(max_per_document=3))
    counts, metrics = made.manifest.counts, made.manifest.metrics
    assert counts.in_.n == 28
    assert counts.dropped == {"no_question": 2, "no_questions_in_its_language": 1, "only_repeated_questions": 1}
    assert counts.used == 24
    kept = {split: len(rows) for split, rows in conversations(made).items()}
    assert kept == {split: sum(metrics["conversations"][split].values()) for split in SPLITS}
    assert counts.out.n == sum(kept.values()) == metrics["questions"]["kept"] == 24 * 3
    assert metrics["questions"]["found"] == sum(n for name, n in metrics["questions"].items() if name != "found")
    pairs = {split: len(rows) for split, rows in preferences(made).items()}
    assert pairs == {split: sum(metrics["preferences"][split].values()) for split in SPLITS} == kept


def test_no_question_and_no_answer_occurs_twice_and_held_out_pages_keep_theirs(store: Store) -> None:
    copies = [document(50 + n, "train", PAGES[n]["text"].upper().title()) for n in range(0, 24, 4)]
    same = [document(70 + n, "train", PAGES[n]["text"]) for n in range(0, 24, 4)]
    made = chat_data.run(store, documents=mixture(store, [same + copies + PAGES]), params=ChatDataParams())
    rows = [row for split in SPLITS for row in conversations(made)[split]]
    for values in ([row.question.lower() for row in rows], [row.answer.lower() for row in rows]):
        assert len(values) == len(set(values))
    held_out = {row["doc_id"] for row in PAGES if row["split"] != "train"}
    assert held_out == {row.doc_id for split in ("validation", "test") for row in conversations(made)[split]}
    assert not any(row.doc_id.startswith("train07") for row in rows)


def test_worse_answers_come_from_their_own_side_of_the_split(store: Store) -> None:
    made = chat_data.run(store, documents=mixture(store, [PAGES]), params=ChatDataParams())
    for split, rows in preferences(made).items():
        texts = {page["doc_id"]: page["text"] for page in PAGES if page["split"] == split}
        for row in rows:
            assert row.chosen in texts[row.doc_id] and row.rejected != row.chosen
            if row.kind == "same_page":
                assert row.rejected in texts[row.doc_id]
            if row.kind == "other_page":
                assert row.rejected not in texts[row.doc_id]
                assert any(row.rejected in text for text in texts.values())


def test_parts_do_not_change_what_is_written(store: Store, tmp_path: Path) -> None:
    one = chat_data.run(store, documents=mixture(store, [PAGES]), params=ChatDataParams())
    many = chat_data.run(
        store, documents=mixture(store, [PAGES[n : n + 5] for n in range(0, 24, 5)]), params=ChatDataParams()
    )
    again = chat_data.run(
        Store(tmp_path / "b"), documents=mixture(Store(tmp_path / "b"), [PAGES]), params=ChatDataParams()
    )
    assert [entry.sha256 for entry in one.files()] == [entry.sha256 for entry in many.files()]
    assert [entry.sha256 for entry in one.files()] == [entry.sha256 for entry in again.files()]


def test_a_share_of_the_documents_is_mined(store: Store) -> None:
    made = chat_data.run(store, documents=mixture(store, [PAGES]), params=ChatDataParams(share=0.5, preferences=False))
    counts = made.manifest.counts
    assert 0 < counts.used < 24 and counts.dropped["not_sampled"] == 24 - counts.used
    assert not any(preferences(made).values())


def test_a_users_files_are_read_beside_documents(store: Store) -> None:
    def line(n: int, split: str) -> str:
        messages = [{"role": "user", "content": f"Q{n}?"}, {"role": "assistant", "content": f"Answer number {n}."}]
        return json.dumps({"messages": messages, "split": split})

    given = sources(
        store,
        a="\n".join([line(1, "train"), line(2, "test"), "no json", line(1, "train")]),
        b=json.dumps({"prompt": "P?", "chosen": "good", "rejected": "bad", "split": "validation"}) + "\n\n",
    )
    made = chat_data.run(store, documents=mixture(store, [PAGES]), source=given, params=ChatDataParams())
    rows = conversations(made)
    assert [row.answer for row in rows["train"] if row.kind == "given"] == ["Answer number 1."]
    assert [row.doc_id for row in rows["test"] if row.kind == "given"] == ["a.jsonl:2"]
    assert [(row.chosen, row.rejected) for row in preferences(made)["validation"] if row.kind == "given"] == [
        ("good", "bad")
    ]
    counts = made.manifest.counts
    assert counts.in_.n == 24 + 5
    assert counts.dropped == {"not_json": 1, "only_repeated_questions": 1}


def test_files_alone_are_enough(store: Store) -> None:
    row = {
        "messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello."}],
        "split": "train",
    }
    made = chat_data.run(store, source=sources(store, a=json.dumps(row)), params=ChatDataParams())
    assert len(conversations(made)["train"]) == 1
    assert not conversations(made)["test"]


def test_nothing_to_learn_from_is_an_error(store: Store) -> None:
    with pytest.raises(BadInput, match="or both"):
        chat_data.run(store, params=ChatDataParams())
    with pytest.raises(BadInput, match="found no conversation"):
        chat_data.run(store, documents=mixture(store, [[document(1, text="Nothing.")]]), params=ChatDataParams())
    with pytest.raises(BadInput, match="not_json"):
        chat_data.run(store, source=sources(store, a="nonsense"), params=ChatDataParams())


def test_contract_equal_pages_give_equal_rows(store: Store) -> None:
    """When this fails on purpose, raise the stage's version and put the new digest here."""
    made = chat_data.run(store, documents=mixture(store, [PAGES]), params=ChatDataParams())
    assert digest([entry.sha256 for entry in made.files()]) == "502a66f4e36a8ce1"
