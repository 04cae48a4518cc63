"""The tokenizer: learnt from the training split (`learn.py`) or imported (`imported.py`). Start at `stage.py`."""

from tasks.tokenizer.learn import learn_bpe
from tasks.tokenizer.stage import TokenizerParams, Vocabulary, picked, train_tokenizer, vocabulary_of

__all__ = ["TokenizerParams", "Vocabulary", "learn_bpe", "picked", "train_tokenizer", "vocabulary_of"]
