"""Text classifiers that score documents: quality, domain, and whatever else is given a name.

`stage.py` holds the three stages; `tasks/score.py` applies what they make. In the order of the work: `text_files.py`
reads labelled texts from files, `seeds.py` guesses domains from URLs and tell-tale signs, `examples.py` samples and
puts them on a side, `trainer.py` is the fastText run, `prediction.py` the model in use, `metrics.py` how good it is on
the held-out side.
"""
