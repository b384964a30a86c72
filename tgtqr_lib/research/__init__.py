"""Research in notebooks: one connection for questions, history to study, and a page to explore it on."""

from tgtqr_lib.research.connection import columns, connect
from tgtqr_lib.research.explore import Explorer
from tgtqr_lib.research.past import Past, history
from tgtqr_lib.research.plans import Answer, plan, tested, what_if_fees

__all__ = [
    "Answer",
    "Explorer",
    "Past",
    "columns",
    "connect",
    "history",
    "plan",
    "tested",
    "what_if_fees",
]
