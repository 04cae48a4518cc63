import pytest

from infra.errors import BadInput
from infra.stage import Source
from tasks.classifier.trainer import TrainingRun, train
from tasks.filters.language import identify_languages, model_path
from tasks.language_model import language_labels, language_model, model_file

LINES = {
    "eng_Latn": ["the river rises in the hills", "and reaches the sea", "this is what people say"],
    "deu_Latn": ["der fluss entspringt in den bergen", "und mündet ins meer", "das ist was leute sagen"],
}


@pytest.fixture(scope="module")
def own_model(tmp_path_factory):
    """A fastText model of two languages whose labels are those of GlotLID."""
    folder = tmp_path_factory.mktemp("lid")
    rows = [f"__label__{label} {line}\n" for label, lines in LINES.items() for line in lines] * 20
    (folder / "train.txt").write_text("".join(rows), encoding="utf-8")
    run = TrainingRun(
        text=str(folder / "train.txt"),
        model=str(folder / "own.bin"),
        lr=0.2,
        dim=8,
        epoch=20,
        minCount=1,
        wordNgrams=1,
        minn=0,
        maxn=0,
        bucket=0,
        seed=0,
        quantise=False,
    )
    train(run, folder)
    return folder / "own.bin"


def taken(store, *paths):
    return language_model.run(store, model=Source.of_files(list(paths), store.digest_cache()))


def test_a_model_is_taken_into_the_store_with_its_labels(store, own_model):
    artifact = taken(store, own_model)
    assert artifact.manifest.metrics["labels"] == ["deu_Latn", "eng_Latn"]
    assert model_file(artifact).read_bytes() == own_model.read_bytes()
    languages, scores = identify_languages(
        ["the river rises\nin the hills", "", "der fluss entspringt in den bergen"], model_file(artifact)
    )
    assert languages == ["eng_Latn", None, "deu_Latn"]
    assert scores[0] > 0.5


def test_another_model_is_another_artifact(store, own_model):
    assert taken(store, own_model).ref != taken(store, model_path()).ref


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"PK\x03\x04 a zip file", "first bytes"), (b"", "empty"), (b"\xba\x16O/\x0c\x00\x00\x00", "cut short")],
)
def test_what_is_no_model_is_refused(store, tmp_path, content, message):
    (tmp_path / "model.bin").write_bytes(content)
    with pytest.raises(BadInput, match=message):
        taken(store, tmp_path / "model.bin")


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.999, 1.001])
@pytest.mark.parametrize("which", ["built-in, quantised", "own"])
def test_a_model_that_is_not_whole_is_refused(store, tmp_path, own_model, share, which):
    whole = (own_model if which == "own" else model_path()).read_bytes()
    (tmp_path / "cut.ftz").write_bytes(whole[: int(share * len(whole))] + b"\0" * int((share - 1) * len(whole)))
    with pytest.raises(BadInput, match=r"cut short|not whole|no end"):
        taken(store, tmp_path / "cut.ftz")


def test_the_built_in_model_has_176_languages():
    labels = language_labels(model_path())
    assert len(labels) == 176
    assert {"en", "de", "zh", "arz"} <= set(labels)


def test_word_vectors_are_no_classifier(store, tmp_path, own_model):
    data = bytearray(own_model.read_bytes())
    data[36:40] = (1).to_bytes(4, "little")  # the eighth argument, behind the header: model_name::cbow
    (tmp_path / "vectors.bin").write_bytes(data)
    with pytest.raises(BadInput, match="word vectors"):
        taken(store, tmp_path / "vectors.bin")


def test_one_model_at_a_time(store, own_model):
    with pytest.raises(BadInput, match="not 2 files"):
        taken(store, own_model, model_path())
