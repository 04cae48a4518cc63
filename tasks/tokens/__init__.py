"""Token files: `stage.py` writes them, `trace.py` finds the document behind a token."""
