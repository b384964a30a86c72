"""The archive: sealed tick notebooks, and what can be proven with them.

sealing      an executed notebook becomes evidence; all that a tick needs of this package
digests      what inputs, decision and page hash to, whatever the time, ids and metadata
opened       a sealed notebook read back, with a sentence for everything that is wrong with it
differences  two plain values, field by field
rerunning    a notebook executed again on its own inputs, and compared with itself
witness      ledger and archive checked against each other
pruning      old ticks thinned and packed, so that a year has room
"""

from tgtqr_lib.archive.sealing import (
    SCHEMA,
    code_version,
    embedded_inputs,
    read_executed,
    running_path,
    seal,
    sealed_path,
    spelled,
)

__all__ = [
    "SCHEMA",
    "code_version",
    "embedded_inputs",
    "read_executed",
    "running_path",
    "seal",
    "sealed_path",
    "spelled",
]
