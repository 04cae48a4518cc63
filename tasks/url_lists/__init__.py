"""`url-lists`: category lists of domains and addresses, compiled so that every process can ask millions of them.

`entries.py` says what a line of a list means and which keys an address is asked under; `lists.py` holds the lists as
sorted 64-bit hashes, memory-mapped; `source.py` finds the files of a folder; `stage.py` compiles them once into an
artifact. `builtin/` holds a few small lists of our own.
"""
