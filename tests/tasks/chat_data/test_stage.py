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
        document(91, text=PAGES[1]["text"]),  # asks what the limit has left of the page
        document(92, language="de"),
        document(93, text=""),
        document(94, text=PAGES[1]["text"]),
    ]
    made = chat_data.run(store, documents=mixture(store, [PAGES, odd]), params=ChatDataParams(max_per_document=3))
    counts, metrics = made.manifest.counts, made.manifest.metrics
    assert counts.in_.n == 29
    assert counts.dropped == {"no_question": 2, "no_questions_in_its_language": 1, "only_repeats": 1}
    assert counts.used == 25
    kept = {split: len(rows) for split, rows in conversations(made).items()}
    assert kept == {split: sum(metrics["conversations"][split].values()) for split in SPLITS}
    assert counts.out.n == sum(kept.values()) == metrics["questions"]["kept"] == 24 * 3 + 1
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
    assert counts.dropped == {"not_json": 1, "duplicate_conversation": 1}
    assert made.manifest.metrics["examples_left_out"] == {
        "not_json": "a.jsonl:3",
        "duplicate_conversation": "a.jsonl:4",
    }


def chat_line(question: str, answer: str, **fields: str) -> str:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": messages, **fields})


def pair_line(question: str, chosen: str, rejected: str, **fields: str) -> str:
    return json.dumps({"prompt": question, "chosen": chosen, "rejected": rejected, **fields})


@pytest.mark.parametrize("names", [("a", "b", "c"), ("c", "b", "a"), ("b", "c", "a")])
def test_no_side_is_given_what_another_side_asks_whatever_the_order_of_files(
    store: Store, names: tuple[str, str, str]
) -> None:
    first = chat_data.run(store, documents=mixture(store, [PAGES]), params=ChatDataParams())
    asked = [row for split in ("validation", "test") for row in conversations(first)[split]]
    fed_back = [pair_line(row.question, row.answer, "No idea.", split="train") for row in asked]
    said = [pair_line(f"Say it another way: {row.question}", row.answer, "No.", split="train") for row in asked]
    given = dict(
        zip(
            names,
            (
                "\n".join([*fed_back, *said, pair_line("H?", "good", "bad", split="train")]),
                pair_line("H?", "better", "worse", split="validation"),
                "\n".join([chat_line("H?", "Yes.", split="train"), chat_line("T?", "Yes.", split="test")]),
            ),
            strict=True,
        )
    )
    made = chat_data.run(
        store, documents=mixture(store, [PAGES]), source=sources(store, **given), params=ChatDataParams()
    )
    counts, metrics = made.manifest.counts, made.manifest.metrics
    assert counts.dropped == {"held_out_question": len(fed_back) + 2, "held_out_answer": len(said)}
    assert preferences(made)["train"] == preferences(first)["train"]
    assert [row.chosen for row in preferences(made)["validation"] if row.kind == "given"] == ["better"]
    assert conversations(made)["train"] == conversations(first)["train"]
    for name in ("questions", "pairs"):
        assert metrics[name]["found"] == sum(n for reason, n in metrics[name].items() if reason != "found")
    assert metrics["pairs"]["kept"] == sum(len(rows) for rows in preferences(made).values())


def test_a_given_pair_is_taken_once(store: Store) -> None:
    lines = [pair_line("Q?", "good", "bad", split="train"), pair_line("Q?", "good", "worse", split="train")]
    made = chat_data.run(store, source=sources(store, a="\n".join(lines * 3)), params=ChatDataParams())
    assert [row.rejected for row in preferences(made)["train"]] == ["bad", "worse"]
    assert made.manifest.counts.dropped == {"duplicate_pair": 4}


def test_a_pair_that_a_file_gives_is_not_built_again(store: Store) -> None:
    first = chat_data.run(store, documents=mixture(store, [PAGES]), params=ChatDataParams())
    given = sources(store, a="\n".join(row.to_json() for row in preferences(first)["train"]))
    made = chat_data.run(store, documents=mixture(store, [PAGES]), source=given, params=ChatDataParams())
    assert preferences(made) == preferences(first)
    assert made.manifest.metrics["pairs"]["duplicate_pair"] == len(preferences(first)["train"])


def test_questions_with_the_same_few_answers_are_all_taken(store: Store) -> None:
    lines = [chat_line(f"Is {n} even?", ("Yes.", "No.")[n % 2]) for n in range(200)]
    made = chat_data.run(store, source=sources(store, a="\n".join(lines)), params=ChatDataParams())
    assert sum(map(len, conversations(made).values())) == made.manifest.counts.used == 200
    assert all(conversations(made).values())


def test_another_answer_to_the_same_question_is_not_the_worse_one(store: Store) -> None:
    lines = [chat_line(f"Name a tree, number {n // 2}.", f"The tree{n} is one.", split="train") for n in range(80)]
    made = chat_data.run(store, source=sources(store, a="\n".join(lines)), params=ChatDataParams())
    others = {row.answer: row.question for row in conversations(made)["train"]}
    pairs = [row for row in preferences(made)["train"] if row.kind == "other_page"]
    assert len(others) == 80 and pairs
    assert all(others[row.rejected] != row.prompt[-1]["content"] for row in pairs)


def test_what_the_limit_drops_may_be_said_by_another_page(store: Store) -> None:
    documents = mixture(store, [[document(1), document(2, text=page(1))]])
    made = chat_data.run(store, documents=documents, params=ChatDataParams(max_per_document=2))
    rows = conversations(made)["train"]
    assert [row.doc_id for row in rows] == ["train001"] * 2 + ["train002"] * 2
    assert len({row.answer for row in rows}) == 4
    assert made.manifest.metrics["questions"] == {
        "found": 8,
        "kept": 4,
        "beyond_max_per_document": 2,
        "duplicate_question": 2,
    }


def test_a_row_that_utf8_cannot_hold_costs_that_row_only(store: Store) -> None:
    lines = [
        chat_line("One?", "First.", split="train"),
        chat_line("Two?", "Second.", doc_id="page \ud83d"),
        pair_line("Three?", "good", "bad", kind="x\udc00"),
    ]
    made = chat_data.run(store, source=sources(store, a="\n".join(lines)), params=ChatDataParams())
    assert len(conversations(made)["train"]) == 1
    assert made.manifest.counts.dropped == {"bad_doc_id": 1, "bad_kind": 1}
    assert made.manifest.metrics["examples_left_out"] == {"bad_doc_id": "a.jsonl:2", "bad_kind": "a.jsonl:3"}


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
