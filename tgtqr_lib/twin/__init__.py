"""The twin: the paper account's decisions at the smallest size that the exchange takes, computed, never sent.

`nouns` are its values, `book` is the arithmetic, `reading` feeds it from the ledger, `words` tells what came out.
"""

from tgtqr_lib.twin.book import Book, smallest
from tgtqr_lib.twin.nouns import Outcome, Refusal, Seen, Twin
from tgtqr_lib.twin.reading import Reading, read, whole

__all__ = ["Book", "Outcome", "Reading", "Refusal", "Seen", "Twin", "read", "smallest", "whole"]
