"""`extract`: WARC files in, one row of text a page out, and a reason for every response that became none.

`warc.py` finds and reads the records of a byte range, `http.py` undoes what the transfer did to a body, `gates.py`
turns away what is no page before anything dear happens, `charset.py` and `page.py` make text of the rest inside the
child process of `sandbox.py`, and `stage.py` puts it together.
"""
