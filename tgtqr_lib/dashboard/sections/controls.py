"""Changing parameters and tightening limits, and arming again: each in two steps, each by a command.

Nothing is decided here. A value is shown to the command line's own checks, which answer with what it would
have changed over the last day; only a second button has it done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as widgets

from tgtqr_lib import journal
from tgtqr_lib.clock import parse_time
from tgtqr_lib.dashboard.clerk import Answer, ask_aside
from tgtqr_lib.dashboard.facts import Snapshot
from tgtqr_lib.dashboard.issued import Lateness
from tgtqr_lib.dashboard.parts import card, empty, esc, table, when
from tgtqr_lib.home import Home

TITLE = "Controls"
LONGEST = 200  # characters of a value or a reason
BY_PAGE = ("--by", "page")
CHANGES_SHOWN = 8


class Controls:
    """The section; `changed` counts what its commands did, so that the page draws again."""

    def __init__(self, home: Home, lateness: Lateness) -> None:
        self.home, self.lateness, self.changed = home, lateness, 0
        self.head = widgets.HTML(card(TITLE, empty("Loading.")))
        self.fields: dict[str, widgets.Text] = {}
        self.form = widgets.Box()
        self.form.add_class("form")
        self.answer = widgets.HTML()
        self.try_it = _button("Show what it would change", "info", self._preview)
        self.confirm = _button("Confirm the change", "warning", self._change)
        self.cancel = _button("Cancel", "", self._cancel)
        self._pending: list[str] = []
        self._known: Mapping[str, str] = {}  # the values in force, as last seen
        self._question = 0  # counts what was asked: only the newest is answered
        self.reason = widgets.Text(description="Reason for arming again")
        self.arm = _button("Arm again …", "", self._ask_to_arm)
        self.arm_really = _button("Yes, allow entries again", "danger", self._arm)
        self.arm_not = _button("No, stay stopped", "", self._cancel_arm)
        self.arm_answer = widgets.HTML()
        self._arm_reason = ""
        self.arming = widgets.VBox(
            [_form(self.reason, self.arm), self.arm_answer, _form(self.arm_really, self.arm_not)]
        )
        self._offer_confirm(False)
        self._offer_arm(False)
        buttons = _form(self.try_it, self.confirm, self.cancel)
        self.widget = widgets.VBox([self.head, self.form, buttons, self.answer, self.arming])
        for part, name in (
            (self.widget, "card"),
            (self.widget, "controls"),
            (self.arming, "arming"),
        ):
            part.add_class(name)

    def show(self, seen: Snapshot) -> None:
        """Bring names, values and ranges up to date; what somebody is typing stays."""
        rows = seen.sources
        for row in rows:
            name = row["name"]
            if name not in self.fields:
                self.fields[name] = field = widgets.Text(
                    value=row["value"], description=f"{name}, {_range(row)}"
                )
                field.observe(self._edited, "value")
                self.form.children = tuple(self.fields.values())
            elif not self._pending and self.fields[name].value == self._known.get(name):
                self.fields[name].value = row["value"]
        self._known = {row["name"]: row["value"] for row in rows}
        shown = [
            [
                f"<code>{esc(r['name'])}</code>",
                esc(r["value"]),
                esc(_range(r)),
                esc(r["source"]) + _coming(r),
            ]
            for r in rows
        ]
        body = table(("name", "in force", "allowed here", "from"), shown, numbers="-nWW")
        body += _history(seen) if seen.controls else ""
        note = (
            "A change takes effect at the next tick and is kept in the ledger. Here limits can only be tightened; "
            "loosening them back needs <code>tgtqr settings loosen</code> with a reason, and holds from the "
            "next UTC day."
        )
        if seen.settings.demo_limits_scale != 1:
            note += f" On this account limits and order size count {seen.settings.demo_limits_scale:f} times."
        text = f"<h2>{TITLE}</h2>{body}<p class=note>{note}</p>"
        if self.head.value != text:
            self.head.value = text
        hidden = "none" if seen.stopped is None else None
        if self.arming.layout.display != hidden:
            self.arming.layout.display = hidden

    def _edited(self, _: Any) -> None:
        """What was asked of other values is asked no more."""
        self._question += 1
        self._pending = []
        self._offer_confirm(False)
        self.answer.value = ""

    def _preview(self, _: Any) -> None:
        if self._late(self.answer):
            return
        wanted = {name: self._text(field) for name, field in self.fields.items()}
        self._pending = [
            f"{name}={value}" for name, value in wanted.items() if value != self._known.get(name)
        ]
        self._offer_confirm(False)
        if not self._pending:
            _say(self.answer, "Nothing differs from what is in force; change a value first.")
            return
        _say(self.answer, "Looking at the last 24 hours …")
        self._question += 1
        asked = self._question
        ask_aside(
            self.home,
            ["settings", "change", "--preview", *self._pending],
            lambda answer: self._previewed(answer) if asked == self._question else None,
        )

    def _previewed(self, answer: Answer) -> None:
        if not answer.ok:
            self._refused(answer)
            return
        self.answer.value = preview_html(answer.facts or {})
        self._offer_confirm(True)

    def _change(self, _: Any) -> None:
        if self._late(self.answer) or not self._pending:
            return
        self._offer_confirm(False)
        _say(self.answer, "Recording the change …")
        ask_aside(self.home, ["settings", "change", *BY_PAGE, *self._pending], self._done)

    def _done(self, answer: Answer) -> None:
        if not answer.ok:
            self._refused(answer)
            return
        self._pending = []
        self.changed += 1
        _say(self.answer, "Recorded in the ledger. It takes effect at the next tick.")

    def _refused(self, answer: Answer) -> None:
        journal.event("page_refused", asked=" ".join(self._pending), text=answer.text)
        self._pending = []
        _say(self.answer, answer.text or f"refused (exit code {answer.code})", bad=True)

    def _cancel(self, _: Any) -> None:
        self._pending = []
        self._offer_confirm(False)
        for name, field in self.fields.items():
            field.value = self._known.get(name, "")
        self.answer.value = ""

    def _ask_to_arm(self, _: Any) -> None:
        if self._late(self.arm_answer):
            return
        self._arm_reason = self._text(self.reason).strip()
        self._offer_arm(bool(self._arm_reason))
        if not self._arm_reason:
            _say(self.arm_answer, "Arming needs a reason: type why trading may go on.", bad=True)
        else:
            _say(self.arm_answer, "Entries will be allowed again, from the next tick on. Really?")

    def _arm(self, _: Any) -> None:
        if self._late(self.arm_answer) or not self._arm_reason:
            return
        self._offer_arm(False)
        _say(self.arm_answer, "Arming …")
        ask_aside(self.home, ["arm", f"--reason={self._arm_reason}", *BY_PAGE], self._armed)

    def _armed(self, answer: Answer) -> None:
        self._arm_reason = ""
        self.changed += 1
        if answer.ok:
            self.reason.value = ""
            _say(self.arm_answer, "Armed. Entries also need a watch beat in the last 180 s.")
        else:
            journal.event("page_refused", asked="arm", text=answer.text)
            _say(self.arm_answer, answer.text or f"refused (exit code {answer.code})", bad=True)

    def _cancel_arm(self, _: Any) -> None:
        self._arm_reason = ""
        self._offer_arm(False)
        _say(self.arm_answer, "Not armed.")

    def _late(self, place: widgets.HTML) -> bool:
        late = self.lateness.too_old()
        if late:
            journal.event("page_refused", asked="click", text=late)
            _say(place, late, bad=True)
        return late is not None

    def _text(self, field: widgets.Text) -> str:
        """What stands in a field; the socket can put anything there, and no length of it."""
        return str(field.value)[:LONGEST].replace("\x00", "\ufffd")

    def _offer_confirm(self, offered: bool) -> None:
        _visible(offered, self.confirm, self.cancel)

    def _offer_arm(self, offered: bool) -> None:
        _visible(offered, self.arm_really, self.arm_not)


def preview_html(facts: Mapping[str, Any]) -> str:
    """Before and after of each value, and the decisions of the last day that would have been others."""
    rows = [
        [f"<code>{esc(one['name'])}</code>", esc(one["old"]), esc(one["new"])]
        for one in facts.get("changes", ())
    ]
    impact = facts.get("impact") or {}
    changed, untold = impact.get("changed", []), impact.get("cannot_be_told", [])
    text = table(("name", "before", "after"), rows, numbers="-nn")
    text += "".join(f"<p><b>{esc(note)}</b></p>" for note in facts.get("notes", ()))
    text += (
        f"<p>Over the last 24 h: {impact.get('ticks', 0)} ticks looked at, in {impact.get('ticks_changed', 0)} "
        f"something else would have been decided"
        f"{f', of {len(untold)} it cannot be told' if untold else ''}. {esc(impact.get('note', ''))}.</p>"
    )
    if changed:
        lines = [
            [
                when(parse_time(one["tick_id"]), day=True),
                esc(one["symbol"]),
                esc(_decided(one["before"])),
                esc(_decided(one["after"])),
            ]
            for one in changed[-CHANGES_SHOWN:][::-1]
        ]
        text += table(("tick", "symbol", "decided", "would have decided"), lines)
        if len(changed) > CHANGES_SHOWN:
            text += f"<p>and {len(changed) - CHANGES_SHOWN} more</p>"
    return text


def _decided(choice: Mapping[str, Any]) -> str:
    order = choice["order"] if choice["approved"] else None
    return f"{choice['signal']}: {order or 'no order, ' + choice['reason']}"


def _range(row: Mapping[str, Any]) -> str:
    unit = f" {row['unit']}" if row.get("unit") else ""
    least, most = (row["low"], row["value"] if row["name"].startswith("limits.") else row["high"])
    return f"{least} to {most}{unit}"


def _coming(row: Mapping[str, Any]) -> str:
    return f"; <b>{esc(row['coming'])}</b>" if row.get("coming") else ""


def _history(seen: Snapshot) -> str:
    lines = [
        [
            when(row.body["at"], day=True),
            esc(row.body["by"]),
            esc(row.body["who"]),
            ", ".join(
                f"<code>{esc(n)}</code> {esc(c['old'])} → {esc(c['new'])}"
                for n, c in row.body["changes"].items()
            ),
        ]
        for row in seen.controls[:CHANGES_SHOWN]
    ]
    return f"<details><summary>Changes so far</summary>{table(('when', 'by', 'who', 'what'), lines)}</details>"


def _button(text: str, style: str, handler: Callable[[Any], None]) -> widgets.Button:
    button = widgets.Button(description=text, button_style=style)
    button.on_click(handler)
    return button


def _form(*parts: widgets.Widget) -> widgets.Box:
    box = widgets.Box(parts)
    box.add_class("form")
    return box


def _visible(visible: bool, *parts: widgets.Widget) -> None:
    for part in parts:
        part.layout.display = None if visible else "none"


def _say(place: widgets.HTML, text: str, *, bad: bool = False) -> None:
    tone = ' class="down"' if bad else ""
    place.value = f"<p{tone}>{esc(text)}</p>"
