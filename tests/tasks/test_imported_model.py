"""Hugging Face folders into the store: exact, accepted by every stage that takes a model, or refused in one line."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from flows.by_hand import fill_roles
from infra.errors import BadInput
from infra.params import Runtime
from infra.store import Artifact, Store
from model.config import LSTMConfig
from model.hf import load_hf, save_hf
from model.lstm import LSTM
from tasks.chat import CHAT_TEMPLATE, IM_END, IM_START
from tasks.chat_session import ChatSession
from tasks.encoding import Encoder
from tasks.evaluate.stage import EvaluateParams, evaluate
from tasks.export import export_model
from tasks.imported_model import ImportedModelParams, imported_model, is_chatml, open_model_folder
from tasks.pretrain import PretrainParams, pretrain
from tasks.report.stage import report
from tasks.sft import SftParams, sft
from tasks.tokens import TokensParams, tokens
from tests.tasks.little_road import little_road
from tests.tasks.test_training import chat_artifact
from tests.tasks.tokenizer.test_imported import gpt2, llama3

SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
    "bos_token_id": None,
    "eos_token_id": 0,
}
KINDS = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM)}
ONE = Runtime(world_size=1)
ROOM = 5  # rows of the embedding beyond the tokenizer's ids
QWEN_LIKE = (  # ChatML with a system turn of its own where there is none
    "{% for m in messages %}{% if loop.first and m['role'] != 'system' %}{{ '<|im_start|>system\nHelp.<|im_end|>\n' }}"
    "{% endif %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
OTHER_TEMPLATE = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }} {% endfor %}"


def hf_folder(
    folder: Path,
    kind: str = "llama",
    *,
    tokenizer: Tokenizer | None = None,
    rows: int | None = None,
    dtype: torch.dtype = torch.float32,
    shard: str = "1GB",
    **changes,
) -> Path:
    """A folder as transformers itself writes it."""
    tokenizer = tokenizer or gpt2()
    config, network = KINDS[kind]
    torch.manual_seed(0)
    rows = rows or max(tokenizer.get_vocab().values()) + 1 + ROOM
    model = network(config(**{**SHAPE, "vocab_size": rows, **changes})).to(dtype)
    for name, parameter in model.named_parameters():  # norms and biases are not what they start as
        if parameter.ndim < 2:
            torch.nn.init.uniform_(parameter, 0.5, 1.5) if "norm" in name else torch.nn.init.normal_(parameter)
    model.save_pretrained(folder, max_shard_size=shard)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def take(store: Store, folder: Path, **params) -> Artifact:
    source = open_model_folder([str(folder)], store.digest_cache())
    return imported_model.run(store, folder=source, params=ImportedModelParams(**params))


def refusal(store: Store, folder: Path, **params) -> str:
    with pytest.raises(BadInput) as refused:
        take(store, folder, **params)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("kind", "dtype", "shard", "changes"),
    [
        ("llama", torch.float32, "1GB", {}),
        ("llama", torch.bfloat16, "20KB", {"rope_theta": 500_000.0}),
        ("qwen2", torch.bfloat16, "1GB", {}),
        ("qwen2", torch.float32, "20KB", {"tie_word_embeddings": True}),
    ],
)
def test_logits_are_those_of_transformers_and_weights_keep_their_bytes(store, tmp_path, kind, dtype, shard, changes):
    folder = hf_folder(tmp_path / "theirs", kind, dtype=dtype, shard=shard, **changes)
    made = take(store, folder)
    weights = sorted(path.name for path in folder.glob("*.safetensors"))
    assert (len(weights) > 1) == (shard == "20KB")
    for name in (*weights, "config.json"):
        assert made.file(f"model/{name}").read_bytes() == (folder / name).read_bytes()
    ids = torch.randint(500, (2, 40), generator=torch.Generator().manual_seed(0))
    ours = load_hf(made.file("model/config.json").parent)
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        expected = theirs(ids).logits
        assert (ours.logits(ours(ids)) - expected).abs().max() <= 1e-5 * expected.abs().max()
    metrics = made.manifest.metrics
    assert metrics["parameters"] == sum(parameter.numel() for parameter in theirs.parameters())
    assert metrics["architecture"] == type(theirs).__name__
    assert metrics["dtype"] == str(dtype).removeprefix("torch.")
    n_tensors = len(theirs.state_dict()) - ("tie_word_embeddings" in changes)
    assert (made.manifest.counts.in_.n, made.manifest.counts.out.n) == (n_tensors, 1)


def test_what_was_exported_comes_back_the_same(store, tmp_path):
    made = little_road(store)
    for stage in ("pretrain", "dpo"):
        export_model(made[stage], tmp_path / stage)
        again = take(store, tmp_path / stage)
        assert again.manifest.metrics["exported_from"] == made[stage].ref
        assert again.manifest.metrics["chat_template"] == ("ChatML" if stage == "dpo" else "none")
        assert {e.path: e.sha256 for e in again.files()} == {e.path: e.sha256 for e in made[stage].files("model/")}
        folders = [artifact.file("model/config.json").parent for artifact in (made[stage], again)]
        before, after = (load_hf(folder) for folder in folders)
        ids = torch.arange(60).reshape(2, 30)
        with torch.no_grad():
            assert torch.equal(before.logits(before(ids)), after.logits(after(ids)))
        export_model(again, tmp_path / f"{stage}-again")
        for file in (tmp_path / stage).iterdir():
            same = (tmp_path / f"{stage}-again" / file.name).read_bytes() == file.read_bytes()
            assert same or file.name == "sluice.json"


def test_the_version_is_of_what_is_read_wherever_it_lies(store, tmp_path):
    folder = hf_folder(tmp_path / "a")
    made = take(store, folder)
    (folder / "README.md").write_text("A model.")
    moved = Path(shutil.move(folder, tmp_path / "b"))
    assert take(store, moved).ref == made.ref
    for place in (moved, moved / "config.json"):
        assert imported_model.run(store, **fill_roles(imported_model, [f"folder={place}"], store)).ref == made.ref
    weights = load_file(moved / "model.safetensors")
    save_file({**weights, "model.norm.weight": weights["model.norm.weight"] + 1}, moved / "model.safetensors")
    assert take(store, moved).ref != made.ref


def test_missing_special_tokens_get_spare_rows_and_those_there_keep_theirs(store, tmp_path):
    theirs = gpt2()
    folder = take(store, hf_folder(tmp_path / "a", tokenizer=theirs)).path / "data/model"
    encoder = Encoder.load(folder)
    text = f"a heap {IM_END}"
    assert encoder.encode(text) == theirs.encode(text).ids == AutoTokenizer.from_pretrained(folder)(text)["input_ids"]
    assert encoder.end_of_text == theirs.token_to_id("<|endoftext|>")
    assert encoder.pad == max(theirs.get_vocab().values()) + 3
    theirs.add_special_tokens([IM_START, IM_END, "<|pad|>"])
    made = take(store, hf_folder(tmp_path / "b", tokenizer=theirs, rows=theirs.get_vocab_size()))
    encoder = Encoder.load(made.path / "data/model")
    assert encoder.special_ids == {name: theirs.token_to_id(name) for name in encoder.names}


def test_without_room_it_says_so_and_its_advice_helps(store, tmp_path):
    theirs = llama3()
    size = max(theirs.get_vocab().values()) + 1
    folder = hf_folder(tmp_path / "full", tokenizer=theirs, rows=size + 2)
    message = refusal(store, folder)
    assert f"no room for {IM_START}, {IM_END}, <|pad|>: the embedding has {size + 2} rows, {size} of them" in message
    assert f"resize_token_embeddings({size + 3})" in message
    assert take(store, folder, pad="<|eot_id|>").manifest.metrics["vocab_size"] == size + 2
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(size + 3)
    model.save_pretrained(folder)
    assert take(store, folder).manifest.metrics["embedding_rows"] == size + 3
    assert "do not belong together" in refusal(store, hf_folder(tmp_path / "less", tokenizer=theirs, rows=size - 1))


def test_a_chat_template_stays_where_it_is_chatml(store, tmp_path):
    assert is_chatml(CHAT_TEMPLATE) and is_chatml(QWEN_LIKE)
    for template in (OTHER_TEMPLATE, "{{ bos_token }}" + QWEN_LIKE, "{{ raise_exception('no') }}", "{% for", ""):
        assert not is_chatml(template)
    theirs = gpt2()
    theirs.add_special_tokens([IM_START, IM_END])
    folder = hf_folder(tmp_path / "chat", tokenizer=theirs)
    edit_config = {"chat_template": [{"name": "default", "template": QWEN_LIKE}, {"name": "tools", "template": ""}]}
    (folder / "tokenizer_config.json").write_text(json.dumps(edit_config))
    made = take(store, folder)
    assert made.manifest.metrics["chat_template"] == "ChatML"
    assert made.file("model/chat_template.jinja").read_text() == QWEN_LIKE
    assert ChatSession.open(made).style == "chatml"
    (folder / "chat_template.jinja").write_text(OTHER_TEMPLATE)
    made = take(store, folder)
    assert made.manifest.metrics["chat_template"] == "left out: not ChatML"
    assert not made.files("model/chat_template.jinja") and ChatSession.open(made).style == "plain"
    # Markers that the model has never seen as tokens are not ChatML to it.
    strange = hf_folder(tmp_path / "strange")
    (strange / "chat_template.jinja").write_text(QWEN_LIKE)
    assert take(store, strange).manifest.metrics["chat_template"] == "left out: not ChatML"


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("llama", {"model_type": "mistral", "sliding_window": 4096}, "'mistral' is not supported"),
        ("llama", {"sliding_window": 64}, "sliding_window = 64"),
        ("qwen2", {"use_sliding_window": True}, "use_sliding_window = True"),
        ("llama", {"rope_parameters": {"rope_type": "longrope", "factor": 4.0}}, "RoPE scaling 'longrope'"),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 4.0}}, "RoPE scaling 'dynamic'"),
        ("llama", {"hidden_act": "gelu"}, "hidden_act = 'gelu'"),
        ("llama", {"auto_map": {"AutoModelForCausalLM": "modeling.X"}}, "auto_map"),
        ("llama", {"quantization_config": {"bits": 4}}, "quantization_config"),
        ("llama", {"vocab_size": 1000}, "the first, lm_head.weight"),
        ("qwen2", {"tie_word_embeddings": True}, "lm_head.weight is another matrix"),
    ],
)
def test_other_maths_is_refused_in_one_line(store, tmp_path, kind, changes, message):
    folder = hf_folder(tmp_path / "m", kind)
    edit(folder / "config.json", **changes)
    assert message in refusal(store, folder)


def test_what_is_no_whole_folder_is_refused_in_one_line(store, tmp_path):
    assert "no such folder" in refusal(store, tmp_path / "nowhere")
    folder = hf_folder(tmp_path / "m")
    (folder / "tokenizer.json").rename(tmp_path / "tokenizer.json")
    assert "has no tokenizer.json; AutoTokenizer" in refusal(store, folder)
    (folder / "tokenizer.json").write_text("{}")
    assert "not a tokenizer.json that this version reads" in refusal(store, folder)
    shutil.copy(tmp_path / "tokenizer.json", folder)
    weights = load_file(folder / "model.safetensors")
    save_file({name: tensor.to(torch.int8) for name, tensor in weights.items()}, folder / "model.safetensors")
    assert "weights of type I8" in refusal(store, folder)
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert "is not a safetensors file" in refusal(store, folder)
    (folder / "model.safetensors").unlink()
    assert "neither model.safetensors nor" in refusal(store, folder)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": "a.safetensors"}}))
    assert "lacks a.safetensors" in refusal(store, folder)
    (folder / "model.safetensors.index.json").write_text("[]")
    assert "is not the index" in refusal(store, folder)
    (folder / "model.safetensors.index.json").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    assert "pytorch_model.bin: opening a pickle runs whatever code is in it" in refusal(store, folder)
    save_hf(LSTM(LSTMConfig(vocab_size=600, hidden_size=16, n_layers=1, max_seq_len=32)), folder)
    assert "an LSTM" in refusal(store, folder)


@pytest.fixture(scope="module")
def road(tmp_path_factory) -> tuple[Store, dict[str, Artifact]]:
    """A little road, and beside its own models an imported one with tokens by its tokenizer."""
    store = Store(tmp_path_factory.mktemp("road") / "store")
    made = little_road(store)
    made["imported-model"] = take(store, hf_folder(tmp_path_factory.mktemp("hf") / "m", max_position_embeddings=256))
    made["tokens"] = tokens.run(store, documents=made["mix"], tokenizer=made["imported-model"], params=TokensParams())
    return store, made


def test_it_is_measured_on_tokens_of_its_own_tokenizer_and_talks(road):
    store, made = road
    params = EvaluateParams(questions=2, pairs=2, max_new_tokens=4, heldout_tokens=500)
    model = made["imported-model"]
    scored = evaluate.run(store, tokens=made["tokens"], chat=made["chat-data"], models=[model], params=params)
    bits = {row["model"] for row in scored.read_table("scores").to_pylist() if row["metric"] == "bits_per_byte"}
    assert model.ref in bits
    assert {row["prompt"] for row in scored.read_table("answers").to_pylist()} == {"chatml", "plain"}
    assert model.ref in {artifact.ref for artifact in scored.ancestors()}
    page = report.run(store, evaluation=scored).file("report.html").read_text(encoding="utf-8")
    assert model.ref in page and ">imported<" in page
    assert isinstance("".join(ChatSession.open(model, max_new_tokens=3).reply("What is a heap?")), str)


def test_pretraining_and_fine_tuning_start_from_it(road):
    store, made = road
    model = made["imported-model"]
    params = PretrainParams(steps=1, seq_len=32, batch_size=2)
    further = pretrain.run(store, tokens=made["tokens"], tokenizer=model, model=model, params=params, runtime=ONE)
    asked = [
        {"role": "user", "content": "What is a heap?"},
        {"role": "assistant", "content": "A tree."},
    ]
    chat = chat_artifact(store, {"train.jsonl": [{"messages": asked}]})
    tuned = sft.run(store, model=model, chat=chat, params=SftParams(steps=1, seq_len=96, batch_size=1), runtime=ONE)
    start = load_hf(model.file("model/config.json").parent)
    for child in (further, tuned):
        assert model.ref in {artifact.ref for artifact in child.ancestors()}
        tokenizer = "model/tokenizer.json"
        assert child.file(tokenizer).read_bytes() == model.file(tokenizer).read_bytes()
        learnt = load_hf(child.file("model/config.json").parent)
        assert learnt.config == start.config
        change = (learnt.lm_head.weight - start.lm_head.weight).abs().max()
        assert 0 < change < 0.1  # one step from where it was, and not from new weights
