import string

from tasks.filters.punctuation import PUNCTUATION, TERMINAL_PUNCTUATION


def test_terminal_punctuation_is_not_only_latin():
    assert {".", "!", "?", "。", "؟", "।", "։"} <= TERMINAL_PUNCTUATION
    assert not {",", ":", ";", '"', "…", "¿"} & TERMINAL_PUNCTUATION


def test_punctuation_is_that_of_several_scripts_and_no_other_symbol():
    assert set(string.punctuation) | TERMINAL_PUNCTUATION | set("“”’«»…–—《》、，\x00\x9f") <= PUNCTUATION
    assert not set("aé漢1½→©•€✓ ") & PUNCTUATION
