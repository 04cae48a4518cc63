"""Other people's tokenizers: used as they are, with our special tokens, or refused in one line."""

import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from infra.errors import BadConfig, BadInput
from infra.stage import Source
from infra.store import Store
from tasks import encoding
from tasks.chat import IM_END, IM_START
from tasks.encoding import Encoder, write_hf_files, write_hf_tokenizer
from tasks.split_patterns import split_regex
from tasks.tokenizer import TokenizerParams, learn_bpe, train_tokenizer
from tasks.tokenizer.imported import import_tokenizer
from tests.tasks.mixtures import mixture
from tests.tasks.test_encoding import CHAT, HOSTILE, TEXTS

TRIED = [*TEXTS, HOSTILE, "</s> <s> [SEP]<|end_of_text|>", "\u4f60\u597d, \u0e20\u0e32\u0e29\u0e32 12345", "", " "]


def gpt2() -> Tokenizer:
    """Byte-level, GPT-2's way: its end of text is in the vocabulary of the model too."""
    tokenizer = learn_bpe([TEXTS], 600, "gpt2")
    spec = json.loads(tokenizer.to_str())
    end = len(spec["model"]["vocab"])
    spec["model"]["vocab"]["<|endoftext|>"] = end
    spec["added_tokens"] = [{**spec["added_tokens"][0], "id": end}]
    spec["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return Tokenizer.from_str(json.dumps(spec))


def llama3() -> Tokenizer:
    """Byte-level with every way to each token listed, whole words first, and a text's begin added."""
    spec = json.loads(learn_bpe([TEXTS], 600, "llama3").to_str())
    vocab = spec["model"]["vocab"]
    spec["model"]["merges"] = [
        [token[:cut], token[cut:]]
        for token in sorted(vocab, key=vocab.__getitem__)
        for cut in range(1, len(token))
        if token[:cut] in vocab and token[cut:] in vocab
    ]
    spec["model"]["ignore_merges"] = True
    first = len(vocab)
    spec["added_tokens"] = [
        {**spec["added_tokens"][0], "id": first + place, "content": name}
        for place, name in enumerate(["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"])
    ]
    tokenizer = Tokenizer.from_str(json.dumps(spec))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", first)]
    )
    return tokenizer


def llama2() -> Tokenizer:
    """SentencePiece's BPE: spaces as U+2581, bytes for what it does not know."""
    special = ["<unk>", "<s>", "</s>"]
    learner = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    learner.normalizer = normalizers.Replace(" ", "\u2581")
    learner.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=500, special_tokens=[*special, *(f"<0x{b:02X}>" for b in range(256))])
    )
    spec = json.loads(learner.to_str())
    spec["added_tokens"] = spec["added_tokens"][:3]
    tokenizer = Tokenizer.from_str(json.dumps(spec))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def t5() -> Tokenizer:
    """SentencePiece's Unigram, with </s> among the pieces at the best of all scores."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    tokenizer.train_from_iterator(
        TEXTS, trainers.UnigramTrainer(vocab_size=300, special_tokens=special, unk_token="<unk>", show_progress=False)
    )
    return tokenizer


def bert() -> Tokenizer:
    """WordPiece over lower-cased words, with [CLS] and [SEP] around each text."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(TEXTS, trainers.WordPieceTrainer(vocab_size=400, special_tokens=special))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def chat() -> Tokenizer:
    """Byte-level, with the markers of turns."""
    tokenizer = gpt2()
    tokenizer.add_special_tokens([IM_START, IM_END])
    return tokenizer


FAMILIES = {
    "gpt2": (gpt2, None, "<|endoftext|>", "tiktoken"),
    "llama3": (llama3, None, "<|end_of_text|>", "tiktoken"),
    "llama2": (llama2, None, "</s>", "tokenizers"),
    "t5": (t5, None, "</s>", "tokenizers"),
    "bert": (bert, "[SEP]", "[SEP]", "tokenizers"),
}


def imported(tokenizer: Tokenizer, folder: Path, end: str | None = None, pad: str | None = None) -> Encoder:
    made, names = import_tokenizer(tokenizer.to_str().encode(), "theirs.json", end, pad)
    write_hf_files(made, folder, names)
    return Encoder.load(folder)


@pytest.mark.parametrize("family", FAMILIES)
def test_ids_are_those_of_the_tokenizer_and_ours_come_after_them(family: str, tmp_path: Path) -> None:
    make, named, end, program = FAMILIES[family]
    theirs = make()
    encoder = imported(theirs, tmp_path, named)
    theirs.encode_special_tokens = True
    for text in TRIED:
        if family == "t5" and end in text:  # theirs takes it for the end of the text
            assert theirs.token_to_id(end) in theirs.encode(text, add_special_tokens=False).ids
            continue
        assert encoder.encode(text) == theirs.encode(text, add_special_tokens=False).ids
        assert encoder.decode(encoder.encode(text)) == theirs.decode(encoder.encode(text), skip_special_tokens=False)
    assert encoder.encode_batch(TRIED) == [encoder.encode(text) for text in TRIED]
    assert [ids.tolist() for ids in encoder.encode_documents(TRIED)] == encoder.encode_batch(TRIED)
    assert encoder.end_of_text == theirs.token_to_id(end)
    size = max(theirs.get_vocab().values()) + 1
    assert [encoder.im_start, encoder.im_end, encoder.pad] == [size, size + 1, size + 2]
    assert encoder.vocab_size == size + 3
    assert (encoder.fast is not None) == (program == "tiktoken")
    assert json.loads((tmp_path / "encoder.json").read_text())["encoder"] == program


@pytest.mark.parametrize("family", FAMILIES)
def test_no_special_token_comes_out_of_text(family: str, tmp_path: Path) -> None:
    make, named, end, _ = FAMILIES[family]
    encoder = imported(make(), tmp_path, named)
    theirs = [token for token in encoder.tokenizer.get_added_tokens_decoder().values() if token.special]
    names = {token.content for token in theirs} - {"<unk>", "[UNK]"}
    assert {end, encoder.names.pad} < names
    special = {encoder.tokenizer.token_to_id(name) for name in names}
    for name in names:
        for text in (HOSTILE, name, f"a{name}b", f" {name}\n{name}", f"a {name} {name}b"):
            assert not set(encoder.encode(text)) & special


@pytest.mark.parametrize("family", ["gpt2", "llama3", "llama2"])
def test_texts_come_back_where_the_tokenizer_keeps_them(family: str, tmp_path: Path) -> None:
    make, named, _, _ = FAMILIES[family]
    encoder = imported(make(), tmp_path, named)
    for text in TEXTS:
        assert encoder.decode(encoder.encode(text)) == text


@pytest.mark.parametrize("family", FAMILIES)
def test_bytes_of_tokens_sum_to_the_text_that_comes_back(family: str, tmp_path: Path) -> None:
    make, named, _, _ = FAMILIES[family]
    encoder = imported(make(), tmp_path, named)
    sizes = encoder.token_bytes()
    assert sizes.shape == (encoder.vocab_size,) and not sizes[list(encoder.special_ids.values())].any()
    for text in TEXTS:
        back = len(encoder.decode(encoder.encode(text)).encode())
        leading_space = 0 if family in ("gpt2", "llama3") else 1
        assert abs(int(sizes[encoder.encode(text)].sum()) - back - leading_space) <= (
            0.05 * back if family == "bert" else 0
        )


@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_gives_our_ids_from_the_folders(family: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    make, named, _, _ = FAMILIES[family]
    encoder = imported(make(), tmp_path / "tokenizer", named)
    theirs = AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    assert theirs(TEXTS)["input_ids"] == encoder.encode_batch(TEXTS)
    assert (theirs.eos_token_id, theirs.pad_token_id) == (encoder.end_of_text, encoder.pad)
    write_hf_tokenizer(tmp_path / "tokenizer", tmp_path / "chat", chat=True)
    again = Encoder.load(tmp_path / "chat")
    assert (again.special_ids, again.vocab_size) == (encoder.special_ids, encoder.vocab_size)
    assert AutoTokenizer.from_pretrained(tmp_path / "chat").eos_token_id == encoder.im_end
    assert again.render_chat(CHAT) == encoder.render_chat(CHAT)


def test_markers_that_are_there_keep_their_ids(tmp_path: Path) -> None:
    theirs = gpt2()
    theirs.add_special_tokens([IM_START, IM_END, "<pad>"])
    encoder = imported(theirs, tmp_path, pad="<pad>")
    assert encoder.special_ids == {
        name: theirs.token_to_id(name) for name in ("<|endoftext|>", IM_START, IM_END, "<pad>")
    }
    assert encoder.vocab_size == theirs.get_vocab_size()


def test_a_pattern_of_its_own_is_compared_between_the_two_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoding, "CHARACTERS_TRIED", 4999)  # all that the test has time for
    for regex, program in [(r"\p{L}+|\P{L}", "tiktoken"), (r"[[:alpha:]]+|(?<=[a-z])\d++|\S", "tokenizers")]:
        theirs = gpt2()
        split = pre_tokenizers.Split(Regex(regex), behavior="isolated")
        theirs.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
        encoder = imported(theirs, tmp_path / program)
        assert ("tiktoken" if encoder.fast else "tokenizers") == program
        said = json.loads((tmp_path / program / "encoder.json").read_text())["reason"]
        assert ("tried on a sample" in said) == (program == "tiktoken")
        for text in TRIED:
            assert encoder.encode(text) == theirs.encode(text, add_special_tokens=False).ids or text == HOSTILE


def test_holes_in_the_ids_are_rows_of_the_embedding(tmp_path: Path) -> None:
    spec = json.loads(gpt2().to_str())
    spec["added_tokens"][0]["id"] = spec["model"]["vocab"]["<|endoftext|>"] = 1000
    encoder = imported(Tokenizer.from_str(json.dumps(spec)), tmp_path)
    assert encoder.end_of_text == 1000
    assert encoder.vocab_size == max(encoder.special_ids.values()) + 1
    assert len(encoder.token_bytes()) == encoder.vocab_size


@pytest.mark.parametrize(
    ("content", "end", "pad", "message"),
    [
        (lambda: b"{}", None, None, "not a tokenizer.json that this version reads"),
        (lambda: b"\xff", None, None, "not a tokenizer.json that this version reads"),
        (lambda: bert().to_str().encode(), None, None, r"name one with `end_of_text` \(.*\[CLS\], \[SEP\]\)"),
        (lambda: gpt2().to_str().encode(), "<eot>", None, "no token '<eot>' to end texts"),
        (lambda: gpt2().to_str().encode(), None, "<|endoftext|>", r"'<\|endoftext\|>' cannot mark two things .*pad"),
        (
            lambda: chat().to_str().encode(),
            IM_END,
            None,
            r"'<\|im_end\|>' cannot mark two things \(<\|im_end\|> end of",
        ),
        (lambda: chat().to_str().encode(), None, IM_START, "cannot mark two things"),
        (lambda: gpt2().to_str().encode(), None, "<|pda|>", r"no token '<\|pda\|>' to pad with \(leave `pad` empty"),
        (lambda: gpt2().to_str().encode(), "e", None, "'e' written in a text becomes its special token"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(content, end, pad, message: str) -> None:
    with pytest.raises(BadInput, match=message) as refused:
        import_tokenizer(content(), "theirs.json", end, pad)
    assert "\n" not in str(refused.value)


def rows() -> list[dict[str, str]]:
    return [
        {"doc_id": f"d{k}", "text": text, "split": "train" if k % 3 else "test", "domain": "general", "language": "en"}
        for k, text in enumerate(TEXTS)
    ]


def test_the_stage_takes_a_file_and_measures_it(store: Store, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(llama3().to_str())
    file = Source.of_files([tmp_path / "tokenizer.json"], store.digest_cache())
    mix = mixture(store, [rows()])
    made = train_tokenizer.run(store, documents=mix, file=file, params=TokenizerParams())
    assert made.ref != train_tokenizer.run(store, documents=mix, params=TokenizerParams(vocab_size=500)).ref
    assert made.ref == train_tokenizer.run(store, documents=mix, file=file, params=TokenizerParams()).ref
    metrics, counts = made.manifest.metrics, made.manifest.counts
    assert (metrics["encoder"], metrics["round_trip"]) == ("tiktoken", 1.0)
    assert metrics["compared_bytes"] == sum(len(text.encode()) for text in TEXTS)
    encoder = Encoder.load(made.path / "data")
    n_tokens = sum(len(encoder.encode(row["text"])) for row in rows() if row["split"] == "test")
    n_bytes = sum(len(row["text"].encode()) for row in rows() if row["split"] == "test")
    assert metrics["bytes_per_token"]["split"]["test"] == pytest.approx(n_bytes / n_tokens, abs=1e-4)
    assert (counts.used, counts.dropped, counts.out.n) == (0, {"not_learnt_from": len(TEXTS)}, encoder.vocab_size)


def test_the_stage_refuses_names_without_a_file_and_several_files(store: Store, tmp_path: Path) -> None:
    mix = mixture(store, [rows()])
    with pytest.raises(BadConfig, match="give its file"):
        train_tokenizer.run(store, documents=mix, params=TokenizerParams(end_of_text="</s>"))
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(gpt2().to_str())
    both = Source.of_files([tmp_path / "a.json", tmp_path / "b.json"], store.digest_cache())
    with pytest.raises(BadInput, match="2 were given"):
        train_tokenizer.run(store, documents=mix, file=both, params=TokenizerParams())


def test_added_tokens_that_are_words_stay_words(tmp_path: Path) -> None:
    """A tokenizer may add ordinary tokens that are found in text: used as it is, by its own program."""
    theirs = gpt2()
    theirs.add_tokens([AddedToken("heap", special=False)])
    encoder = imported(theirs, tmp_path)
    assert encoder.fast is None
    assert theirs.token_to_id("heap") in encoder.encode("a heap")
    assert np.sum(encoder.token_bytes()[encoder.encode("a heap of \u4f60")]) == len("a heap of \u4f60".encode())


def test_the_known_pattern_is_taken_from_the_file(tmp_path: Path) -> None:
    encoder = imported(llama3(), tmp_path)
    assert encoder.fast is not None and encoder.fast._pat_str == split_regex("llama3")
