"""A conversation: prompts as in training, pieces that add up, a history that fits."""

import pytest
import torch

from infra.errors import BadInput
from model.config import ModelConfig
from model.generate import SamplingConfig, generate
from model.hf import save_hf
from model.transformer import Transformer
from tasks.chat_session import ChatSession, readable, stream_tokens
from tasks.encoding import Encoder, write_hf_files, write_hf_tokenizer
from tasks.tokenizer import learn_bpe

CONTEXT = 96


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    tokenizer = learn_bpe([["It returns the shape of the array. Größe, размер, 数组."]], 320)
    write_hf_files(tokenizer, root / "tokenizer")
    shape = ModelConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        n_layers=2,
        n_heads=2,
        n_kv_heads=1,
        intermediate_size=48,
        max_seq_len=CONTEXT,
        init_std=0.3,
    )
    for name, chat in (("chat", True), ("base", False)):
        save_hf(Transformer(shape, seed=5), root / name)
        write_hf_tokenizer(root / "tokenizer", root / name, chat=chat)
    return root


@pytest.fixture(scope="module")
def encoder(folders) -> Encoder:
    return Encoder.load(folders / "tokenizer")


def test_streamed_tokens_are_those_of_the_batched_decoder(folders, encoder):
    session = ChatSession.load(folders / "chat")
    prompt = encoder.encode("It returns the shape")
    sampling = SamplingConfig(max_new_tokens=20)
    (expected,) = generate(session.network, [prompt], sampling, [encoder.im_end])
    streamed = list(stream_tokens(session.network, prompt, sampling, [encoder.im_end], torch.Generator()))
    assert streamed == [token for token in expected.tokens if token != encoder.im_end]


def test_a_stop_token_ends_the_stream_and_is_not_given(folders, encoder):
    session = ChatSession.load(folders / "chat")
    prompt = encoder.encode("It returns")
    sampling = SamplingConfig(max_new_tokens=20)
    every = list(stream_tokens(session.network, prompt, sampling, [], torch.Generator()))
    assert len(every) == 20
    stop = every[7]
    assert (
        list(stream_tokens(session.network, prompt, sampling, [stop], torch.Generator())) == every[: every.index(stop)]
    )


def test_the_same_seed_samples_the_same_answer(folders):
    def answer(seed):
        return "".join(ChatSession.load(folders / "chat", temperature=1.5, max_new_tokens=30, seed=seed).reply("Why?"))

    assert answer(1) == answer(1)
    assert answer(1) != answer(2)


def test_an_exchange_is_remembered_once_it_is_complete(folders):
    session = ChatSession.load(folders / "chat", max_new_tokens=5)
    pieces = session.reply("Why?")
    assert session.messages == []
    text = "".join(pieces)
    assert session.messages == [
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": text},
    ]


def test_the_oldest_exchanges_go_when_the_context_is_full(folders):
    session = ChatSession.load(folders / "chat", max_new_tokens=8)
    for k in range(12):
        list(session.reply(f"question {k}"))
    assert session.messages[-2]["content"] == "question 11"
    assert session.messages[0]["role"] == "user"
    assert len(session.messages) < 24
    with pytest.raises(BadInput, match="ask a shorter one"):
        list(session.reply("long " * 200))


def test_a_base_model_is_asked_plainly(folders, encoder):
    session = ChatSession.load(folders / "base", max_new_tokens=4)
    prompt, _ = session._prompt([{"role": "user", "content": "Why?"}])
    assert encoder.decode(prompt, skip_specials=True) == "Question: Why?\nAnswer:"
    chat = ChatSession.load(folders / "chat", max_new_tokens=4)
    prompt, _ = chat._prompt([{"role": "user", "content": "Why?"}])
    assert encoder.decode(prompt) == "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"


def test_pieces_add_up_and_never_cut_a_character(encoder):
    text = "Größe и размер: 数组 🙂."
    pieces = list(readable(encoder, encoder.encode(text)))
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)
    broken = encoder.encode("数")[:1]
    assert "".join(readable(encoder, [*encoder.encode("ab"), *broken])) == "ab\ufffd" or len(broken) == 0


def test_control_characters_do_not_reach_the_terminal(encoder):
    assert "".join(readable(encoder, encoder.encode("a\x1b]0;title\x07b\n\tc"))) == "a\ufffd]0;title\ufffdb\n\tc"


def test_the_first_line_ends_a_plain_answer(encoder):
    ids = encoder.encode("\n It is so.\nQuestion: and?")
    assert "".join(readable(encoder, ids, first_line=True)) == "It is so."
