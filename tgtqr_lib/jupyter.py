"""What keeps a sealed tick as it is while somebody runs it in JupyterLab: it opens read-only.

An extension of Jupyter's own server; `python -m tgtqr_lib.jupyter`, which `make env` runs, switches it on for
its environment. Running an archived notebook is welcome; saving over it is refused, and a copy under another
name is no sealed tick any more.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tornado.web import HTTPError

KEY = "tgtqr"  # of a sealed tick's evidence in a notebook's metadata
LARGEST = 20_000_000  # bytes
CONFIG = Path("etc", "jupyter", "jupyter_server_config.d", "tgtqr.json")
REFUSAL = "this notebook is sealed evidence; save a copy under another name"


def switch_on(prefix: Path) -> Path:
    """Switch the extension on in the environment at `prefix`; where that is written."""
    path = prefix / CONFIG
    path.parent.mkdir(parents=True, exist_ok=True)
    body = {"ServerApp": {"jpserver_extensions": {"tgtqr_lib.jupyter": True}}}
    path.write_text(json.dumps(body, indent=2) + "\n", "utf-8")
    return path


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Where Jupyter's server finds the extension."""
    return [{"module": "tgtqr_lib.jupyter"}]


def _load_jupyter_server_extension(app: Any) -> None:
    """Called by Jupyter's server when it starts."""
    app.contents_manager.register_pre_save_hook(keep_sealed)
    _tell_read_only(app.contents_manager)


def keep_sealed(*, model: dict[str, Any], path: str, contents_manager: Any, **_: Any) -> None:
    """Refuse to save over a sealed tick; a copy elsewhere loses the evidence that it would not deserve.

    Raises `HTTPError` 403, which Jupyter shows to the reader.
    """
    if is_sealed(_file_of(contents_manager, path)):
        raise HTTPError(403, REFUSAL)
    content = model.get("content")
    if model.get("type") == "notebook" and isinstance(content, Mapping):
        content.get("metadata", {}).pop(KEY, None)


def is_sealed(path: Path | None) -> bool:
    """Whether the file at `path` is a sealed tick."""
    if path is None or path.suffix != ".ipynb":
        return False
    try:
        if path.stat().st_size > LARGEST:
            return False
        raw = path.read_bytes()
        if b'"tgtqr"' not in raw:  # quicker than reading all of it as JSON
            return False
        facts = json.loads(raw)["metadata"][KEY]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return isinstance(facts, Mapping) and "tick_id" in facts


def _file_of(contents_manager: Any, path: str) -> Path | None:
    """The file that Jupyter's `path` stands for; None where notebooks are not files."""
    try:
        return Path(contents_manager._get_os_path(path.strip("/")))
    except (AttributeError, HTTPError):
        return None


def _tell_read_only(contents_manager: Any) -> None:
    """Let the manager say that a sealed tick cannot be written, so that a page neither saves by itself nor
    makes a checkpoint; root may write every file, whatever its mode."""
    usual = contents_manager.get

    def marked(model: Any, path: str) -> Any:
        if model.get("type") == "notebook" and is_sealed(_file_of(contents_manager, path)):
            model["writable"] = False
        return model

    async def later(path: str, *words: Any, **named: Any) -> Any:
        return marked(await usual(path, *words, **named), path)

    def at_once(path: str, *words: Any, **named: Any) -> Any:
        return marked(usual(path, *words, **named), path)

    contents_manager.get = later if inspect.iscoroutinefunction(usual) else at_once


if __name__ == "__main__":
    switch_on(Path(sys.prefix))
