// The header and the stop button. Nothing here needs the kernel: the server is asked once a second.
// Whatever comes from the server is shown as text, never as HTML.
"use strict";

(() => {
  const POLL_MS = 1000, ABORT_MS = 4000, STALE_MS = 4500, OLD_DATA_S = 180;
  const SYMBOLS = { ACTIVE: "▶", REDUCING: "▼", STOPPED: "■", STALE: "?" };
  const RELOADED = "tgtqr-reloaded", PRESSED = "tgtqr-stop";
  const FORGOTTEN_MS = 600000; // a page that is opened later than this does not go on with a stop that never arrived
  const $ = (id) => document.getElementById(id);
  const xsrf = document.querySelector('meta[name="xsrf"]').content;
  const server = document.querySelector('meta[name="server"]').content;
  let state = null; // the newest answer, and when it came (milliseconds of performance.now)
  let answeredAt = performance.now();
  let loggedOut = false;
  let offline = false;
  let stopping = null; // {attempt, pressed, requested, stopped, trouble} once the button was pressed

  // ------------------------------------------------------------------ times

  const two = (n) => String(n).padStart(2, "0");
  const clock = (d, local) => local
    ? [d.getHours(), d.getMinutes(), d.getSeconds()].map(two).join(":")
    : [d.getUTCHours(), d.getUTCMinutes(), d.getUTCSeconds()].map(two).join(":");

  function addLocal(time) {
    if (time.dataset.done) return;
    const moment = new Date(time.getAttribute("datetime"));
    if (isNaN(moment)) return;
    time.dataset.done = "yes";
    if (moment.getTimezoneOffset() === 0) return; // the reader lives on UTC
    const span = document.createElement("span");
    span.className = "local";
    const seconds = /:\d\d:\d\d/.test(time.textContent);
    span.textContent = ` (${seconds ? clock(moment, true) : clock(moment, true).slice(0, 5)} local)`;
    time.after(span);
  }

  function timesIn(node) {
    if (node.nodeType !== Node.ELEMENT_NODE) return;
    if (node.matches("time[datetime]")) addLocal(node);
    node.querySelectorAll("time[datetime]").forEach(addLocal);
  }

  function showTime(node, label, iso) {
    const shown = `${label} ${iso || "–"}`;
    if (node.dataset.shown === shown) return;
    node.dataset.shown = shown;
    node.textContent = `${label} `;
    if (!iso) { node.append("–"); return; }
    const time = document.createElement("time");
    time.setAttribute("datetime", iso);
    time.textContent = `${clock(new Date(iso), false)} UTC`;
    node.append(time);
  }

  // ------------------------------------------------------------------ the state

  function text(id, value) {
    const node = $(id);
    if (node.textContent !== value) node.textContent = value;
  }

  function kernel() {
    const config = $("jupyter-config-data");
    if (!config) return "";
    try { return JSON.parse(config.textContent).kernelId || ""; } catch { return ""; }
  }

  async function ask(path, options = {}) {
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), ABORT_MS);
    try {
      return await fetch(path, { ...options, signal: abort.signal, cache: "no-store", credentials: "same-origin" });
    } finally {
      clearTimeout(timer);
    }
  }

  async function poll() {
    const begun = performance.now();
    try {
      const id = kernel();
      const answer = await ask("/api/state" + (id ? `?kernel=${encodeURIComponent(id)}` : ""));
      loggedOut = answer.status === 401 || answer.status === 403;
      if (answer.ok) {
        state = await answer.json();
        answeredAt = begun; // what it says is at least as old as the question
        offline = false;
        renew();
      }
    } catch {
      // no answer: `draw` sees how long ago the last one came
    }
    draw();
    setTimeout(poll, Math.max(0, POLL_MS - (performance.now() - begun)));
  }

  // Another start of the server does not know this page's kernel, and after a long sleep the kernel is gone.
  function renew() {
    const restarted = state.server !== server;
    const gone = state.page === false;
    if ((!restarted && !gone) || (stopping && !stopping.stopped)) return;
    const last = Number(sessionStorage.getItem(RELOADED) || 0);
    if (Date.now() - last < 60000) return; // once a minute: a page whose kernel always dies must not spin
    sessionStorage.setItem(RELOADED, String(Date.now()));
    location.reload();
  }

  function staleBecause() {
    if (loggedOut) return "You are logged out, so this page no longer hears from the server.";
    const silent = performance.now() - answeredAt;
    if (offline || silent > STALE_MS) return "No connection to the server. What you see below is old.";
    if (state && state.server !== server) return "The server was started anew; this page belongs to its former start.";
    if (state && state.page === false) return "The sections of this page have ended.";
    const age = dataAge();
    if (age !== null && age > OLD_DATA_S) return `The newest data is ${Math.round(age)} s old. Does tgtqr up run?`;
    return null;
  }

  const sinceAnswer = () => Math.max(0, performance.now() - answeredAt) / 1000;
  const rate = () => (state && typeof state.rate === "number" ? state.rate : 1);

  function dataAge() {
    return state && typeof state.data_age_s === "number" ? state.data_age_s + sinceAnswer() * rate() : null;
  }

  function nextTick() {
    if (!state || !state.next_tick || !state.exchange_time) return "–";
    const now = Date.parse(state.exchange_time) + sinceAnswer() * rate() * 1000;
    const left = Math.max(0, Math.floor((Date.parse(state.next_tick) - now) / 1000));
    return `in ${two(Math.floor(left / 60))}:${two(left % 60)}`;
  }

  // a simulated market has a time of its own, and nobody should take it for theirs
  const simulated = () => Boolean(state && state.market && state.market !== "bybit");

  function exchangeTime() {
    if (!state || !state.exchange_time) return "–";
    const now = Date.parse(state.exchange_time) + sinceAnswer() * rate() * 1000;
    return `${simulated() ? new Date(now).toISOString().slice(0, 10) + " " : ""}${clock(new Date(now), false)} UTC`;
  }

  function draw() {
    const why = staleBecause();
    const stale = why !== null;
    const gate = stale ? "STALE" : state ? state.gate : "ASKING";
    $("top").dataset.gate = gate;
    text("gate", stale && state && state.gate ? `STALE, last ${state.gate}` : gate);
    document.querySelector("#top .symbol").textContent = SYMBOLS[gate] || "…";
    if (state) text("reason", state.gate_reason || (state.gate === "ACTIVE" ? "trading is allowed" : ""));
    const age = dataAge();
    text("age", age === null ? "–" : `${Math.floor(age)} s`);
    text("next", nextTick());
    text("clock-name", simulated() ? "simulated time" : "exchange time");
    text("clock", exchangeTime());
    text("equity", state && state.equity ? `${state.equity} USDT` : "–");
    text("account", (state && state.account) || "–");
    const problem = (state && state.problem) || "";
    $("problem").hidden = !problem;
    text("problem", problem);
    $("stale-words").hidden = !stale;
    text("stale-text", why || "");
    document.body.classList.toggle("stale", stale);
    const sections = $("sections");
    if (sections) sections.inert = stale;
    drawStop();
    document.title = `${gate} - TGT QR`;
  }

  // ------------------------------------------------------------------ the stop

  async function stop() {
    const first = !stopping || stopping.stopped;
    if (first) {
      const attempt = Array.from(crypto.getRandomValues(new Uint8Array(8)), (n) => n.toString(16)).join("");
      stopping = { attempt, pressed: new Date().toISOString(), requested: null, stopped: null, trouble: null };
    }
    keepReceipt();
    drawStop();
    if (first) await keepStopping(stopping);
  }

  // A reload, by hand or by itself, neither forgets a stop that has not arrived nor when one held.
  function keepReceipt() {
    if (stopping) sessionStorage.setItem(PRESSED, JSON.stringify(stopping));
    else sessionStorage.removeItem(PRESSED);
  }

  function takeReceipt() {
    try { stopping = JSON.parse(sessionStorage.getItem(PRESSED)); } catch { stopping = null; }
    if (!stopping) return;
    stopping.done = performance.now();
    if (stopping.stopped) return;
    if (Date.now() - Date.parse(stopping.pressed) > FORGOTTEN_MS) { stopping = null; keepReceipt(); return; }
    keepStopping(stopping);
  }

  async function keepStopping(attempt) {
    while (!attempt.stopped) {
      const begun = performance.now();
      try {
        const answer = await ask("/api/stop", { method: "POST", headers: { "X-XSRFToken": xsrf, "X-Attempt": attempt.attempt } });
        const body = await answer.json().catch(() => ({}));
        if (answer.ok && body.stopped) {
          Object.assign(attempt, { requested: body.requested, stopped: body.stopped, trouble: null, done: performance.now() });
          keepReceipt();
        } else if (answer.status === 401 || answer.status === 403) {
          attempt.trouble = "you are logged out: log in again in another tab, or run tgtqr stop; trying again";
        } else {
          attempt.trouble = `${body.problem || "the server answered " + answer.status}; trying again`;
        }
      } catch {
        attempt.trouble = "no connection; trying again";
      }
      drawStop();
      if (!attempt.stopped) await new Promise((go) => setTimeout(go, Math.max(0, POLL_MS - (performance.now() - begun))));
    }
  }

  function drawStop() {
    // somebody armed again since: what was stopped is history
    if (stopping && stopping.stopped && state && state.gate !== "STOPPED" && answeredAt > stopping.done + 500) {
      stopping = null;
      keepReceipt();
    }
    const told = state && state.gate === "STOPPED" ? state.stop || {} : {};
    const box = $("stopping");
    box.hidden = !stopping;
    if (!stopping) return;
    const { pressed, requested, stopped, trouble } = stopping;
    const loud = !stopped && trouble !== null;
    box.classList.toggle("loud", loud);
    text("stop-words", stopped ? "Stopped." : loud ? `NOT STOPPED YET: ${trouble}` : "Stopping …");
    showTime($("stop-requested"), "requested", requested || pressed);
    showTime($("stop-stopped"), "stopped", stopped);
    showTime($("stop-flat"), simulated() ? "flat at the simulated" : "flat", stopped ? told.flat : null);
  }

  // ------------------------------------------------------------------ the sections

  function watchSections(sections) {
    timesIn(document.body);
    let drawn = false;
    const see = () => {
      if (drawn || !sections.querySelector(".jupyter-widgets, .lm-Widget, .problem")) return;
      drawn = true;
      const loading = $("loading");
      if (loading) loading.remove();
    };
    new MutationObserver((changes) => {
      for (const change of changes) change.addedNodes.forEach(timesIn);
      see();
    }).observe(document.body, { childList: true, subtree: true });
    see();
  }

  function begin() {
    $("stop").addEventListener("click", stop);
    takeReceipt();
    poll();
    setInterval(draw, 250);
    const wait = setInterval(() => {
      const sections = $("sections");
      if (!sections) return;
      clearInterval(wait);
      watchSections(sections);
    }, 20);
    addEventListener("offline", () => { offline = true; draw(); });
    addEventListener("online", () => { offline = false; draw(); });
    addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
    addEventListener("pagehide", () => {
      const id = kernel();
      if (id) navigator.sendBeacon("/api/close", new URLSearchParams({ kernel: id, _xsrf: xsrf }));
    });
  }

  // the script may arrive before the header has been read
  const ready = setInterval(() => {
    if (!$("stale-text")) return;
    clearInterval(ready);
    begin();
  }, 5);
})();
