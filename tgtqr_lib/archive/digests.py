"""What the visible page of a notebook hashes to, whatever the time, the ids and the metadata.

The page is every cell's source and outputs in their order. Not part of it: the inputs, which have a digest
of their own, and the outcome, which is written after the run and has one too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

INPUTS_TAG, OUTCOME_TAG = "injected-parameters", "outcome"


def tagged(cell: Mapping[str, Any], tag: str) -> bool:
    """Whether the metadata of `cell` carry `tag`."""
    return tag in cell.get("metadata", {}).get("tags", ())


def text_of(value: Any) -> str:
    """A multi-line string of the notebook format, which may be a list of lines, as one string."""
    return "".join(value) if isinstance(value, list) else str(value)


def page_cells(notebook: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The cells that belong to the page, in their order."""
    for cell in notebook.get("cells", ()):
        if not tagged(cell, INPUTS_TAG) and not tagged(cell, OUTCOME_TAG):
            yield cell


def page_of(notebook: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The page as plain values: kind, source and outputs of each cell."""
    return [
        {
            "kind": cell.get("cell_type"),
            "source": text_of(cell.get("source", "")),
            "outputs": [shown(output) for output in cell.get("outputs", ())],
        }
        for cell in page_cells(notebook)
    ]


def shown(output: Mapping[str, Any]) -> dict[str, Any]:
    """What a reader sees of one output, by kind of representation."""
    kind = output.get("output_type")
    if kind == "stream":
        return {str(output.get("name")): text_of(output.get("text", ""))}
    if kind == "error":
        return {"error": f"{output.get('ename')}: {output.get('evalue')}"}
    data = output.get("data", {})
    seen = {
        mime: value if mime.endswith("json") else text_of(value).strip()
        for mime, value in data.items()
    }
    metadata = output.get("metadata", {})
    alts = {mime: what["alt"] for mime, what in metadata.items() if mime in data and "alt" in what}
    return seen | {f"{mime} in words": str(alt) for mime, alt in alts.items()}


def outputs_sha256(notebook: Mapping[str, Any]) -> str:
    """SHA-256 (hexadecimal) of the page."""
    return sha256_of(page_of(notebook))


def sha256_of(value: Any) -> str:
    """SHA-256 of plain JSON in one spelling. Unlike `canonical.sha256` it takes whatever a file holds."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
