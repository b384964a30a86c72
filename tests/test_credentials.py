"""Keys come from a file that nobody else reads, or from the environment, and are never shown."""

import base64
import copy
import json
import logging
import os
import pickle
import subprocess
import sys
import time
import urllib.parse
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tgtqr_lib import after_day, after_stop, canonical, credentials, journal, tick
from tgtqr_lib.credentials import (
    MASK,
    Credentials,
    Secret,
    alert_urls,
    find,
    known_secrets,
    lookup,
    read_env_file,
    redact,
    without_secrets,
)
from tgtqr_lib.dashboard import child
from tgtqr_lib.dashboard.kernels import kernel_environment
from tgtqr_lib.domain import DomainError
from tgtqr_lib.kernel import kernels

PROJECT = Path(__file__).parents[1]
# not the canary's: a search for that after a test run would find what these tests write
A_KEY, A_SECRET = "Zq7Qw2ZtRbX9eK1m0T", "hW5mVhJ8uPq3LxYt6NdKf0Gc2Wr4BaZ9E7sQ"
PAIR = f"BYBIT_API_KEY={A_KEY}\nBYBIT_API_SECRET={A_SECRET}\n"


@pytest.fixture(autouse=True)
def a_process_that_knows_nothing(monkeypatch):
    """What a test reads is forgotten after it, and the caller's own keys are not seen."""
    for name in ("BYBIT_API_KEY", "BYBIT_API_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(credentials, "_known", {})
    monkeypatch.setattr(credentials, "_pattern", None)


def env_file(home, text, mode=0o600):
    path = home.root / ".env"
    path.unlink(missing_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


def refusal(home, text, mode=0o600):
    """The sentence with which `.env` is refused; it holds neither key nor secret."""
    env_file(home, text, mode)
    with pytest.raises(DomainError) as caught:
        find(home)
    assert A_KEY not in str(caught.value) and A_SECRET not in str(caught.value)
    return str(caught.value)


# ---- a secret


def test_a_secret_shows_itself_only_when_asked():
    secret = Secret(A_SECRET)
    shown = [
        str(secret),
        repr(secret),
        f"{secret}",
        f"{secret!r:>20}",
        str.format("{}", secret),
        f"{[secret]}",
    ]
    shown += [repr(Credentials(Secret(A_KEY), secret)), format(secret, ">99")]
    assert not [text for text in shown if A_SECRET in text or A_KEY in text]
    assert secret.reveal() == A_SECRET


def test_secrets_are_equal_by_their_text_and_can_be_in_a_set():
    assert Secret("abcdefgh") == Secret("abcdefgh") != Secret("abcdefgi")
    assert Secret("abcdefgh") != "abcdefgh"
    assert len({Secret("abcdefgh"), Secret("abcdefgh"), Secret("schlüssel")}) == 2


@pytest.mark.parametrize(
    "way",
    [
        pickle.dumps,
        copy.copy,
        copy.deepcopy,
        json.dumps,
        canonical.dumps,
        lambda secret: canonical.dumps({"key": secret}),
        lambda secret: asdict(Credentials(secret, secret)),
        vars,
        lambda secret: setattr(secret, "_text", "another"),
    ],
)
def test_a_secret_is_not_taken_along(way):
    with pytest.raises((TypeError, AttributeError, DomainError)) as caught:
        way(Secret(A_SECRET))
    assert A_SECRET not in str(caught.value)


def test_a_value_that_holds_a_secret_does_not_show_it():
    @dataclass
    class Account:
        name: str
        secret: Secret

    assert A_SECRET not in repr(Account("mine", Secret(A_SECRET)))


# ---- where they come from


def test_without_file_and_environment_there_are_no_keys(home):
    assert find(home) is None and read_env_file(home.root / ".env") == {}
    assert known_secrets(home) == () == alert_urls(home)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_the_keys_of_a_file_that_only_its_owner_reads(home, mode):
    env_file(home, "# mine\n\nexport BYBIT_API_KEY='" + A_KEY + "'\n"
             f'BYBIT_API_SECRET="{A_SECRET}"  # of the demo account\n', mode)  # fmt: skip
    found = find(home)
    assert (found.key.reveal(), found.secret.reveal()) == (A_KEY, A_SECRET)


def test_the_environment_is_over_the_file(home, monkeypatch):
    env_file(home, PAIR)
    monkeypatch.setenv("BYBIT_API_KEY", "AnotherKey123")
    monkeypatch.setenv("BYBIT_API_SECRET", "AnotherSecret456")
    assert find(home).key.reveal() == "AnotherKey123"


@pytest.mark.parametrize("name", ["BYBIT_API_KEY", "BYBIT_API_SECRET"])
def test_half_a_pair_in_the_environment_is_not_made_whole_from_the_file(home, monkeypatch, name):
    env_file(home, PAIR)
    monkeypatch.setenv(name, "Half0f0neAccount")
    other = {"BYBIT_API_KEY": "BYBIT_API_SECRET", "BYBIT_API_SECRET": "BYBIT_API_KEY"}[name]
    with pytest.raises(DomainError, match=f"^environment: {other} is missing; expected key and "):
        find(home)


def test_nothing_is_interpolated(home, monkeypatch):
    monkeypatch.setenv("USER_NAME", "somebody")
    env_file(home, "TGTQR_ALERTS=json://x.example/${USER_NAME}\nTGTQR_STRATEGY=$USER_NAME`id`\n")
    assert read_env_file(home.root / ".env") == {
        "TGTQR_ALERTS": "json://x.example/${USER_NAME}",
        "TGTQR_STRATEGY": "$USER_NAME`id`",
    }


def test_a_variable_is_looked_up_in_the_environment_first(home, monkeypatch):
    env_file(home, "TGTQR_ALERTS=json://of.the.file/\n")
    assert lookup(home, "TGTQR_ALERTS") == "json://of.the.file/"
    monkeypatch.setenv("TGTQR_ALERTS", "json://of.the.environment/")
    assert lookup(home, "TGTQR_ALERTS") == "json://of.the.environment/"


def test_a_text_editor_s_mark_and_windows_line_ends_are_no_part_of_a_key(home):
    env_file(home, ("\ufeff" + PAIR).replace("\n", "\r\n"))
    assert find(home).secret.reveal() == A_SECRET


# ---- what is refused


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o700, 0o666])
def test_a_file_that_others_may_read_is_refused_with_the_command_that_helps(home, mode):
    said = refusal(home, PAIR, mode)
    path = home.root / ".env"
    assert said.startswith(f"{path}: has mode {mode:04o}")
    assert said.endswith(f"chmod 600 {path}")


def test_a_folder_a_pipe_and_a_link_to_an_open_file_are_refused(home, tmp_path):
    path = home.root / ".env"
    path.mkdir()
    with pytest.raises(DomainError, match="expected a regular file"):
        find(home)
    path.rmdir()
    os.mkfifo(path, 0o600)
    with pytest.raises(DomainError, match="expected a regular file"):
        find(home)
    path.unlink()
    open_file = tmp_path / "open"
    open_file.write_text(PAIR)
    open_file.chmod(0o644)
    path.symlink_to(open_file)
    with pytest.raises(DomainError, match="has mode 0644"):
        find(home)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused_and_one_of_root_is_not(home, monkeypatch):
    path = env_file(home, PAIR)
    os.chown(path, 1234, -1)
    with pytest.raises(DomainError, match="belongs to user 1234; expected user 0"):
        find(home)
    os.chown(path, 0, -1)
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    assert find(home).key.reveal() == A_KEY


@pytest.mark.parametrize(
    "text, where",
    [
        ("BYBIT_KEY=x", "line 1: BYBIT_KEY is not known; expected BYBIT_API_KEY, BYBIT_API_SECRET"),
        ("# a\n\nHTTPS_PROXY=http://x", "line 3: HTTPS_PROXY is not known"),
        (f"{PAIR}{PAIR}", "line 3: BYBIT_API_KEY stands there twice"),
        (f"{PAIR}BYBIT_API_KEY", "line 3 cannot be read; expected NAME=value"),
        (f"{PAIR}BYBIT_API_KEY='{A_KEY}", "line 3 cannot be read"),
        (f"\n{A_SECRET}", "line 2 cannot be read; expected NAME=value"),
        (f"{A_SECRET}=BYBIT_API_SECRET", "line 1: its name is not known"),
        (b"BYBIT_API_KEY=\xff", "is not text in UTF-8"),
    ],
)
def test_a_file_that_cannot_be_trusted_is_refused_by_line(home, text, where):
    assert f"{home.root / '.env'}: {where}" in refusal(home, text)


@pytest.mark.parametrize(
    "key, secret, wrong",
    [
        (A_KEY, "", "BYBIT_API_SECRET is missing"),
        ("", A_SECRET, "BYBIT_API_KEY is missing"),
        (
            A_KEY,
            f"'{A_SECRET[:9]} {A_SECRET[9:]}'",
            "BYBIT_API_SECRET holds a blank",
        ),
        (f"' {A_KEY}'", A_SECRET, "BYBIT_API_KEY holds a blank"),
        (f"\"'{A_KEY}'\"", A_SECRET, "BYBIT_API_KEY holds a quote"),
        (f"\u201c{A_KEY}\u201d", A_SECRET, "BYBIT_API_KEY holds a quote"),
        ("your-key-here", A_SECRET, "BYBIT_API_KEY is a placeholder"),
        (A_KEY, "YOUR_API_SECRET", "BYBIT_API_SECRET is a placeholder"),
        ("changeme", A_SECRET, "BYBIT_API_KEY is a placeholder"),
        ("xxxxxxxxxxxxxxxx", A_SECRET, "BYBIT_API_KEY is a placeholder"),
        (A_KEY, "'-----BEGIN PRIVATE KEY-----\nabc'", "BYBIT_API_SECRET is an RSA key"),
        (f"{A_KEY}\u00e9", A_SECRET, "BYBIT_API_KEY holds a character that no key has"),
        ("short", A_SECRET, "BYBIT_API_KEY has 5 characters; expected at least 8"),
        (A_KEY, A_KEY, "BYBIT_API_KEY and BYBIT_API_SECRET are the same"),
    ],
)
def test_what_is_no_key_is_refused_in_words_that_do_not_hold_it(home, key, secret, wrong):
    assert wrong in refusal(home, f"BYBIT_API_KEY={key}\nBYBIT_API_SECRET={secret}\n")


def test_a_pair_of_empty_names_is_none(home):
    env_file(home, "BYBIT_API_KEY=\nBYBIT_API_SECRET=\n")
    assert find(home) is None


# ---- alerts

URLS = {
    "mailtos://reinhild:s3cr3t-w0rd@mail.example.org?to=owner%40example.net": {
        "reinhild", "s3cr3t-w0rd", "owner@example.net", "reinhild:s3cr3t-w0rd",
    },
    "tgram://123456789:AAE-x_Yz0123456789abcdef/987654321/": {
        "123456789", "AAE-x_Yz0123456789abcdef", "987654321",
    },
    "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#trading": {
        "T1JJ3T3L2", "A1BRTD4JD", "TIiajkdnlazkcOXrIdevi7FQ",
    },
    "ntfy://user:p%40ss%2Fword@ntfy.example.org/my-own-topic-77": {
        "p@ss/word", "p%40ss%2Fword", "my-own-topic-77",
    },
    "mailtos://reinhild:s3cr3t-w0rd@mail.example.org?from=kit@example.org": {"s3cr3t-w0rd"},
    "ntfy://topic-of-nobody-else-1": {"topic-of-nobody-else-1"},
    "jsons://hooks.example.org/services/T00000000/B00000000/XXXYYYZZZ123": {
        "T00000000", "B00000000", "XXXYYYZZZ123",
    },
}  # fmt: skip


@pytest.mark.parametrize("url", URLS)
def test_the_url_of_an_alert_and_each_of_its_secret_parts_are_known(home, url):
    env_file(home, f"TGTQR_ALERTS='{url}'\n")
    found = {secret.reveal() for secret in known_secrets(home)}
    assert {url} | URLS[url] <= found
    # what any text may hold is no secret by itself
    usual = {"services", "mail.example.org", "ntfy.example.org", "hooks.example.org", "trading"}
    assert not usual & found


@pytest.mark.parametrize(
    "url", ["json://127.0.0.1:8765/", "xml://localhost:9", "ntfys://[::1]:80/"]
)
def test_of_a_url_without_a_secret_only_the_whole_is_one(home, url):
    env_file(home, f"TGTQR_ALERTS='{url}'\n")
    assert [secret.reveal() for secret in known_secrets(home)] == [url]


def test_several_urls_stand_apart_by_blanks_or_lines(home):
    first, second, third = list(URLS)[:3]
    env_file(home, f"TGTQR_ALERTS='{first}  {second}\n{third}'\n")
    assert [url.reveal() for url in alert_urls(home)] == [first, second, third]


def test_known_secrets_are_those_of_environment_and_file(home, monkeypatch):
    env_file(home, PAIR + "TGTQR_PASSWORD_HASH='argon2:$argon2id$v=19$abc'\nTGTQR_COLLAR_BPS=50\n")
    monkeypatch.setenv("BYBIT_API_SECRET", "0nlyInTheEnvironment")
    assert {secret.reveal() for secret in known_secrets(home)} == {
        A_KEY, A_SECRET, "argon2:$argon2id$v=19$abc", "0nlyInTheEnvironment",
    }  # fmt: skip


# ---- redaction


def test_what_was_read_is_redacted_and_nothing_else(home):
    text = f"key {A_KEY}, secret {A_SECRET}, price 104321.7"
    assert redact(text) == text
    env_file(home, PAIR)
    find(home)
    assert redact(text) == f"key {MASK}, secret {MASK}, price 104321.7"


def known(text):
    Credentials(Secret(text), Secret(A_SECRET))


AWKWARD = "p@ss/wörd \"quoted\" <&> \\ 'x' +~"


@pytest.mark.parametrize(
    "spelled",
    [
        lambda s: s,
        lambda s: urllib.parse.quote(s, safe=""),
        lambda s: urllib.parse.quote(s),
        urllib.parse.quote_plus,
        lambda s: urllib.parse.urlencode({"password": s}),
        json.dumps,
        lambda s: json.dumps(s, ensure_ascii=False),
        lambda s: json.dumps({"source": json.dumps({"x": s})}),
        repr,
        lambda s: s.encode().hex(),
        lambda s: base64.b64encode(s.encode()).decode(),
        lambda s: base64.b64encode(b"u:" + s.encode() + b"@host").decode(),
        lambda s: base64.urlsafe_b64encode(b"Basic" + s.encode() + b"!").decode(),
        lambda s: __import__("html").escape(s),
    ],
)
@pytest.mark.parametrize("secret", [A_KEY, AWKWARD])
def test_a_secret_is_redacted_however_it_is_spelled(spelled, secret):
    known(secret)
    text = spelled(secret)
    shown = redact(f"before {text} after")
    assert MASK in shown and shown.startswith("before ") and shown.endswith(" after")
    # at most the few digits of base64 that also depend on the bytes beside it are left
    assert len(shown.replace(MASK, "")) <= len("before  after") + len(text) - len(secret) + 3
    assert secret not in shown and text not in shown


@given(before=st.binary(max_size=9), after=st.binary(max_size=9))
def test_base64_hides_a_secret_nowhere(before, after):
    known(A_KEY)
    coded = base64.b64encode(before + A_KEY.encode() + after).decode()
    assert MASK in redact(coded)


@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=8, max_size=30))
def test_no_spelling_of_any_secret_survives(text):
    credentials._known.clear()  # of the example before
    known(text)
    for spelled in (text, json.dumps(text), urllib.parse.quote(text, safe=""), repr(text)):
        shown = redact(f"\0{spelled}\0")
        assert MASK in shown and text not in shown.replace(MASK, "")


def test_a_short_text_is_not_redacted_from_every_word():
    known("abc")
    assert redact("abcdef") == "abcdef"


# ---- logs and errors


def test_the_log_holds_no_key_not_even_in_an_exception(home):
    env_file(home, PAIR)
    find(home)
    journal.start(home)
    journal.event("trouble", text=f"sent {A_KEY}", body=json.dumps({"s": A_SECRET}))
    try:
        raise ValueError(f"no {A_SECRET}")
    except ValueError:
        logging.getLogger("tgtqr_lib.market").exception("broken %s", A_KEY)
    text = home.log.read_text("utf-8")
    assert len(text.splitlines()) == 2 and text.count(MASK) >= 4
    assert A_KEY not in text and A_SECRET not in text


@pytest.mark.parametrize("traceback", ["", "1"])
def test_an_error_and_its_traceback_on_the_screen_hold_no_key(home, traceback):
    env_file(home, PAIR)
    code = (
        "import sys; from tgtqr_lib import cli, credentials; from tgtqr_lib.home import Home\n"
        "from tgtqr_lib.commands import status\n"
        "def run(options):\n"
        "    found = credentials.find(Home.find())\n"
        "    raise RuntimeError('the body was ' + found.secret.reveal())\n"
        "status.run = run; sys.exit(cli.main(['status']))"
    )
    changes = {"TGTQR_HOME": str(home.root), "TGTQR_TRACEBACK": traceback}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=PROJECT,
        env=os.environ | changes,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"tgtqr status: RuntimeError: the body was {MASK}; this is a fault"
    )
    assert ("Traceback" in done.stderr) is bool(traceback)
    assert A_SECRET not in done.stdout + done.stderr


# ---- other processes


@pytest.fixture
def keys_in_the_environment(monkeypatch):
    for name, value in SECRET_VARIABLES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TGTQR_MARKET", "simulator")


SECRET_VARIABLES = {
    "BYBIT_API_KEY": A_KEY,
    "BYBIT_API_SECRET": A_SECRET,
    "TGTQR_ALERTS": "json://127.0.0.1:9/topic-of-nobody-else-1",
    "TGTQR_PASSWORD_HASH": "argon2:$argon2id$v=19$canary",
}
TELL = "import json, os, sys; print(json.dumps(dict(os.environ)), flush=True)"


def test_a_process_that_needs_no_secret_gets_none():
    given = SECRET_VARIABLES | {"PATH": "/bin", "TGTQR_MARKET": "bybit"}
    assert without_secrets(given) == {"PATH": "/bin", "TGTQR_MARKET": "bybit"}
    page = without_secrets(given, keep="TGTQR_PASSWORD_HASH")
    assert set(given) - set(page) == {"BYBIT_API_KEY", "BYBIT_API_SECRET", "TGTQR_ALERTS"}


def test_the_process_of_a_report_has_no_secret(home, monkeypatch, keys_in_the_environment):
    monkeypatch.setattr(after_day, "command", lambda *_: [sys.executable, "-c", TELL])
    told = []
    after_day.DayReports(home, told.append)._write("2025-06-01")
    environment = json.loads(told[0].partition(": ")[2])
    assert environment["TGTQR_MARKET"] == "simulator"
    assert not set(SECRET_VARIABLES) & set(environment)


def test_the_process_of_a_post_mortem_has_no_secret(home, monkeypatch, keys_in_the_environment):
    monkeypatch.setattr(after_stop, "command", lambda *_: [sys.executable, "-c", TELL])
    after_stop._start(home, after_stop.Marker(stop=1), "20250601T0015Z")
    log = home.log.with_name("post_mortem.log")
    deadline = time.monotonic() + 30
    while not log.read_text().endswith("\n") and time.monotonic() < deadline:
        time.sleep(0.05)
    environment = json.loads(log.read_text())
    assert environment["TGTQR_MARKET"] == "simulator"
    assert not set(SECRET_VARIABLES) & set(environment)


def test_the_page_s_server_has_the_password_and_no_key(
    home, tmp_path, monkeypatch, keys_in_the_environment
):
    program = tmp_path / "python"
    tell = TELL.replace("print(", "print('dashboard:', ")
    program.write_text(f"#!{sys.executable}\n{tell}\nsys.stdin.read()\n")
    program.chmod(0o755)
    monkeypatch.setattr(child.sys, "executable", str(program))
    with child.start(home) as link:
        environment = json.loads(link)
    assert environment["TGTQR_PASSWORD_HASH"] == SECRET_VARIABLES["TGTQR_PASSWORD_HASH"]
    assert set(SECRET_VARIABLES) & set(environment) == {"TGTQR_PASSWORD_HASH"}


def test_the_page_s_kernel_has_no_secret():
    given = SECRET_VARIABLES | {"PATH": "/bin", "TGTQR_HOME": "/home/me", "AWS_SECRET_KEY": "x"}
    assert kernel_environment(given) == {"PATH": "/bin", "TGTQR_HOME": "/home/me"}


@pytest.mark.slow
def test_the_kernel_of_a_tick_has_no_secret_and_the_tick_none_in_its_notebook(
    real_stage, tmp_path, monkeypatch, keys_in_the_environment
):
    whole = json.loads(tick.NOTEBOOK.read_text("utf-8"))
    cell = dict(cell_type="code", execution_count=None, id="tell", metadata={}, outputs=[])
    whole["cells"].insert(-1, cell | {"source": TELL})
    path = tmp_path / "tick.ipynb"
    path.write_text(json.dumps(whole), "utf-8")
    monkeypatch.setattr(tick, "NOTEBOOK", path)
    with kernels(tmp_path) as fresh:  # started now, not before the variables were set
        real_stage.pool = fresh
        real_stage.arm()
        result = real_stage.tick("10:15")
    assert result.notebook is not None  # sealed, so nothing was found in it
    sealed = (real_stage.home.root / result.notebook).read_text("utf-8")
    assert '\\"PATH\\": ' in sealed and "TGTQR_" not in sealed and "BYBIT_" not in sealed


def test_a_thread_that_ends_with_an_error_tells_it_without_the_key(home):
    env_file(home, PAIR)
    code = (
        "import sys, threading; from tgtqr_lib import cli, credentials\n"
        "from tgtqr_lib.home import Home; from tgtqr_lib.commands import status\n"
        "def fail():\n"
        "    raise RuntimeError('sent ' + credentials.find(Home.find()).secret.reveal())\n"
        "def run(options):\n"
        "    thread = threading.Thread(target=fail, name='beats')\n"
        "    thread.start(); thread.join(); return 0\n"
        "status.run = run; sys.exit(cli.main(['status']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=PROJECT,
        env=os.environ | {"TGTQR_HOME": str(home.root)},
    )  # fmt: skip
    assert done.stderr.startswith("Exception in thread beats:\nTraceback")
    assert done.stderr.endswith(f"RuntimeError: sent {MASK}\n")
    assert A_SECRET not in done.stderr


def test_the_keys_of_many_simulators_do_not_pile_up_and_those_that_were_read_stay(home):
    env_file(home, PAIR)
    find(home)
    for number in range(100):
        Credentials(Secret(f"made-key-{number:03}"), Secret(f"made-secret-{number:03}"))
    text = f"{A_KEY} made-key-099 made-secret-099 made-key-001"
    assert redact(text) == f"{MASK} {MASK} {MASK} made-key-001"
    assert len(credentials.registered()) == 2 + 16
