"""Scaling laws: from many small runs to the size and length of a large one.

settings.py     what a study is told: budgets, sizes, what is compared
grid.py         from that to the pretraining runs it takes, and what the data cannot carry
shapes.py       a ladder of shapes of like proportions
rows.py         finished runs as rows
parabola.py     which number is best, by a parabola through losses
isoflop.py      that of sizes at equal compute, and the power law through the vertices
resampling.py   intervals of those
parametric.py   Chinchilla's L(N, D) = E + A / N^alpha + B / D^beta, with bootstrap intervals
prediction.py   both fits of a grid, and what they say of a run that nobody has made
comparisons.py  architectures, width and depth, learning rates, mixtures
downstream.py   from loss to task accuracy; accuracy.py does it for evaluated runs
recommended.py  the configuration of the recommended run
stage.py        the stage `scaling-fit`; page.py, plots.py and drawing.py are its HTML page
"""
