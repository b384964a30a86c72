"""The pages of the reference as Markdown, made from the registries, parsers, fields and syntax trees.

Nothing is listed here by hand. What the code does not say in words comes from words.py, and every sentence
that is missing or left over is named in one error.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import pkgutil
import re
import typing
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from decimal import Decimal
from enum import Enum
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal

import words
from pydantic import BaseModel

import tgtqr_lib
from tgtqr_lib import cli, daily, orders, risk, settings, signals
from tgtqr_lib.alerts import messages
from tgtqr_lib.alerts.messages import KINDS
from tgtqr_lib.archive import rerunning
from tgtqr_lib.backtest.probes import PROBES
from tgtqr_lib.backtest.probes import findings as probe_states
from tgtqr_lib.books import FINAL_STATES
from tgtqr_lib.domain import GateState, SignalState
from tgtqr_lib.limits import HARD
from tgtqr_lib.parity import findings as parity_findings
from tgtqr_lib.risk import ACCOUNT_RULES, DATA_RULES, GATE_RULES, RULES, STOPPED_RULES
from tgtqr_lib.strategies import STRATEGIES, Strategy

LIBRARY = Path(tgtqr_lib.__file__).parent
MADE = "<!-- made by docs/make_reference.py from the code; changes by hand are lost -->\n"
CODE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")  # with an underscore: nothing else looks like it
WORD = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")


class Incomplete(Exception):
    """Sentences that words.py lacks, or has for nothing."""


PROBLEMS: list[str] = []


def everything() -> dict[str, str]:
    """File name -> Markdown. Raises `Incomplete`, naming all that is missing at once."""
    PROBLEMS.clear()
    made = {
        "settings.md": settings_page(),
        "codes.md": codes_page(),
        "commands.md": commands_page(),
        "strategies.md": strategies_page(),
        "signals.md": signals_page(),
    }
    if PROBLEMS:
        raise Incomplete("\n".join(PROBLEMS))
    return made


# ---- Markdown


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell(c) for c in line) + " |" for line in lines) + "\n"


def cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


def plain(text: str) -> str:
    """Prose that no reader takes for HTML or emphasis; what stands in backticks stays as it is."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if part.startswith("`") else part.replace("<", "&lt;").replace("*", "\\*")
        for part in parts
    )


def sentence(text: str) -> str:
    """`text` on one line, with a capital and a full stop."""
    text = " ".join(text.split())
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", ":", "?")) else ".")


def blocks(text: str) -> str:
    """A docstring as Markdown: indented blocks become code, the others paragraphs."""
    out = []
    for block in inspect.cleandoc(text).split("\n\n"):
        lines = block.splitlines()
        if all(line.startswith("  ") for line in lines) or re.match(
            r"\w\S*(, \S+)*  +\S", lines[0]
        ):
            indent = min(len(line) - len(line.lstrip()) for line in lines)
            out.append("```\n" + "\n".join(line[indent:] for line in lines) + "\n```")
        else:
            out.append(plain(" ".join(line.strip() for line in lines)))
    return "\n\n".join(out) + "\n"


def first_paragraph(doc: str | None) -> str:
    return " ".join(inspect.cleandoc(doc or "").split("\n\n")[0].split())


# ---- sentences that the code does not have


def told(
    table_name: str, group: str, names: Iterable[str], from_code: dict[str, str]
) -> dict[str, str]:
    """A sentence for each of `names`: the code's own, else that of words.<table_name>[group]."""
    by_hand: dict[str, str] = getattr(words, table_name).get(group, {})
    place = f'docs/reference/words.py: {table_name}["{group}"]'
    names = list(names)
    for name in names:
        if not from_code.get(name) and not by_hand.get(name):
            PROBLEMS.append(f'{place} has no sentence for {name}; add  "{name}": "...",')
    for name in by_hand:
        if name not in names:
            PROBLEMS.append(f"{place} has a sentence for {name}, which the code does not have")
        elif from_code.get(name):
            PROBLEMS.append(f"{place} has a sentence for {name}, but the code has one of its own")
    return {name: from_code.get(name) or by_hand.get(name, "") for name in names}


# ---- settings.md


def settings_page() -> str:
    parts = [
        MADE,
        "# Settings\n",
        "In `settings.toml` in the home, over that in `.env` there ([keys](../how_to/keys.md)), and over both in the "
        "environment. Nothing has to be set. An unknown key, a value out of range and a limit above the hard "
        "one are errors, exit code 2. What may be changed "
        "while the kit runs, and how: `tgtqr settings --help`; the present values: `tgtqr settings show`.\n",
    ]
    for name, model in groups(settings.Settings):
        title = f"`[{name}]`" if name else "Top level"
        parts += [f"## {title}\n", sentence(first_paragraph(model.__doc__)) + "\n"]
        parts.append(settings_table(name, model))
    names = sorted(set(settings.NOT_SETTINGS) | environment_names())
    meaning = told("MEANING", "environment", names, {})
    parts += [
        "## Other environment variables\n",
        "They have the prefix and are no settings. `BYBIT_API_KEY` and `BYBIT_API_SECRET` are "
        "[the account's keys](../how_to/keys.md).\n",
        table(["variable", "meaning"], ((f"`{n}`", meaning[n]) for n in names)),
        "A dictionary or list in the environment is written as JSON: "
        """`TGTQR_SYMBOLS='["BTCUSDT"]'`, `TGTQR_PARAMETERS='{"window": 30}'`.\n""",
    ]
    return "\n".join(parts)


def groups(model: type[BaseModel], name: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """The model itself and every nested one, with the name of its table."""
    yield name, model
    for key, field in model.model_fields.items():
        if is_model(field.annotation):
            yield from groups(field.annotation, f"{name}.{key}" if name else key)


def is_model(annotation: Any) -> bool:
    return inspect.isclass(annotation) and issubclass(annotation, BaseModel)


def settings_table(group: str, model: type[BaseModel]) -> str:
    keys = {
        f"{group}.{key}" if group else key: field
        for key, field in model.model_fields.items()
        if not is_model(field.annotation)
    }
    known = {f"{group}.{k}" if group else k: text for k, text in documented(model).items()}
    for key, field in keys.items():
        if field.description:
            known[key] = field.description
    meaning = told("MEANING", f"settings {group}".strip(), keys, known)
    rows = []
    for key, field in keys.items():
        default = field.get_default(call_default_factory=True)
        if group:
            default = default_in(group, key.rsplit(".", 1)[-1])
        variable = settings.PREFIX + key.replace(".", "__").upper()
        rows.append(
            [
                f"`{key}`",
                allowed(key, field),
                toml(default),
                f"`{variable}`",
                sentence(meaning[key]),
            ]
        )
    return table(["key", "type and range", "default", "environment", "meaning"], rows)


def default_in(group: str, key: str) -> Any:
    """The default of a nested key, as the outer model gives it."""
    here: Any = settings.Settings.model_construct()
    for part in group.split("."):
        here = getattr(here, part)
    return getattr(here, key)


def documented(model: type[BaseModel]) -> dict[str, str]:
    """`name   what it is` lines of a class's docstring."""
    found: dict[str, str] = {}
    last = None
    for line in inspect.cleandoc(model.__doc__ or "").splitlines():
        if (match := re.fullmatch(r"(\w+)\s{2,}(\S.*)", line)) and match[1] in model.model_fields:
            last = match[1]
            found[last] = match[2]
        elif last and re.match(r"\s{2,}\S", line):
            found[last] += " " + line.strip()
        else:
            last = None
    return found


def allowed(key: str, field: Any) -> str:
    """Type and range in words."""
    bounds = {type(one).__name__: one for one in field.metadata}
    text = kind(field.annotation)
    low = bounds.get("Ge") or bounds.get("Gt")
    high = bounds.get("Le") or bounds.get("Lt")
    name = key.rsplit(".", 1)[-1]
    if key.startswith("limits.") and hasattr(HARD, name):  # the validator's range
        return f"{text}, 0 to {getattr(HARD, name)}"
    if low is None and high is None:
        return text
    parts = []
    if low is not None:
        parts.append(f"at least {low.ge}" if "Ge" in bounds else f"more than {low.gt}")
    if high is not None:
        parts.append(f"at most {high.le}" if "Le" in bounds else f"less than {high.lt}")
    return f"{text}, {', '.join(parts)}"


def kind(annotation: Any) -> str:
    names = {int: "whole number", bool: "true or false", str: "text", Path: "path"}
    names |= {Decimal: "number", float: "number"}
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in names:
        return names[annotation]
    if origin is typing.Annotated:
        return kind(inner[0])
    if origin is Literal:
        return " or ".join(f'`"{value}"`' for value in inner)
    if origin in (typing.Union, UnionType):
        return ", or ".join(kind(one) for one in inner if one is not NoneType)
    if origin is tuple or origin is list:
        return f"list of {kind(inner[0])}"
    if origin is dict:
        return f"table of {kind(inner[1])}s"
    return str(annotation)


def toml(value: Any) -> str:
    """A default as it would stand in settings.toml."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, str):
        return f'`"{value}"`'
    if isinstance(value, (tuple, list)):
        return "`[" + ", ".join(toml(one).strip("`") for one in value) + "]`"
    return f"`{value}`"


def environment_names() -> set[str]:
    """Names with the prefix that the code asks the environment for."""
    return {
        node.value
        for found in nodes().values()
        for node in found
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(rf"{settings.PREFIX}[A-Z_]+[A-Z]", node.value)
    }


# ---- codes.md


@dataclass(frozen=True)
class Family:
    """Codes of one kind; `find` gives each with the sentence its code has, or an empty one."""

    name: str
    title: str
    intro: str
    find: Callable[[], dict[str, str]]
    advice: bool = True  # whether each has something to do about it


@cache
def trees() -> dict[str, ast.Module]:
    """Path below tgtqr_lib -> its syntax tree."""
    return {
        path.relative_to(LIBRARY).as_posix(): ast.parse(path.read_text("utf-8"))
        for path in sorted(LIBRARY.rglob("*.py"))
    }


@cache
def nodes() -> dict[str, list[ast.AST]]:
    """Path below tgtqr_lib -> its text constants, calls and f-strings."""
    kinds = (ast.Constant, ast.Call, ast.JoinedStr)
    return {
        path: [node for node in ast.walk(tree) if isinstance(node, kinds)]
        for path, tree in trees().items()
    }


def constants(*starts: str, like: re.Pattern[str] = CODE) -> list[str]:
    """The codes that stand as text in files whose path begins so, in their order."""
    found = {}
    for path, inside in nodes().items():
        if path.startswith(starts):
            for node in inside:
                text = getattr(node, "value", None) if isinstance(node, ast.Constant) else None
                if isinstance(text, str) and len(text) > 3 and like.fullmatch(text):
                    found.setdefault(text, None)
    return list(found)


def named(path: str) -> dict[str, str]:
    """Name -> text of the module-level constants of a file, of `A, B = "A", "B"` too."""
    found = {}
    for node in trees()[path].body:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                pairs = [(target, node.value)]
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    pairs = list(zip(target.elts, node.value.elts, strict=True))
                for name, value in pairs:
                    if isinstance(name, ast.Name) and isinstance(value, ast.Constant):
                        found[name.id] = value.value
    return {name: value for name, value in found.items() if isinstance(value, str)}


@cache
def rule_checks() -> dict[str, Callable[..., Any]]:
    """Code -> `check` of every file of risk/ that has both, those of RULES first and in their order."""
    files = [
        importlib.import_module(f"{risk.__name__}.{found.name}")
        for found in pkgutil.iter_modules(risk.__path__)
    ]
    known = dict(RULES)
    for file in files:
        if hasattr(file, "CODE") and hasattr(file, "check"):
            known.setdefault(file.CODE, file.check)
    return known


@cache
def rule_codes() -> dict[str, str]:
    found = {}
    for code, check in rule_checks().items():
        about = first_paragraph(inspect.getmodule(check).__doc__).removeprefix(f"{code}:")
        does = re.sub(r"^Refuse\b", "Refuses", first_paragraph(check.__doc__))
        found[code] = f"{sentence(about.strip())} {sentence(does)}"
    return found


@cache
def reason_codes() -> dict[str, str]:
    """Those that the pure core makes: constants of its files, and `SIGNAL_` with each state."""
    core = ("decide.py", "sizing.py", "portfolio.py", "execution.py", "signals/", "strategies/")
    found = constants(*core)
    for path, inside in nodes().items():
        for node in inside if path.startswith(core) else ():
            if isinstance(node, ast.JoinedStr) and "SIGNAL_" in ast.unparse(node.values[0]):
                found += [f"SIGNAL_{state}" for state in SignalState]
    order = [*daily.MEANINGS, *found]  # the order in which the daily report tells them
    codes = sorted(set(found) - set(rule_checks()), key=order.index)
    return {code: daily.MEANINGS.get(code, "") for code in codes}


@cache
def act_codes() -> dict[str, str]:
    every = [*named("act.py").values(), *named("orders.py").values()]
    codes = dict.fromkeys(v for v in every if WORD.fullmatch(v) and v not in rule_checks())
    return {code: daily.MEANINGS.get(code, "") for code in codes if code != orders.CASH}


def state_codes() -> dict[str, str]:
    already = named("tick.py")["ALREADY_DONE"]
    return {code: "" for code in [*FINAL_STATES, already, daily.UNFINISHED]}


def tick_codes() -> dict[str, str]:
    """Reasons of a whole tick."""
    found = constants("tick.py", "books.py", like=WORD)
    told_daily = [c for c in daily.MEANINGS if c not in reason_codes() and c not in act_codes()]
    return {
        code: daily.MEANINGS.get(code, "")
        for code in dict.fromkeys([*found, *told_daily])
        if code not in rule_checks()
    }


def alert_codes() -> dict[str, str]:
    """Conditions that the owner hears of, and the messages that are none."""
    others = (messages.SUMMARY, messages.HELD_BACK, messages.DROPPED, messages.TEST)
    kinds = {code: f"{kind.title}; when it is over: {kind.over}" for code, kind in KINDS.items()}
    return kinds | dict.fromkeys(others, "")


def gate_codes() -> dict[str, str]:
    return {str(state): "" for state in GateState}


def ended_codes() -> dict[str, str]:
    return {code: "" for code in named("safety.py").values() if WORD.fullmatch(code)}


def problem_codes() -> dict[str, str]:
    """The first argument of every `Problem(...)` of the library."""
    return {code: "" for code in problem_places()}


@cache
def problem_places() -> dict[str, tuple[str, ...]]:
    """Code of a problem -> the files that make it."""
    found: dict[str, list[str]] = {}
    by_name = {name: value for path in trees() for name, value in named(path).items()}
    for path, inside in nodes().items():
        for node in inside:
            if not (isinstance(node, ast.Call) and called(node) == "Problem"):
                continue
            first = node.args[0] if node.args else node.keywords[0].value
            code = first.value if isinstance(first, ast.Constant) else None
            if isinstance(first, (ast.Name, ast.Attribute)):
                code = by_name.get(first.id if isinstance(first, ast.Name) else first.attr)
            if code is None:
                PROBLEMS.append(
                    f"tgtqr_lib/{path}:{node.lineno}: the code of this Problem is neither text nor the name of a "
                    "constant; make it one, so that the reference can list it"
                )
            elif path not in found.setdefault(code, []):
                found[code].append(path)
    return {code: tuple(paths) for code, paths in sorted(found.items())}


def called(node: ast.Call) -> str:
    return getattr(node.func, "id", getattr(node.func, "attr", ""))


def enum_codes(kind: type[Enum]) -> dict[str, str]:
    """The members of an enum with the comments beside them."""
    comments = dict(re.findall(r'= "([\w-]+)"\s+# (.+)', inspect.getsource(kind)))
    return {str(one.value): comments.get(str(one.value), "") for one in kind}


def probe_codes() -> dict[str, str]:
    found = {}
    for name, probe in PROBES.items():
        found[name] = first_paragraph(inspect.getmodule(probe.ask).__doc__)
    return found


def probe_state_codes() -> dict[str, str]:
    states = (probe_states.PASSED, probe_states.FAILED, probe_states.NOT_JUDGED)
    return {state: "" for state in states}


def exit_codes() -> dict[str, str]:
    """Number -> meaning: as the command line's epilog tells them, and the signals' of `main`."""
    text = " ".join(cli.EPILOG.split()).removeprefix("exit codes: ")
    found = dict(re.fullmatch(r"(\d+) (.+)", part).groups() for part in text.split("; "))
    main = next(n for n in trees()["cli.py"].body if getattr(n, "name", "") == "main")
    for node in ast.walk(main):
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Constant):
            found.setdefault(str(node.value.value), "")
    return dict(sorted(found.items(), key=lambda pair: int(pair[0])))


FAMILIES = (
    Family(
        "rules",
        "Rules",
        "Every rule judges every order, and every verdict is kept; the first that refuses, in this order, is the "
        "reason. Those of the gate and of the data are marked. Exits pass all of them that concern entries.",
        rule_codes,
    ),
    Family(
        "reasons",
        "Signals and orders",
        "The reason of a symbol that no rule refused: what the strategy said, and why an order followed or none.",
        reason_codes,
    ),
    Family("acts", "What became of an order", "The `result` of an approved order.", act_codes),
    Family(
        "states",
        "States of a tick",
        "How a tick ended: in the ledger, the log and `tgtqr tick --json`.",
        state_codes,
    ),
    Family(
        "tick reasons",
        "Reasons of a whole tick",
        "When a tick did not come to a decision, or not to its end.",
        tick_codes,
    ),
    Family("gate", "The gate", "What `tgtqr status` and the page's header show.", gate_codes),
    Family(
        "alerts",
        "Alerts",
        "What a message to the owner is about, see [alerts](../how_to/alerts.md).",
        alert_codes,
    ),
    Family("ended", "Ends of an account", "A total stop has one of two causes.", ended_codes),
    Family(
        "problems",
        "Data problems",
        "What was wrong with something that was seen, or with a file of the lake. A problem of the candles of a tick "
        "refuses by `DATA_INVALID`, one of the quote by `DATA_STALE`.",
        problem_codes,
    ),
    Family(
        "reruns",
        "Running a tick again",
        "What `tgtqr rerun` finds.",
        lambda: enum_codes(rerunning.Result),
    ),
    Family(
        "comparing",
        "Comparing decisions",
        "In `tgtqr impact` and `tgtqr parity`, in the place of a reason.",
        lambda: {
            code: ""
            for code in dict.fromkeys(constants("impact.py", "parity/"))
            if code not in rule_checks() and code not in reason_codes()
        },
    ),
    Family(
        "parity",
        "Parity",
        "Why a tick and its backtest may differ, as `tgtqr parity` tells it.",
        lambda: enum_codes(parity_findings.Cause),
    ),
    Family(
        "probes", "Probes of a strategy", "What `tgtqr check` asks, in this order.", probe_codes
    ),
    Family("probe states", "Answers of a probe", "", probe_state_codes),
    Family("exit", "Exit codes", "Of every `tgtqr` command.", exit_codes),
)


def codes_page() -> str:
    contents = "\n".join(f"- [{f.title}](#{anchor(f.title)})" for f in FAMILIES)
    parts = [
        MADE,
        "# Codes\n",
        "Every code that the kit says, what it means and what to do.\n",
        contents + "\n",
    ]
    for family in FAMILIES:
        own = family.find()
        meaning = told("MEANING", family.name, own, own)
        to_do = told("TO_DO", family.name, own, {})
        parts.append(f"## {family.title}\n")
        if family.intro:
            parts.append(family.intro + "\n")
        head, rows = ["code", "meaning", "what to do"], []
        for code in own:
            rows.append([f"`{code}`", plain(sentence(meaning[code])), sentence(to_do[code])])
        if family.name == "rules":
            head.insert(1, "of")
            for row, code in zip(rows, own, strict=True):
                row.insert(1, rule_kind(code))
        if family.name == "problems":
            head.append("seen by")
            for row, code in zip(rows, own, strict=True):
                row.append(", ".join(f"`{path}`" for path in problem_places()[code]))
        parts.append(table(head, rows))
    return "\n".join(parts)


def rule_kind(code: str) -> str:
    if code in STOPPED_RULES:
        return "gate, STOPPED"
    if code in GATE_RULES:
        return "gate, REDUCING"
    if code in ACCOUNT_RULES:
        return "an account at the exchange"
    if code not in RULES:
        return "what the strategy needs"
    return "data" if code in DATA_RULES else "order"


def anchor(title: str) -> str:
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


# ---- commands.md


class _Caught(Exception):
    pass


def parser_of(command: str) -> argparse.ArgumentParser:
    """The very parser that `tgtqr COMMAND` makes, caught before it reads a word."""

    def caught(self: argparse.ArgumentParser, *_: Any) -> None:
        raise _Caught(self)

    usual = argparse.ArgumentParser.parse_intermixed_args
    argparse.ArgumentParser.parse_intermixed_args = caught
    try:
        cli.main([command])
    except _Caught as found:
        return found.args[0]
    finally:
        argparse.ArgumentParser.parse_intermixed_args = usual
    raise Incomplete(f"tgtqr {command}: cli.main did not parse its words as expected")


def commands_page() -> str:
    contents = table(
        ["command", ""],
        (
            [f"[`{name}`](#tgtqr-{anchor(name)})", plain(text)]
            for name, text in cli.COMMANDS.items()
        ),
    )
    parts = [
        MADE,
        "# Commands\n",
        "`tgtqr COMMAND --help` says the same in a terminal. Every command takes `--home FOLDER`, where `data/` "
        "and `outputs/` lie, else `TGTQR_HOME`, else the project's own folder, and ends with one of the "
        "[exit codes](codes.md#exit-codes). `--json` prints one object and nothing else. `tgtqr --version` prints "
        "the version.\n",
        contents,
    ]
    for name in cli.COMMANDS:
        parser = parser_of(name)
        parts.append(command_part(parser, f"tgtqr {name}", 2))
        own = ", ".join(str(code) for code in own_exit_codes(name))
        parts.append(f"Exit codes: {own}, or that of an [error](codes.md#exit-codes).\n")
        for part, action in subcommands(parser).items():
            parts.append(command_part(action, f"tgtqr {name} {part}", 3))
    return "\n".join(parts)


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= action.choices
    return found


def command_part(parser: argparse.ArgumentParser, title: str, level: int) -> str:
    given = sorted((a for a in parser._actions if shown(a)), key=lambda a: bool(a.option_strings))
    line = [title, *(usage(a) for a in given)]
    if inner := subcommands(parser):
        line += ["|".join(inner), "..."]
    parts = [f"{'#' * level} {title}\n", "```\n" + " ".join(filter(None, line)) + "\n```\n"]
    parts.append(blocks(parser.description or ""))
    rows = [
        [f"`{name_of(a)}`", plain(help_of(a))] for a in given if "--home" not in a.option_strings
    ]
    if rows:
        parts.append(table(["option", "meaning"], rows))
    return "\n".join(parts)


def shown(action: argparse.Action) -> bool:
    hidden = action.help is argparse.SUPPRESS or isinstance(action, argparse._HelpAction)
    return not hidden and not isinstance(action, argparse._SubParsersAction)


def name_of(action: argparse.Action) -> str:
    value = value_of(action)
    if action.option_strings:
        return ", ".join(action.option_strings) + (f" {value}" if value else "")
    return value


def value_of(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    text = action.metavar or action.dest.upper()
    if action.metavar is None and action.choices is not None:
        text = "|".join(str(one) for one in action.choices)
    return f"{text}..." if action.nargs in ("*", "+") else str(text)


def usage(action: argparse.Action) -> str:
    if "--home" in action.option_strings:
        return ""
    needed = action.nargs not in ("?", "*") if not action.option_strings else action.required
    return name_of(action) if needed else f"[{name_of(action)}]"


def help_of(action: argparse.Action) -> str:
    """The option's help; its choices and its default where neither name nor help tells them."""
    text = action.help % vars(action) if action.help else ""
    if bare := re.fullmatch(r"\((.+)\)", text):  # a help that is nothing but the default
        text = f"default {bare[1]}"
    parts = [text] if text else []
    if action.metavar is not None and action.choices is not None:
        parts.append("one of " + ", ".join(map(str, action.choices)))
    default = "" if action.default is argparse.SUPPRESS else action.default
    if default and not isinstance(default, (bool, list)):
        default = f"{default:g}" if isinstance(default, float) else str(default)
        if not any(default in part for part in parts):
            parts.append(f"default {default}")
    return sentence("; ".join(parts)) if parts else ""


def own_exit_codes(command: str) -> list[int]:
    """What the command itself can return: every whole number in a `return` of its module, names resolved."""
    module = importlib.import_module(f"tgtqr_lib.commands.{command}")
    found = {0}
    for function in trees()[f"commands/{command}.py"].body:
        if not (isinstance(function, ast.FunctionDef) and ast_name(function.returns) == "int"):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Return) and node.value is not None:
                found |= set(numbers(node.value, module))
    return sorted(found)


def ast_name(node: ast.AST | None) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def numbers(value: ast.AST, module: Any) -> Iterator[int]:
    if isinstance(value, ast.IfExp):
        yield from numbers(value.body, module)
        yield from numbers(value.orelse, module)
    elif isinstance(value, ast.Constant) and type(value.value) is int:
        yield value.value
    elif isinstance(value, ast.Name) and type(getattr(module, value.id, None)) is int:
        yield getattr(module, value.id)
    elif isinstance(value, ast.Subscript):
        known = getattr(module, ast_name(value.value), {})
        yield from (code for code in known.values() if type(code) is int)


# ---- strategies.md and signals.md


def strategies_page() -> str:
    parts = [
        MADE,
        "# Strategies\n",
        "`strategy` in `settings.toml` names one, `[parameters]` sets its parameters. All are whole numbers; a value "
        "out of range is an error. How to add your own: [add a strategy](../how_to/add_a_strategy.md).\n",
        table(
            ["strategy", ""],
            ([f"[`{n}`](#{anchor(n)})", plain(sentence(s.text))] for n, s in STRATEGIES.items()),
        ),
    ]
    for name, strategy in STRATEGIES.items():
        parts += [f"## {name}\n", blocks(strategy_text(strategy))]
        rows = [
            [f"`{key}`", str(p.default), f"{p.low} to {p.high} {p.unit}", sentence(p.text)]
            for key, p in strategy.parameters.items()
        ]
        if rows:
            parts.append(table(["parameter", "default", "range", "meaning"], rows))
        defaults = strategy.checked({})
        minutes = strategy.lookback(**defaults)
        parts.append(f"Needs {minutes} closed minutes at its defaults.\n")
        parts += more(strategy, Strategy)
    return "\n".join(parts)


def strategy_text(strategy: Strategy) -> str:
    """The module's first sentence, then what the target function promises."""
    module = inspect.getmodule(strategy.targets)
    texts = [inspect.cleandoc(t) for t in (module.__doc__, strategy.targets.__doc__) if t]
    return "\n\n".join(texts) or sentence(strategy.text)


def more(value: Any, kind: type) -> list[str]:
    """What a dataclass declares beyond the usual, such as the data it needs."""
    usual = {"name", "text", "targets", "lookback", "reference", "parameters", "fast"}
    lines = []
    for field in fields(kind) if is_dataclass(kind) else ():
        found = getattr(value, field.name)
        if field.name in usual or callable(found) or not found:
            continue
        lines.append(f"- {field.name}: {shown_value(found)}")
    return ["\n".join(lines) + "\n"] if lines else []


def shown_value(value: Any) -> str:
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(
            sorted(map(str, value)) if isinstance(value, (set, frozenset)) else map(str, value)
        )
    return plain(str(value))


def signals_page() -> str:
    registry = getattr(signals, "SIGNALS", {})
    parts = [MADE, "# Signals\n", sentence(first_paragraph(signals.__doc__)) + "\n"]
    if registry:
        head = ["signal", "what it is", "unit", "needs beside closes"]
        rows = []
        for name, one in registry.items():
            needs = shown_value(getattr(one, "needs", None) or ())
            unit = plain(str(getattr(one, "unit", "")))
            rows.append([f"`{name}`", plain(signal_text(one)), unit, needs or "-"])
        parts += [table(head, rows), "## Where each comes from\n"]
        sources = [
            f"- `{name}`: {plain(str(one.source))}"
            for name, one in registry.items()
            if getattr(one, "source", "")
        ]
        parts.append("\n".join(sources) + "\n")
    parts.append("## Files\n")
    for found in sorted(pkgutil.iter_modules(signals.__path__), key=lambda m: m.name):
        module = importlib.import_module(f"{signals.__name__}.{found.name}")
        parts += [f"### `signals/{found.name}.py`\n", blocks(module.__doc__ or "")]
        public = [
            f"- `{name}`: {plain(first_paragraph(value.__doc__))}"
            for name, value in vars(module).items()
            if inspect.isfunction(value)
            and value.__module__ == module.__name__
            and not name.startswith("_")
        ]
        if public:
            parts.append("\n".join(public) + "\n")
    return "\n".join(parts)


def signal_text(one: Any) -> str:
    return sentence(getattr(one, "text", "") or first_paragraph(inspect.getdoc(one)))
