"""Token files: `stage.py` writes them, `files.py` says what is where, `trace.py` finds the document behind a token."""

from tasks.tokens.stage import TokensParams, tokens

__all__ = ["TokensParams", "tokens"]
