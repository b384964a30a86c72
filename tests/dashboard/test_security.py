"""The dashboard's doors: nobody enters without a login, and nobody executes anything with one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.dashboard.serving import (
    PATIENCE_S,
    button_of,
    click,
    kernel_of,
    message,
    patched,
    pieces,
    serving,
    start,
    until,
    wait_for,
)
from tgtqr_lib.dashboard import guards
from tgtqr_lib.home import Home

pytestmark = pytest.mark.slow

NOBODY = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.fixture(scope="module")
def visitor(served):
    return served.visitor()


@pytest.fixture(scope="module")
def kernel(served, visitor):
    """The kernel of an open page, kept by a socket."""
    kernel = served.open_page(visitor)
    with served.socket(visitor, kernel):
        yield kernel


def refused(answer: requests.Response) -> bool:
    """Sent to the login page, or told no."""
    to_login = answer.status_code == 302 and answer.headers["Location"].startswith("/login")
    return to_login or answer.status_code in (401, 403)


@pytest.mark.parametrize(
    "method, path",
    [
        ("GET", "/"),
        ("GET", "/api/state"),
        ("POST", "/api/stop"),
        ("POST", "/api/close"),
        ("GET", "/tick/20250101T0000Z"),
        ("GET", "/tick/../../settings.toml"),
        ("GET", "/api/kernels/{kernel}"),
        ("DELETE", "/api/kernels/{kernel}"),
        ("GET", "/api/kernels/{kernel}/channels"),
        ("GET", "/voila/0.5.13/static/voila.js"),
        ("GET", "/voila/files/page.ipynb"),
        ("GET", "/files/page.ipynb"),
        ("GET", "/api/contents"),
        ("POST", "/api/kernels"),
        ("POST", "/api/terminals"),
        ("GET", "/metrics"),
        ("GET", "/nbconvert/html/page.ipynb"),
        ("GET", "/no/such/thing"),
    ],
)
def test_without_a_login_every_path_is_refused(served, kernel, method, path):
    answer = requests.request(
        method,
        served.address + path.format(kernel=kernel),
        timeout=PATIENCE_S,
        allow_redirects=False,
    )

    assert refused(answer), (answer.status_code, answer.text[:300])
    assert "jupyter-config-data" not in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Cookie": "tgtqr-{port}=owner"},
        {"Cookie": "tgtqr-{port}=2|1:0|10:1700000000|11:tgtqr-{port}|8:b3duZXI=|" + "0" * 64},
        {"Authorization": "token wrong"},
        {"X-Forwarded-For": "127.0.0.1"},
    ],
)
def test_a_forged_login_is_refused(served, headers):
    forged = {name: value.format(port=served.port) for name, value in headers.items()}

    assert refused(
        requests.get(
            served.address + "/", headers=forged, timeout=PATIENCE_S, allow_redirects=False
        )
    )


def test_a_socket_without_a_login_is_refused(served, kernel):
    with pytest.raises(InvalidStatus) as told, served.socket(None, kernel):
        pass
    assert told.value.response.status_code == 403


@pytest.mark.parametrize("protocol", [None, "v2.kernel.websocket.jupyter.org"])
def test_a_socket_of_another_protocol_is_refused(served, visitor, kernel, protocol):
    with pytest.raises(InvalidStatus) as told, served.socket(visitor, kernel, protocol):
        pass
    assert told.value.response.status_code == 403


def test_a_kernel_that_belongs_to_no_page_is_not_there(served, visitor):
    with pytest.raises(InvalidStatus) as told, served.socket(visitor, NOBODY):
        pass
    assert told.value.response.status_code == 404


def test_a_message_above_one_megabyte_closes_the_socket(served, visitor, kernel):
    with served.socket(visitor, kernel) as socket:
        socket.send(
            message("shell", "comm_msg", {"comm_id": "x", "data": {"blob": "x" * 1_100_000}})
        )
        with pytest.raises(ConnectionClosed):
            while True:
                socket.recv(timeout=PATIENCE_S)


def attempts(folder: Path) -> dict[str, bytes | str]:
    """Ways to make a kernel create the file that bears their name in `folder`."""

    def code(name: str) -> str:
        return f"open({str(folder / name)!r}, 'w').close()"

    def ask(name: str) -> dict:
        return {"code": code(name), "silent": False, "store_history": False, "user_expressions": {}}

    hidden = json.dumps(
        {"msg_id": "1", "msg_type": "execute_request", "session": "s", "version": "5.3"}
    )
    innocent = json.dumps({"msg_id": "1", "msg_type": "comm_msg", "session": "s", "version": "5.3"})
    twice = hidden[:-1] + ', "msg_type": "comm_msg"}'
    twice_again = innocent[:-1] + ', "msg_type": "execute_request"}'
    (folder / "imported.py").write_text(code("import"))
    return {
        "shell": message("shell", "execute_request", ask("shell")),
        "control": message("control", "execute_request", ask("control")),
        "stdin": message("stdin", "execute_request", ask("stdin")),
        "iopub": message("iopub", "execute_request", ask("iopub")),
        "two-types": pieces("shell", twice, "{}", "{}", json.dumps(ask("two-types"))),
        "two-types-again": pieces("shell", twice_again, "{}", "{}", json.dumps(ask("two-types-again"))),
        "second-header": pieces("shell", innocent, hidden, "{}", json.dumps(ask("second-header"))),
        "text": json.dumps(
            {"channel": "shell", "header": json.loads(hidden), "parent_header": {}, "metadata": {},
             "content": ask("text"), "buffers": []}
        ),
        "complete": message("shell", "complete_request", {"code": code("complete"), "cursor_pos": 99}),
        "inspect": message(
            "shell", "inspect_request", {"code": code("inspect"), "cursor_pos": 5, "detail_level": 1}
        ),
        "history": message("shell", "history_request", {"hist_access_type": "tail", "n": 1}),
        "debug": message(
            "control", "debug_request",
            {"seq": 1, "type": "request", "command": "evaluate",
             "arguments": {"expression": code("debug"), "context": "repl"}},
        ),
        "input": message("stdin", "input_reply", {"value": code("input"), "status": "ok"}),
        "import": message(
            "shell", "comm_open",
            {"comm_id": "c1", "target_name": "x", "target_module": "imported", "data": {}},
        ),
        "widget": message(
            "shell", "comm_open",
            {"comm_id": "c2", "target_name": "jupyter.widget", "data": {"state": {"_model_name": "OutputModel",
             "_model_module": "@jupyter-widgets/output", "_model_module_version": "1.0.0"}}},
        ),
        "subshell": message("control", "create_subshell_request", {}),
        "shutdown": message("control", "shutdown_request", {"restart": True}),
        "interrupt": message("control", "interrupt_request", {}),
    }  # fmt: skip


def test_nothing_is_executed_for_a_visitor_and_a_click_still_is(served, visitor, kernel, tmp_path):
    for name, attempt in attempts(tmp_path).items():
        with served.socket(visitor, kernel) as socket:
            socket.send(attempt)
            # what comes after it is answered, so the kernel lives and has seen all it was shown
            socket.send(message("shell", "kernel_info_request", {}))
            assert wait_for(socket, "kernel_info_reply")["status"] == "ok", name
    with served.socket(visitor, kernel) as socket:
        click(socket, button_of(socket))
        until((served.home.root / "clicked").exists)

    assert [path.name for path in tmp_path.iterdir()] == ["imported.py"]


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\x00" * 7,
        (2**63).to_bytes(8, "little") + b"x" * 100,
        pieces("shell"),
        pieces("shell", "{}", "{}", "{}"),
        pieces("shell", "{}", "{}", "{}", "{}"),
        pieces("shell", '{"msg_type": ["comm_msg"]}', "{}", "{}", "{}"),
        pieces("shell", "[" * 100_000, "{}", "{}", "{}"),
        pieces("shell", '{"msg_type": "comm_msg"}', "[]", "{}", "{}"),
        message("shell", "comm_msg", {})[:-3],
    ],
)
def test_a_broken_message_is_dropped(broken):
    assert guards.passed_on(broken) is None


def test_a_widget_message_passes_with_its_buffers():
    sent = pieces("shell", '{"msg_type": "comm_msg"}', "{}", "{}", '{"comm_id": "é"}', "buffer")

    passed = guards.passed_on(sent)

    assert passed.endswith(b'{"comm_id": "\\u00e9"}buffer')
    assert guards.passed_on(passed) == passed


@pytest.mark.parametrize(
    "method, path",
    [
        ("POST", "/api/kernels"),
        ("POST", "/api/kernels/{kernel}/restart"),
        ("POST", "/api/kernels/{kernel}/interrupt"),
        ("DELETE", "/api/kernels/{kernel}"),
        ("POST", "/api/sessions"),
        ("PUT", "/api/contents/new.ipynb"),
        ("GET", "/api/contents/page.ipynb"),
        ("POST", "/api/terminals"),
        ("GET", "/nbconvert/html/page.ipynb"),
        ("GET", "/voila/render/page.ipynb"),
        ("GET", "/voila/execution/{kernel}"),
        ("GET", "/voila/query/{kernel}"),
        ("GET", "/voila/files/page.ipynb"),
        ("GET", "/voila/files/picture.png"),
        ("GET", "/files/page.ipynb"),
        ("GET", "/static/base/images/logo.png"),
        ("GET", "/page.ipynb"),
        ("GET", "/voila/0.5.13/static/../../../page.ipynb"),
        ("GET", "/voila/0.5.13/static/%2e%2e/%2e%2e/conf.json"),
        ("GET", "/voila/0.5.13/labextensions/@jupyter-widgets/..%2f..%2f..%2fetc/passwd"),
        ("GET", "/assets/..%2fconf.json"),
    ],
)
def test_with_a_login_files_and_kernels_stay_out_of_reach(served, visitor, kernel, method, path):
    (served.home.root / "picture.png").write_bytes(b"a picture of the owner")
    headers = {"X-XSRFToken": visitor.cookies.get("_xsrf", "")}
    answer = visitor.request(
        method, served.address + path.format(kernel=kernel), headers=headers, timeout=PATIENCE_S,
        json={"name": "python3", "path": "new.ipynb"}, allow_redirects=False,
    )  # fmt: skip

    assert answer.status_code in (400, 403, 404, 405), answer.text[:300]
    assert "picture of the owner" not in answer.text and "ipywidgets" not in answer.text
    assert not (served.home.root / "new.ipynb").exists()
    assert (
        visitor.get(f"{served.address}/api/kernels/{kernel}", timeout=PATIENCE_S).status_code == 200
    )


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-XSRFToken": "made up"},
        {"Origin": "http://elsewhere.example", "X-XSRFToken": "{xsrf}"},
    ],
)
def test_a_stop_that_another_site_sends_is_refused(served, visitor, kernel, headers):
    sent = {name: value.format(xsrf=visitor.cookies["_xsrf"]) for name, value in headers.items()}

    answer = visitor.post(served.address + "/api/stop", headers=sent, timeout=PATIENCE_S)

    assert answer.status_code in (403, 404)


@pytest.mark.parametrize("path", ["/login", "/api/state", "/no/such/thing", "/tick/20250101T0000Z"])
def test_every_answer_carries_the_headers_that_keep_others_out(served, visitor, path):
    headers = visitor.get(served.address + path, timeout=PATIENCE_S, allow_redirects=False).headers

    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert "script-src 'self';" in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_the_page_names_no_other_host_and_shows_no_code(served, visitor):
    page = visitor.get(served.address + "/", timeout=PATIENCE_S).text
    served.post(visitor, "/api/close", kernel=kernel_of(page))

    for word in ("https://", "http://", "//cdn", "on_click"):
        assert word not in page


def test_the_kernel_knows_its_home_and_no_secret(served, kernel):
    names = (served.home.root / "environment").read_text().split()

    assert "TGTQR_HOME" in names and "TGTQR_PASSWORD_HASH" not in names


def test_the_token_stands_in_no_log(served, visitor):
    token = served.link.split("token=")[1]
    requests.get(f"{served.address}/?token={token}", timeout=PATIENCE_S)
    requests.get(f"{served.address}/no/such?token={token}", timeout=PATIENCE_S)

    for path in served.home.root.rglob("*"):
        if path.is_file():
            assert token.encode() not in path.read_bytes(), path


def fails(home: Home, **how) -> str:
    """Start a server that must end by itself with exit code 1; returns what it said."""
    process = start(home, **how)
    said, trouble = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, said) == (1, "")
    return trouble


def test_the_self_check_ends_a_server_beside_the_enabled_extension(tmp_path):
    extension = {"ServerApp": {"jpserver_extensions": {"voila.server_extension": True}}}
    folder = tmp_path / "etc" / "jupyter_server_config.d"
    folder.mkdir(parents=True)
    (folder / "voila.json").write_text(json.dumps(extension))

    told = fails(Home(tmp_path), JUPYTER_CONFIG_PATH=str(folder.parent))

    assert "voila.server_extension is enabled" in told and "disable it: jupyter server" in told


NO_LOGIN = """
import tgtqr_lib.dashboard.routes as routes
routes.Sessions.get_user = lambda self, handler: routes.User("owner")
"""
NO_GUARD = """
import tgtqr_lib.dashboard.routes as routes, voila.app
routes.passed_on = lambda message: message
make = voila.app.Voila.init_settings
def init_settings(self):
    settings = make(self)
    self.kernel_manager.allowed_message_types = []
    return settings
voila.app.Voila.init_settings = init_settings
"""


@pytest.mark.parametrize(
    "fault, told",
    [
        (NO_LOGIN, "/ answered 200 to a visitor who is not logged in"),
        (NO_GUARD, "a kernel answered to execute_request"),
    ],
)
def test_the_self_check_ends_a_server_with_an_open_door(tmp_path, fault, told):
    assert told in fails(Home(tmp_path), program=patched(fault))
