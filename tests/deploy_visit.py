"""A visitor of the deployed page, for tests/deploy_drill.sh: the link of the journal, the page, the stop button."""

import http.cookiejar
import json
import re
import subprocess
import sys
import time
import urllib.request

journal = subprocess.run(
    ["journalctl", "-q", "-o", "cat", "-u", "tgtqr-page"], capture_output=True, text=True
).stdout
link = re.findall(r"^dashboard: (http://\S+token=\S+)$", journal, re.MULTILINE)[-1]
jar = http.cookiejar.CookieJar()
visitor = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))

page = visitor.open(link, timeout=90).read().decode()
if "application/vnd.jupyter.widget-view+json" not in page:
    sys.exit("the page came without its sections")
base = link.split("?")[0]
state = json.load(visitor.open(f"{base}api/state", timeout=20))
print("  page:", state["gate"], state["gate_reason"], state["exchange_time"])
if "stop" in sys.argv:
    xsrf = next(cookie.value for cookie in jar if cookie.name == "_xsrf")
    request = urllib.request.Request(
        f"{base}api/stop", method="POST", data=b"", headers={"X-XSRFToken": xsrf}
    )
    visitor.open(request, timeout=20)
    time.sleep(1)  # the state is read again after 0.3 s
    state = json.load(visitor.open(f"{base}api/state", timeout=20))
    print("  page:", state["gate"], state["gate_reason"])
    if state["gate"] != "STOPPED":
        sys.exit("the button did not stop")
