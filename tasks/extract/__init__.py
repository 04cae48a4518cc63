"""`extract`: files of a crawl in, one row of text a page out, and a reason for every response that became none.

`records.py` reads the records of a byte range: `members.py` frames what is compressed, `walk.py` goes from record to
record, `warc.py` and `arc.py` say what one looks like (`grammar.py`: what that takes). `payload.py` finds the page in a
record, `http.py` and `codings.py` undo what the transfer did to it, `gates.py` turns away what is no page before
anything dear happens. `charset.py`, `plain.py` and `page.py` judge the rest and make text of it inside the child
process of `sandbox.py` (`child.py`), and `stage.py` puts it together.
"""
