"""Reports on the page: the newest post-mortem is linked, and served to its owner alone, as it lies there."""

from __future__ import annotations

import dataclasses

import pytest
import requests

from tests.dashboard.serving import PATIENCE_S, serving
from tests.stage import rise
from tgtqr_lib import gate
from tgtqr_lib.dashboard.facts import Reader, newest_post_mortem
from tgtqr_lib.dashboard.sections import decisions
from tgtqr_lib.home import Home

NAME = "post-mortem-20250601T1015Z"
SECRET = "the owner's own"


def write_report(home: Home, name: str, text: str = "<!DOCTYPE html><p>looked back</p>") -> None:
    folder = home.outputs / "reports"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.html").write_text(text, "utf-8")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("served")) as running:
        write_report(running.home, NAME, "<!DOCTYPE html><p>looked back</p><script>1</script>")
        write_report(running.home, "daily-2025-06-01")
        write_report(running.home, "other", SECRET)
        write_report(running.home, "post-mortem-20250601T1015Z-FAILED", SECRET)
        (running.home.outputs / "secret.html").write_text(SECRET)
        yield running


@pytest.fixture(scope="module")
def visitor(served):
    return served.visitor()


@pytest.mark.slow
@pytest.mark.parametrize("name", [NAME, "daily-2025-06-01"])
def test_a_report_is_a_page_that_runs_and_loads_nothing(served, visitor, name):
    answer = visitor.get(f"{served.address}/report/{name}", timeout=PATIENCE_S)

    assert answer.status_code == 200 and "looked back" in answer.text
    assert answer.headers["Content-Type"] == "text/html; charset=UTF-8"
    policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'none'" in policy and "default-src 'none'" in policy


@pytest.mark.slow
def test_without_a_login_there_is_none(served):
    answer = requests.get(
        f"{served.address}/report/{NAME}", timeout=PATIENCE_S, allow_redirects=False
    )

    assert answer.status_code == 302 and answer.headers["Location"].startswith("/login")
    assert "looked back" not in answer.text


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "other", "..%2fsecret", "../secret", "%2e%2e%2fsecret.html", f"{NAME}.html", f"{NAME}.ipynb",
        f"{NAME}-FAILED", f"{NAME}%00", f"x{NAME}", "post-mortem-20250601T1030Z", "", f"{NAME}/../other",
        "daily-2025-06-01%0a", "post-mortem-٢0250601T1015Z",
    ],
)  # fmt: skip
def test_another_name_gets_a_sentence(served, visitor, name):
    # as it stands, without the tidying that a browser does
    request = requests.Request("GET", served.address, cookies=visitor.cookies.get_dict()).prepare()
    request.url = f"{served.address}/report/{name}"

    answer = visitor.send(request, timeout=PATIENCE_S)

    assert answer.status_code == 404
    assert SECRET not in answer.text and "looked back" not in answer.text


@pytest.mark.slow
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_it_is_for_reading_alone(served, visitor, method):
    headers = {"X-XSRFToken": visitor.cookies.get("_xsrf", "")}
    answer = visitor.request(
        method, f"{served.address}/report/{NAME}", headers=headers, data="x", timeout=PATIENCE_S
    )

    assert answer.status_code in (403, 405)
    assert "looked back" in (served.home.outputs / "reports" / f"{NAME}.html").read_text()


@pytest.mark.slow
def test_a_link_out_of_the_folder_is_not_followed(served, visitor):
    link = served.home.outputs / "reports" / "post-mortem-20250601T1100Z.html"
    link.symlink_to(served.home.outputs / "secret.html")

    answer = visitor.get(f"{served.address}/report/{link.stem}", timeout=PATIENCE_S)

    assert answer.status_code == 404 and SECRET not in answer.text


@pytest.mark.parametrize(
    "names, newest",
    [
        ([], None),
        (["daily-2025-06-01", "post-mortem-x", f"{NAME}-FAILED"], None),
        ([NAME, "post-mortem-20250602T0000Z", "daily-2025-06-03"], "20250602T0000Z"),
    ],
)
def test_the_newest_is_that_of_the_newest_tick(home, names, newest):
    for name in names:
        write_report(home, name)

    assert newest_post_mortem(home) == newest


def test_the_decisions_link_it_as_soon_as_it_is_there_and_say_why_the_kit_stopped(stage):
    rise(stage)
    stage.arm()
    stage.tick("10:15")
    reader = Reader(stage.home)
    assert "report/" not in decisions.html(reader.snapshot())
    gate.stop(stage.home, "<b>enough</b>", "the owner")
    before = reader.version()

    write_report(stage.home, "post-mortem-20261122T1015Z")

    assert reader.version() != before  # so that open pages draw it
    page = decisions.html(reader.snapshot())
    assert '<a href="report/post-mortem-20261122T1015Z" target="_blank">' in page
    assert "<b>STOPPED</b>: &lt;b&gt;enough&lt;/b&gt; (by the owner)." in page
    armed = dataclasses.replace(reader.snapshot(), stopped=None)
    assert "STOPPED" not in decisions.looked_back(armed)
    assert "report/post-mortem-20261122T1015Z" in decisions.looked_back(armed)
