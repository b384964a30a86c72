"""A secret in an output is found however it lies there, and the output is put out of the way."""

import base64
import gzip
import io
import json
import os
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import urllib.parse
import zipfile
from pathlib import Path

import pytest

from tests.canary import CANARY_SECRET
from tests.stage import rise
from tgtqr_lib import books, credentials, journal, leaks, ledger, reports, settings, tick
from tgtqr_lib.credentials import Secret
from tgtqr_lib.desk import open_desk
from tgtqr_lib.kernel import NotebookFailed

PROJECT = Path(__file__).parents[1]
# not the canary's: a search for that after a test run would find what these tests write
A_KEY, A_SECRET = "Zq7Qw2ZtRbX9eK1m0T", "hW5mVhJ8uPq3LxYt6NdKf0Gc2Wr4BaZ9E7sQ"
SECRETS = (Secret(A_KEY), Secret(A_SECRET))
PAIR = f"BYBIT_API_KEY={A_KEY}\nBYBIT_API_SECRET={A_SECRET}\n"


@pytest.fixture(autouse=True)
def a_process_that_knows_nothing(monkeypatch):
    """What a test reads is forgotten after it, and the caller's own keys are not seen."""
    for name in ("BYBIT_API_KEY", "BYBIT_API_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(credentials, "_known", {})
    monkeypatch.setattr(credentials, "_pattern", None)


def give_keys(home):
    path = home.root / ".env"
    path.touch(0o600)
    path.write_text(PAIR)


# ---- what is found


def notebook(*outputs, source="1"):
    cell = {"cell_type": "code", "metadata": {}, "outputs": list(outputs), "source": source}
    empty = {"cell_type": "markdown", "metadata": {}, "source": ["# Title\n", "text"]}
    return json.dumps({"cells": [empty, cell], "metadata": {}, "nbformat": 4}, indent=1).encode()


def shown(**data):
    return {"output_type": "display_data", "metadata": {}, "data": data}


def png(text: bytes) -> str:
    """Something like a picture that holds `text`, as a notebook keeps it: lines of 76 digits."""
    return base64.encodebytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) + text + bytes(99)).decode()


def packed_tar(text: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        entry = tarfile.TarInfo("logs/a.log")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    return file.getvalue()


def packed_zip(text: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a/b.txt", text)
    return file.getvalue()


SECRET = A_SECRET.encode()
HALVES = [A_SECRET[:17] + "\n", A_SECRET[17:]]
FILES = {
    "plain": (b"abc" + SECRET, "byte 3"),
    "url": (urllib.parse.urlencode({"x": A_SECRET}).encode(), "byte 2"),
    "hex": (b"x" + SECRET.hex().upper().encode(), "byte 1"),
    "utf-16": (A_SECRET.encode("utf-16-le"), "byte 0"),
    "base64": (base64.b64encode(b"basic:" + SECRET), "byte 8"),
    "base64 by lines": (base64.encodebytes(bytes(40) + SECRET), "broken over lines"),
    "wrapped": (f"  {A_SECRET[:9]}\n  {A_SECRET[9:]}".encode(), "broken over lines"),
    "gz": (gzip.compress(b"line\n" + SECRET), "unpacked, byte 5"),
    "two gz": (gzip.compress(b"first") + gzip.compress(SECRET), "unpacked, byte 0"),
    "gz cut short": (gzip.compress(SECRET + os.urandom(9000))[:-4000], "unpacked, byte 0"),
    "gz in gz": (gzip.compress(gzip.compress(SECRET)), "unpacked, unpacked, byte 0"),
    "zip": (packed_zip(SECRET), "a/b.txt, byte 0"),
    "tar.gz": (packed_tar(SECRET), "unpacked, logs/a.log, byte 0"),
    "stream": (notebook({"output_type": "stream", "text": HALVES}), "cell 1, broken over lines"),
    "html": (notebook(shown(**{"text/html": [f"<b>{A_SECRET}</b>"]})), "byte "),
    "source": (notebook(source=["x = 1\n", f"key = '{A_KEY}'"]), "byte "),
    "picture": (notebook(shown(**{"image/png": png(SECRET)})), "cell 1, image/png, byte 264"),
    "error": (
        notebook({"output_type": "error", "evalue": "no", "traceback": [f"\x1b[31m{A_KEY}"]}),
        "byte ",
    ),
    "packed in a picture's place": (
        notebook(shown(**{"application/gzip": base64.b64encode(gzip.compress(SECRET)).decode()})),
        "cell 1, application/gzip, unpacked, byte 0",
    ),
    "notebook.gz": (
        gzip.compress(notebook(shown(**{"image/png": png(SECRET)}))),
        "unpacked, cell 1, image/png, byte 264",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
def test_a_secret_is_found_and_its_place_named(tmp_path, kind):
    content, where = FILES[kind]
    path = tmp_path / "output"
    path.write_bytes(content)
    hits = leaks.scan([path], SECRETS)
    assert where in [hit.where for hit in hits] or hits[0].where.startswith(where)
    assert not [hit for hit in hits if A_KEY in hit.where or A_SECRET in hit.where]


@pytest.mark.parametrize("kind", FILES)
def test_another_secret_is_not_found_there(tmp_path, kind):
    path = tmp_path / "output"
    path.write_bytes(FILES[kind][0])
    assert leaks.scan([path], [Secret("another-s3cret-of-nobody")]) == []


def a_database(path, before):
    """One row whose text holds the secret after `before` other characters, in pages of 512 bytes."""
    path.unlink(missing_ok=True)
    con = sqlite3.connect(path)
    con.execute("PRAGMA page_size = 512")
    con.execute('CREATE TABLE "odd ""name" (id INTEGER, body TEXT)')
    text = "x" * before + A_SECRET
    con.execute('INSERT INTO "odd ""name" VALUES (1, ?)', (f"{text:y<1800}",))
    con.commit()
    con.close()


def test_a_row_of_sqlite_is_found_though_it_lies_in_pieces_in_the_file(tmp_path):
    path, cut = tmp_path / "it's a ledger?.db", 0
    for before in range(300, 900, 10):  # a page ends every 508 characters of a long text
        a_database(path, before)
        in_one_piece = SECRET in path.read_bytes()
        cut += not in_one_piece
        found = [hit.where for hit in leaks.scan([path], SECRETS)]
        assert found[-1] == 'table odd "name, row 1'
        assert len(found) == 1 + in_one_piece
    assert cut > 0


def test_a_damaged_file_of_any_kind_is_looked_at_all_the_same(tmp_path):
    path = tmp_path / "output"
    heads = [
        b"SQLite format 3\0",
        b"\x1f\x8b",
        b"PK\x03\x04",
        b'{"cells": [',
        bytes(257) + b"ustar",
    ]
    for head in heads:
        path.write_bytes(head + os.urandom(50) + SECRET)
        assert leaks.scan([path], SECRETS), head
        path.write_bytes(head + os.urandom(50))
        assert leaks.scan([path], SECRETS) == [], head


def test_files_below_a_folder_are_regular_ones_hidden_ones_too(tmp_path):
    (tmp_path / "a" / ".hidden").mkdir(parents=True)
    (tmp_path / "a" / ".hidden" / ".file").write_text("x")
    (tmp_path / "b").write_text("x")
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    found = leaks.files_below([tmp_path])
    assert [p.relative_to(tmp_path).as_posix() for p in found] == ["a/.hidden/.file", "b"]
    assert leaks.files_below([tmp_path / "b"]) == [tmp_path / "b"]


# ---- quarantine


def test_an_output_with_a_secret_is_moved_for_its_owner_alone_and_it_is_written_where(home):
    give_keys(home)
    journal.start(home)
    clean, leaky = home.outputs / "clean.html", home.outputs / ".leaky.html"
    clean.write_text("nothing here")
    leaky.write_text("see: " + A_SECRET)
    leaky.chmod(0o444)
    (moved,) = leaks.sweep(home, clean, leaky)
    assert (clean.exists(), leaky.exists()) == (True, False)
    assert moved == home.outputs / "quarantine" / "leaky.html"
    assert moved.read_text() == "see: " + A_SECRET
    note = moved.with_name("leaky.html.why.txt")
    assert "outputs/.leaky.html" in note.read_text() and "byte 5" in note.read_text()
    modes = [oct(path.stat().st_mode & 0o777) for path in (moved.parent, moved, note)]
    assert modes == ["0o700", "0o600", "0o600"]
    log = home.log.read_text()
    assert " WARNING quarantine file=outputs/.leaky.html to=outputs/quarantine/leaky.html" in log
    assert A_SECRET not in note.read_text() + log


def test_a_second_output_of_that_name_does_not_replace_the_first(home):
    give_keys(home)
    for text in ("first", "second"):
        path = home.outputs / "report.html"
        path.write_text(text + A_KEY)
        leaks.sweep(home, path)
    folder = leaks.quarantine_folder(home)
    assert (folder / "report.html").read_text() == "first" + A_KEY
    assert (folder / "2-report.html").read_text() == "second" + A_KEY


def test_without_a_secret_no_file_is_opened(home):
    assert leaks.sweep(home, home.outputs / "ticks") == []  # a folder cannot be read
    give_keys(home)
    with pytest.raises(OSError):
        leaks.sweep(home, home.outputs / "ticks")


def test_a_key_that_was_in_use_before_counts_after_it_was_exchanged(home):
    give_keys(home)
    credentials.find(home)
    (home.root / ".env").write_text(
        "BYBIT_API_KEY=NewKey123456\nBYBIT_API_SECRET=NewSecret123456\n"
    )
    path = home.outputs / "a.txt"
    path.write_text(A_KEY)
    assert leaks.sweep(home, path)


def test_a_refused_env_file_does_not_blind_the_search(home):
    give_keys(home)
    credentials.find(home)
    (home.root / ".env").chmod(0o644)
    path = home.outputs / "a.txt"
    path.write_text(A_KEY)
    assert leaks.sweep(home, path)


def test_only_the_new_part_of_the_log_is_looked_at_and_a_leaky_log_makes_room_for_a_new_one(home):
    give_keys(home)
    home.log.write_text(f"an old line {A_KEY}\n")
    journal.start(home)
    begins = leaks.begin(home)
    journal.event("tick", text=f"redacted {A_KEY}")
    leaks.sweep_log(home, begins)
    assert not leaks.quarantine_folder(home).exists()
    with open(home.log, "a") as file:  # as another program's output might get there
        file.write(f"new {A_KEY}\n")
    leaks.sweep_log(home, begins)
    journal.event("goes_on")
    assert "new" in (leaks.quarantine_folder(home) / "trading_system.log").read_text()
    text = home.log.read_text()
    assert "goes_on" in text and A_KEY not in text


def test_a_log_that_was_moved_aside_meanwhile_is_looked_at_from_its_start(home):
    give_keys(home)
    home.log.write_text(A_KEY)
    leaks.sweep_log(home, 1_000_000)
    assert (leaks.quarantine_folder(home) / "trading_system.log").exists()


# ---- ticks


def leaky_notebook(tmp_path, monkeypatch, code):
    """The notebook of ticks with one more cell, which tells a secret that a kernel must not know."""
    whole = json.loads(tick.NOTEBOOK.read_text("utf-8"))
    cell = dict(
        cell_type="code", execution_count=None, id="leak", metadata={}, outputs=[], source=code
    )
    whole["cells"].insert(-1, cell)
    path = tmp_path / "tick.ipynb"
    path.write_text(json.dumps(whole), "utf-8")
    monkeypatch.setattr(tick, "NOTEBOOK", path)


def named(stage, name):
    return books.tick_event(stage.desk.con, name, "final"), books.tick_event(
        stage.desk.con, name, "sealed"
    )


@pytest.mark.slow
def test_a_tick_whose_notebook_tells_a_secret_trades_ends_and_is_never_sealed(
    real_stage, tmp_path, monkeypatch
):
    home = real_stage.home
    give_keys(home)
    real_stage.arm()
    rise(real_stage)
    coded = base64.b64encode(b"x" + A_SECRET.encode()).decode()
    leaky_notebook(tmp_path, monkeypatch, f"print({coded!r})")
    result = real_stage.tick("10:15")
    name = result.tick_id
    assert (result.state, result.notebook) == ("done", None)
    assert real_stage.held() == {"BTCUSDT": "0.000009"}
    final, sealed = named(real_stage, name)
    assert final["state"] == "done" and sealed is None

    folder = leaks.quarantine_folder(home)
    there = sorted(path.name for path in folder.iterdir())
    assert there == [f"{name}.running.ipynb", f"{name}.running.ipynb.why.txt"]
    assert list(home.ticks.rglob("*.ipynb")) == []

    # the next tick begins with settling what is open, and seals its own notebook as ever
    monkeypatch.undo()
    events = real_stage.head()[0]
    tick.settle(real_stage.desk)
    tick.settle(real_stage.desk)
    assert real_stage.head()[0] == events
    monkeypatch.setenv("TGTQR_HOME", str(home.root))
    for at in ("10:15", "10:20", "10:29"):
        real_stage.beat(at)
    after = real_stage.tick("10:30")
    assert after.state == "done" and after.notebook is not None
    assert sorted(path.name for path in folder.iterdir()) == there
    log = home.log.read_text("utf-8")
    assert log.count(" WARNING quarantine ") == 1
    assert A_SECRET not in log and coded not in log
    _, problems = ledger.verify_chain(real_stage.desk.con)
    assert problems == [] and real_stage.run("ledger", "verify", "--archive").returncode == 0
    found = leaks.scan(
        [p for p in leaks.files_below([home.root]) if folder not in p.parents], SECRETS
    )
    assert {hit.path.name for hit in found} == {".env"}


@pytest.mark.slow
def test_a_tick_that_fails_with_a_secret_in_its_error_keeps_it_out_of_the_ledger(
    real_stage, tmp_path, monkeypatch
):
    home = real_stage.home
    give_keys(home)
    real_stage.arm()
    leaky_notebook(tmp_path, monkeypatch, f"raise ValueError('body: {A_SECRET}')")
    result = real_stage.tick("10:15")
    assert (result.state, result.reason) == ("failed", "NOTEBOOK_FAILED")
    assert "ValueError: body: ********" in result.text
    final, sealed = named(real_stage, result.tick_id)
    assert final["text"] == result.text and sealed is None
    assert leaks.quarantine_folder(home).joinpath(f"{result.tick_id}.running.ipynb").exists()


def test_a_notebook_that_a_crash_left_is_looked_at_before_it_is_sealed(stage):
    give_keys(stage.home)
    stage.arm()
    crashed = tick.seal_tick
    try:
        tick.seal_tick = lambda *_: None  # the process ends before it seals
        result = stage.tick("10:15")
    finally:
        tick.seal_tick = crashed
    running = tick.archive.running_path(stage.home, result.tick_id)
    whole = json.loads(running.read_text("utf-8"))
    whole["cells"][1]["outputs"].append({"output_type": "stream", "text": [A_KEY]})
    running.write_text(json.dumps(whole), "utf-8")
    tick.settle(stage.desk)
    assert not running.exists() and named(stage, result.tick_id)[1] is None
    assert leaks.quarantine_folder(stage.home).joinpath(f"{result.tick_id}.running.ipynb").exists()


def test_a_clean_tick_is_sealed_with_its_digests_as_without_any_keys(stage):
    give_keys(stage.home)
    stage.arm()
    assert stage.tick("10:15").notebook is not None
    assert not leaks.quarantine_folder(stage.home).exists()


def at_the_account(stage, secret):
    """The desk of a demo account whose secret is `secret`, as the next command would open it."""
    keys = f"BYBIT_API_KEY={A_KEY}\nBYBIT_API_SECRET={secret}\n"
    give_keys(stage.home)
    (stage.home.root / ".env").write_text(f"{keys}TGTQR_ACCOUNT=demo\nTGTQR_DEMO_LIMITS_SCALE=10\n")
    return open_desk(stage.home, settings.load(stage.home))


def test_an_exchange_that_repeats_the_key_in_its_answer_is_not_quoted_with_it(stage):
    # Bybit's 10004 is "error sign! origin_string[<time><key><window>...]"
    stage.simulator.accounts.open(A_KEY, A_SECRET, balances={"USDT": "100"}, environment="demo")
    own = stage.desk
    with at_the_account(stage, A_SECRET) as stage.desk:
        stage.arm()
        rise(stage)
        assert stage.tick("10:15").acts[0].result == "FILLED"
    with at_the_account(stage, A_SECRET[::-1]) as stage.desk:
        stage.beat("10:29")
        stage.market.set("BTCUSDT", "10:29", "99000.0")
        result = stage.tick("10:30")
    stage.desk = own
    assert result.acts and result.acts[0].result != "FILLED" and "10004" in result.acts[0].text
    files = [path for path in leaks.files_below([stage.home.root]) if path.name != ".env"]
    assert any(b"10004" in path.read_bytes() for path in files)  # it was told, without the key
    assert leaks.scan(files, [*SECRETS, Secret(A_SECRET[::-1])]) == []


@pytest.mark.slow
def test_a_report_with_a_secret_is_not_published(home, monkeypatch, tmp_path):
    give_keys(home)
    cells = [
        {"cell_type": "code", "execution_count": None, "id": f"c{i}", "outputs": [], "source": source,
         "metadata": {"tags": ["parameters"]} if i == 0 else {}}
        for i, source in enumerate(["home: str = ''", f"print('{A_KEY}')"])
    ]  # fmt: skip
    spec = {"display_name": "x", "language": "python", "name": "x"}
    made = {"cells": cells, "metadata": {"kernelspec": spec}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "telling.ipynb").write_text(json.dumps(made))
    monkeypatch.setattr(reports, "NOTEBOOKS", tmp_path)
    with pytest.raises(NotebookFailed, match="it held a secret and was moved to") as caught:
        reports.write(home, "telling", {"home": str(home.root)}, "telling-1")
    assert A_KEY not in str(caught.value)
    left = [
        p.name for p in leaks.files_below([reports.folder(home)]) if not p.name.endswith(".lock")
    ]
    assert left == []
    assert len(list(leaks.quarantine_folder(home).glob("*.ipynb"))) == 1


# ---- the canary


def canary(*words):
    words = [sys.executable, str(PROJECT / "tests" / "canary.py"), *map(str, words)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, cwd="/")


@pytest.fixture
def gone():
    """A folder that is gone after the test: a search of all that a test run left must not find it."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def test_the_canary_is_found_with_its_place_and_5(gone):
    keys = gone / ".env"
    keys.touch(0o600)
    keys.write_text(f"BYBIT_API_SECRET={CANARY_SECRET}\n")
    done = canary(gone, PROJECT / "tests", PROJECT / "tgtqr_lib")
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("files looked at, 0 hold it, 1 .env left out\n")
    (gone / "a.json").write_text(
        json.dumps({"k": base64.b64encode(CANARY_SECRET.encode()).decode()})
    )
    keys.chmod(0o644)
    done = canary(gone)
    assert done.returncode == 5
    assert f"{gone / 'a.json'}: byte 7\n" in done.stdout
    assert f"{keys}: byte 17\n" in done.stdout
    assert CANARY_SECRET not in done.stdout
    assert canary(gone / "nowhere").returncode == 2


def test_a_command_that_leaves_the_canary_is_found_out(gone):
    write = "import os, tempfile; k = os.environ['BYBIT_API_KEY']; f = tempfile.mkstemp()[0]\n"
    done = canary(gone / "clean", "--run", sys.executable, "-c", write + "print(len(k))")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "18")
    assert done.stdout.endswith("canary: 2 files looked at, 0 hold it\n")
    done = canary(gone / "file", "--run", sys.executable, "-c", write + "os.write(f, k.encode())")
    assert done.returncode == 5 and "2 files looked at, 1 hold it" in done.stdout
    done = canary(gone / "screen", "--run", sys.executable, "-c", write + "print(k[::1])")
    assert done.returncode == 5 and "output.txt: byte 0" in done.stdout
    done = canary(gone / "failed", "--run", sys.executable, "-c", "raise SystemExit(3)")
    assert done.returncode == 3
