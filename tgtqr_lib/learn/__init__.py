"""The course in `notebooks/learn/`: a module a notebook, which asks, lets the reader play, and answers."""

from tgtqr_lib.learn.playing import Play

__all__ = ["Play"]
