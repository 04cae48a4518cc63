"""Scaling laws: from many small runs to the size and length of a large one.

isoflop.py      parabolas at equal compute, their vertices and the power law through them
parametric.py   Chinchilla's L(N, D) = E + A / N^alpha + B / D^beta, with bootstrap intervals
downstream.py   from loss to task accuracy
"""
