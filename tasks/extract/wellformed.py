"""Strings that can be written."""


def well_formed(text: str) -> str:
    """The text without lone surrogates and NULs, which neither UTF-8 nor the readers of the text can hold."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "")
