"""Personal data in texts: found by kind, replaced by what is nobody's, written as edits.

match.py says what is looked for, mail.py, addresses.py, phone.py and numbers.py find it, find.py puts it together,
replace.py says what stands in its place, stage.py is the stage `pii`. The counts of `measure` are in
tasks/filters/pii.py.
"""
