"""Messages reach real receivers by HTTP and SMTP, survive bad ones, and no secret is told on the way."""

import json
import logging
import os
import socket
import stat
import subprocess
from itertools import pairwise

import pytest

from tests.alert_receivers import http_receiver, smtp_receiver
from tests.stage import command
from tgtqr_lib import cli, journal
from tgtqr_lib.alerts import addresses, outbox, policy
from tgtqr_lib.alerts import state as kept
from tgtqr_lib.alerts.addresses import Address, open_all
from tgtqr_lib.alerts.messages import Condition
from tgtqr_lib.domain import DomainError

NOON, MINUTE = 1_795_348_800_000, 60_000  # 2026-11-22T12:00Z
SECRETS = ["hunter2", "topsecretpath", "sesame-token"]
PATIENT = "?rto=0.3&cto=0.3"  # seconds that apprise waits for an answer


@pytest.fixture
def receiver():
    with http_receiver() as found:
        yield found


@pytest.fixture
def free_port():
    """A port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def tell(home, monkeypatch):
    """Set the addresses; then put messages into the queue, a minute after noon each, and deliver."""
    journal.start(home)

    class Told:
        minute = 0

        def to(self, *urls):
            monkeypatch.setenv("TGTQR_ALERTS", " ".join(urls))

        def queue(self, *names):
            with kept.changing(home) as state:
                found = [Condition("STOPPED", "x", name, title=name, mark=name) for name in names]
                policy.update(state, found, {"STOPPED"}, self.now, "lab")

        def deliver(self, minute=None):
            self.minute = self.minute if minute is None else minute
            return [one.trouble for one in outbox.deliver(home, self.now, written)]

        @property
        def now(self):
            return NOON + self.minute * MINUTE

        @property
        def waiting(self):
            return [m.title.removeprefix("TGT QR: ") for m in kept.read(home).queue]

    return Told()


def written(message):
    return f"TGT QR: {message.day}", "the words of a summary"


def events(home, name):
    lines = home.log.read_text("utf-8").splitlines()
    return [found for found in map(journal.read_line, lines) if found["event"] == name]


# ---------------------------------------------------------------------- what arrives


def test_messages_arrive_in_their_order_at_every_address(home, tell, receiver):
    with http_receiver() as other:
        tell.to(receiver.url(), other.url())
        tell.queue("one", "two")
        assert tell.deliver() == [None] * 4
        assert receiver.titles == other.titles == ["one", "two"]
    assert receiver.got[0]["type"] == "failure"
    assert receiver.got[0]["message"] == "x\nSTOPPED, home lab, 2026-11-22 12:00 UTC"
    assert tell.waiting == [] and tell.deliver(99) == []
    assert [one["to"] for one in events(home, "alert_sent")] == [
        *[f"JSON at 127.0.0.1:{receiver.port}"] * 2,
        *[f"JSON at 127.0.0.1:{other.port}"] * 2,
    ]


def test_a_message_arrives_by_mail(home, tell):
    with smtp_receiver() as mailbox:
        tell.to(f"mailto://127.0.0.1:{mailbox.port}?from=kit@example.org&to=owner@example.org")
        tell.queue("stopped")
        assert tell.deliver() == [None]
    ((recipients, mail),) = mailbox.got
    assert recipients == ["owner@example.org"] and mail["Subject"] == "TGT QR: stopped"
    assert "home lab, 2026-11-22 12:00 UTC" in mail.get_body(("plain", "html")).get_content()


def test_a_summary_gets_its_words_when_it_is_sent(home, tell, receiver):
    tell.to(receiver.url())
    with kept.changing(home) as state:
        policy.summary(state, "2026-11-21", NOON)
    assert tell.deliver() == [None]
    assert (receiver.titles, receiver.got[0]["message"]) == (
        ["2026-11-21"],
        "the words of a summary",
    )


# ---------------------------------------------------------------------- bad receivers


@pytest.mark.parametrize("mode", ["500", "hang", "dead"])
def test_what_a_bad_receiver_does_not_take_waits_and_arrives_when_it_is_well(
    home, tell, receiver, free_port, mode
):
    good_port, receiver.mode = receiver.port, mode
    receiver.port = free_port if mode == "dead" else good_port
    tell.to(receiver.url(query=PATIENT))
    tell.queue("one", "two")
    (trouble,) = tell.deliver()  # the second is not tried after the first failed
    assert trouble
    assert tell.waiting == ["one", "two"] and receiver.got == []
    assert events(home, "alert_not_sent")[0]["text"] == trouble
    receiver.mode, receiver.port = "ok", good_port
    tell.to(receiver.url(query=PATIENT))
    assert tell.deliver(1) == [None, None]
    assert receiver.titles == ["one", "two"] and tell.waiting == []


def test_a_receiver_that_drips_is_left_after_a_while(home, tell, receiver, monkeypatch):
    monkeypatch.setattr(addresses, "SEND_S", 0.5)
    receiver.mode = "drip"
    tell.to(receiver.url())
    tell.queue("one")
    assert tell.deliver() == ["no answer within 0.5 s"]
    assert tell.waiting == ["one"]


def test_the_pauses_double_up_to_an_hour(home, tell, receiver):
    receiver.mode = "500"
    tell.to(receiver.url())
    tell.queue("one")
    tried = [minute for minute in range(310) if due_then_deliver(home, tell, minute)]
    pauses = [later - earlier for earlier, later in pairwise(tried)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]


def due_then_deliver(home, tell, minute):
    return outbox.due(kept.read(home), NOON + minute * MINUTE) and tell.deliver(minute)


def test_a_bad_address_does_not_hold_up_a_good_one(home, tell, receiver, free_port):
    dead = f"json://127.0.0.1:{free_port}"
    tell.to(dead, receiver.url())
    tell.queue("one")
    first, second = tell.deliver()
    assert first and second is None and receiver.titles == ["one"]
    assert tell.waiting == ["one"]  # for the dead one
    tell.minute = 5
    tell.queue("two")
    assert [trouble is None for trouble in tell.deliver()] == [True, False]  # the good one first
    assert receiver.titles == ["one", "two"]  # and none twice
    tell.to(receiver.url())  # the owner takes the dead one out
    tell.deliver(6)
    assert tell.waiting == []


def test_a_sender_that_was_killed_in_the_middle_counts_as_a_failure(home, tell, receiver):
    receiver.mode = "hang"
    home.root.joinpath(".env").write_text(f'TGTQR_ALERTS="{receiver.url(query="?rto=60")}"\n')
    home.root.joinpath(".env").chmod(0o600)
    tell.queue("one")
    sender = outbox.start(home, tell.now)
    assert receiver.asked.wait(30)
    sender.kill()
    sender.wait()
    state = kept.read(home)
    (turn,) = state.turns.values()
    assert (turn.failures, turn.next_ms) == (1, NOON + MINUTE)
    assert tell.waiting == ["one"] and state.sender_ms == NOON
    receiver.mode = "ok"
    tell.to(receiver.url())
    assert tell.deliver(1) == [None] and receiver.titles == ["one"]


def test_while_one_process_sends_no_other_does(home, tell, receiver):
    tell.to(receiver.url())
    tell.queue("one")
    with kept.sending(home) as free:
        assert free and tell.deliver() == []
    assert tell.deliver() == [None]


# ---------------------------------------------------------------------- the state


def test_the_state_is_for_its_owner_alone_and_holds_no_address(home, tell, receiver):
    receiver.mode = "500"
    tell.to(f"json://owner:hunter2@127.0.0.1:{receiver.port}/topsecretpath?+X-Auth=sesame-token")
    tell.queue("one")
    tell.deliver()
    path = kept.path_of(home)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for text in (path.read_text(), home.log.read_text()):
        assert not [secret for secret in SECRETS if secret in text]


def test_a_state_that_cannot_be_read_is_put_aside(home):
    kept.path_of(home).write_text('{"queue": 7}')
    with kept.changing(home) as state:
        assert state == kept.State()
    assert kept.path_of(home).with_suffix(".damaged").read_text() == '{"queue": 7}'


def test_the_state_survives_a_restart(home):
    with kept.changing(home) as state:
        policy.update(state, [Condition("DISK", "x")], (), NOON, "lab")
        before = state.model_copy(deep=True)
    assert kept.read(home) == before


# ---------------------------------------------------------------------- names and sentences


@pytest.mark.parametrize(
    "url, name",
    [
        ("json://u:hunter2@hooks.example.org/topsecretpath", "JSON at hooks.example.org"),
        ("jsons://127.0.0.1:8443/topsecretpath", "JSON at 127.0.0.1:8443"),
        ("mailtos://me:hunter2@gmail.com", "E-Mail at smtp.gmail.com:587"),
        ("tgram://123456789:abcdefghijklmnopqrstuvwxyz012345/987", "Telegram at api.telegram.org"),
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", "Slack"),
        ("ntfy://topsecretpath", "ntfy at ntfy.sh"),
        ("ntfys://topsecret.path", "ntfy at ntfy.sh"),
        ("ntfys://ntfy.example.org/topsecretpath", "ntfy at ntfy.example.org"),
        ("discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js", "Discord at discord.com"),
        ("gotify://gotify.example.org/AbcdefghijklmnO", "Gotify at gotify.example.org"),
    ],
)
def test_an_address_is_named_by_service_and_host(url, name):
    address = Address(1, url)
    assert (address.name, address.problem) == (name, None)


@pytest.mark.parametrize(
    "url",
    [
        "nope://hunter2/topsecretpath",
        "topsecretpath",
        "slack://hunter2/topsecretpath/sesame-token",
        "json://a.org/hunter2,json://b.org/topsecretpath",
        "tgram://topsecretpath",
        "://hunter2",
    ],
)
def test_an_address_that_is_none_is_a_sentence_without_its_secrets(url, capfd):
    address = Address(2, url)
    assert address.problem.startswith("TGTQR_ALERTS: address 2")
    assert "expected something like ntfys://" in address.problem
    assert address.send("t", "b", "info") == address.problem
    said = "".join(capfd.readouterr()) + address.problem + address.name
    assert not [secret for secret in SECRETS if secret in said]


def test_two_addresses_at_one_host_have_two_names(home, monkeypatch):
    monkeypatch.setenv("TGTQR_ALERTS", "json://h.example.org/one json://h.example.org/two")
    names = [one.name for one in open_all(home)]
    assert names == ["JSON at h.example.org", "JSON at h.example.org, number 2"]


def test_what_apprise_tells_of_a_failure_holds_nothing_of_the_url(receiver, caplog, capfd):
    receiver.mode = "500"
    caplog.set_level(logging.DEBUG)
    url = f"json://owner:hunter2@127.0.0.1:{receiver.port}/topsecretpath?+X-Auth=sesame-token"
    trouble = Address(1, url).send("t", "b", "info")
    assert "500" in trouble
    said = "".join(capfd.readouterr()) + trouble
    said += " ".join(r.getMessage() for r in caplog.records if r.name.startswith("apprise"))
    assert not [secret for secret in SECRETS if secret in said]


# ---------------------------------------------------------------------- the command


def test_alert_test_says_of_each_address_whether_its_message_arrived(home, receiver, free_port):
    env = home.root / ".env"
    env.write_text(
        f'TGTQR_ALERTS="{receiver.url("topsecretpath")} '
        f'json://owner:hunter2@127.0.0.1:{free_port} nope://sesame-token"\n'
    )
    env.chmod(0o600)
    done = command(home, "alert", "test", "--json")
    facts = json.loads(done.stdout)
    assert (done.returncode, facts["arrived"], done.stderr) == (4, False, "")
    good, dead, none = facts["addresses"]
    assert good == {
        "address": f"JSON at 127.0.0.1:{receiver.port}",
        "arrived": True,
        "trouble": None,
    }
    assert dead["address"] == f"JSON at 127.0.0.1:{free_port}" and not dead["arrived"]
    assert "nope://" in none["address"] and not none["arrived"]
    assert receiver.titles == ["a test"]
    assert not [secret for secret in SECRETS if secret in done.stdout]
    people = command(home, "alert", "test")
    assert people.stdout.splitlines()[0] == f"JSON at 127.0.0.1:{receiver.port}: arrived"
    assert ": NOT: " in people.stdout.splitlines()[1]


def test_alert_test_ends_with_0_when_all_arrived(home, receiver, monkeypatch, capsys):
    monkeypatch.setenv("TGTQR_ALERTS", receiver.url())
    assert cli.main(["alert", "test"]) == 0
    assert capsys.readouterr().out == f"JSON at 127.0.0.1:{receiver.port}: arrived\n"


@pytest.mark.parametrize("what", ["test", "send"])
def test_without_an_address_the_command_says_where_to_put_one(home, capsys, what):
    assert cli.main(["alert", what]) == 2
    assert "TGTQR_ALERTS is neither in the environment nor in" in capsys.readouterr().err


def test_an_env_file_that_others_may_read_is_refused(home, tell, receiver, capsys):
    home.root.joinpath(".env").write_text(f"TGTQR_ALERTS={receiver.url('topsecretpath')}\n")
    home.root.joinpath(".env").chmod(0o644)
    assert cli.main(["alert", "test"]) == 2
    said = capsys.readouterr().err
    assert "0600" in said and "topsecretpath" not in said and receiver.got == []
    with pytest.raises(DomainError):
        tell.deliver()


def test_send_tries_at_once_what_waits_and_show_tells_what_waits(home, tell, receiver, capsys):
    receiver.mode = "500"
    tell.to(receiver.url())
    tell.queue("one")
    tell.deliver()
    assert cli.main(["alert", "show", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert [m["title"] for m in facts["waits"]] == ["TGT QR: one"]
    assert facts["failing"][0]["failures"] == 1 and facts["holds"][0]["code"] == "STOPPED"
    assert cli.main(["alert", "send"]) == 4
    receiver.mode = "ok"
    assert cli.main(["alert", "send"]) == 0  # its pause is not over, but a person asked
    assert receiver.titles == ["one"]
    assert cli.main(["alert", "show"]) == 0
    shown = capsys.readouterr().out
    assert "sent last\n  2026-11-22T12:00:00Z  TGT QR: one\nwaits: nothing\n" in shown


def test_the_sender_gets_no_key_of_an_account(home, monkeypatch):
    monkeypatch.setenv("BYBIT_API_KEY", "a-key-of-an-account")
    monkeypatch.setenv("BYBIT_API_SECRET", "its-secret-and-more")
    started = []
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **options: started.append((a, options)))
    with pytest.raises(AttributeError):  # what is started has no number
        outbox.start(home, NOON)
    ((words,), options) = started[0]
    assert not {"BYBIT_API_KEY", "BYBIT_API_SECRET"} & set(options["env"])
    assert set(options["env"]) >= set(os.environ) - {"BYBIT_API_KEY", "BYBIT_API_SECRET"}
    assert "json" not in " ".join(words[3:])
