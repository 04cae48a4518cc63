"""A page that shows what curation did to a crawl. Start at `stage.py`.

survey.py      one part: fates of its documents, counted along every signal, with samples
histogram.py   axes and bins
collect.py     the parts' tables summed into `CurationData` (data.py)
drawing.py     histograms as SVG
render.py      the page
"""
