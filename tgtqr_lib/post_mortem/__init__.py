"""A look back at one tick: what was known and decided, what would have changed it, and what came of it.

case        which tick, and the stop that came after it
neighbours  what-ifs around it, and how far it was from another signal
aftermath   the minutes after it, its fills and costs, how the position was closed
page        the pieces of the notebook
picture     the minutes around it, drawn
picker      the part of the notebook that answers while somebody looks
"""

from tgtqr_lib.post_mortem.aftermath import After, afterwards
from tgtqr_lib.post_mortem.case import Case, open_case
from tgtqr_lib.post_mortem.neighbours import Neighbour, flips, what_ifs
from tgtqr_lib.post_mortem.page import PostMortem

__all__ = [
    "After",
    "Case",
    "Neighbour",
    "Picker",
    "PostMortem",
    "afterwards",
    "flips",
    "open_case",
    "what_ifs",
]


def __getattr__(name: str):
    """`Picker` on demand: only a notebook has a use for widgets."""
    if name == "Picker":
        from tgtqr_lib.post_mortem.picker import Picker

        return Picker
    raise AttributeError(name)
