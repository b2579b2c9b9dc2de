// Live alerts: each event names a matter; its card is fetched from the server and put in, so that a card looks the same
// however it came. Without this file the page works by reloading. The stream itself is in live-worker.js.
"use strict";
(() => {
  const live = document.getElementById("live");
  const rows = document.getElementById("alerts");
  const connection = document.getElementById("connection");
  if (!live || !rows || !window.EventSource) return;
  const urgent = document.getElementById("announce-critical");
  // The worker says every two seconds how it is. Timers of a hidden page may wait a minute.
  const WORKER_SILENCE_MS = 15000;
  const WORKER_SILENCE_HIDDEN_MS = 90000;
  const HERE_MS = 20000;
  const FETCH_MS = 10000;
  const FETCHES_MAX = 5;
  const FETCH_AGAIN_MS = 2000;
  const HOLD_MS = 30000;
  const TOGETHER_MS = 400;

  // Loud where it is not live: a page that stands still must not look like one where nothing happens.
  let missing = false;
  const show = (on, since) => {
    const at = new Date(since).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
    const text = missing ? "An alert could not be shown. Reload the page."
      : on ? "Live: new alerts appear by themselves."
        : `Not live since ${at}: new alerts do not appear. Trying again; reload the page to be sure.`;
    const live = on && !missing;
    if (connection.textContent !== text) {
      connection.textContent = text;
      if (!live) urgent.textContent = text;
    }
    connection.classList.toggle("on", live);
    connection.classList.toggle("off", !live);
  };
  const behind = document.getElementById("behind");
  const showBehind = (words) => {
    if (!behind) return;
    const text = words || "";
    const told = behind.querySelector(".sources");
    if (told.textContent !== text) told.textContent = text;
    behind.hidden = text === "";
  };
  const nothing = document.getElementById("nothing");
  const state = live.dataset.state;

  // Cards of one matter are fetched one after the other: a later state never loses to an earlier one. What changes while one
  // is on its way is fetched once more, however many changes there are.
  const changed = new Map();
  const refresh = async (matter) => {
    if (changed.has(matter)) { changed.set(matter, true); return; }
    do {
      changed.set(matter, false);
      try { await putAgain(matter, FETCHES_MAX); } catch { missing = true; }
    } while (changed.get(matter));
    changed.delete(matter);
  };

  const putAgain = async (matter, left) => {
    try {
      await put(matter);
    } catch (error) {
      if (left <= 1) throw error;
      await new Promise((done) => setTimeout(done, FETCH_AGAIN_MS));
      await putAgain(matter, left - 1);
    }
  };

  const put = async (matter) => {
    const asked = { headers: { accept: "text/html" }, signal: AbortSignal.timeout(FETCH_MS) };
    const answer = await fetch(`/inbox/${matter}?state=${state}`, asked);
    if (answer.redirected || answer.status === 401) { location.assign("/sign-in"); return; }
    const old = document.getElementById(`matter-${matter}`);
    if (answer.status === 404) {
      if (old) old.remove();
    } else if (answer.ok) {
      const list = document.createElement("template");
      list.innerHTML = await answer.text();
      const card = list.content.querySelector("li");
      if (!card) return;
      card.classList.add("fresh");
      // What a colleague has done stays where it was seen, until the page is loaded again.
      if (old) swap(old, card);
      else if (answer.headers.get("x-in-list") === "yes") place(card);
    } else {
      throw new Error("no card");
    }
    tally();
  };

  // An answer that is being written is not taken out of its writer's hands; the old version is refused when it is sent.
  const swap = (old, card) => {
    if ([...old.querySelectorAll("details[open] input:not([type=hidden])")].some((field) => field.value !== "")) return;
    const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
    const folded = [...old.querySelectorAll("details")].map((one) => one.open);
    old.replaceWith(card);
    card.querySelectorAll("details").forEach((one, nth) => { one.open = Boolean(folded[nth]); });
    if (focused) document.getElementById(focused)?.focus();
  };

  // The order holds still while somebody works on a card: what has come waits above the list, and is said aloud.
  const held = [];
  const waiting = document.getElementById("waiting");
  let touched = 0;
  const working = () => rows.contains(document.activeElement) && Date.now() - touched < HOLD_MS;
  const place = (card) => {
    if (working()) {
      held.push(card);
    } else {
      const rank = (one) => Number(one.dataset.rank);
      const next = [...rows.children].find((one) => rank(one) >= rank(card));
      rows.insertBefore(card, next || null);
    }
    tellHeld();
  };
  const release = () => {
    if (held.length === 0 || working()) return;
    held.splice(0).forEach((card) => { if (!document.getElementById(card.id)) place(card); });
    tally();
  };
  const tellHeld = () => {
    waiting.hidden = held.length === 0;
    const text = held.length === 0 ? "" : `${held.length} new: shown when you leave the card that you are on.`;
    if (waiting.textContent !== text) waiting.textContent = text;
  };
  ["keydown", "pointerdown"].forEach((kind) => addEventListener(kind, () => { touched = Date.now(); }));
  rows.addEventListener("focusout", () => setTimeout(release, 0));
  setInterval(release, HOLD_MS / 10);

  const tally = () => {
    if (nothing) nothing.hidden = rows.children.length > 0;
    if (state !== "open") return;
    const open = held.length + rows.querySelectorAll("[data-open=true]").length;
    document.title = document.title.replace(/\(\d+ open\)/, `(${open} open)`);
  };

  // One matter is said once, however many findings it has: those that come together are told together.
  const together = new Map();
  const announce = (alert) => {
    const words = { raised: "New alert", routed: "New alert", escalated: "Alert waits for an answer", withdrawn: "Alert withdrawn" };
    if (!words[alert.change]) return;
    const key = `${alert.matter} ${words[alert.change]}`;
    const first = !together.has(key);
    if (first) together.set(key, []);
    together.get(key).push(alert);
    if (first) setTimeout(() => speak(words[alert.change], together.get(key), key), TOGETHER_MS);
  };
  const speak = (words, alerts, key) => {
    together.delete(key);
    const loud = (alert) => alert.severity === "critical" && alert.interrupts;
    const worst = alerts.find(loud) || alerts[0];
    const more = alerts.length > 1 ? `, and ${alerts.length - 1} more` : "";
    const where = document.getElementById(loud(worst) ? "announce-critical" : "announce");
    where.textContent = `${words}: ${worst.patient}, ${worst.headline}${more}`;
  };

  // One stream for all tabs of this session; another session of this browser has another key.
  const key = document.querySelector("input[name=csrf]")?.value || "";
  const connect = () => {
    if (window.SharedWorker) {
      return new SharedWorker("/assets/live-worker.js", { name: `causeway-live-${key}` }).port;
    }
    const channel = new MessageChannel();
    window.causewayLive(channel.port1);
    return channel.port2;
  };

  let last = live.dataset.after;
  let heard = Date.now();
  let port = null;
  const hear = ({ data: message }) => {
    heard = Date.now();
    if (message.kind === "status") show(message.on, message.since);
    else if (message.kind === "heartbeat") showBehind(message.data.behind);
    else if (message.kind === "reset") location.reload();
    else if (message.kind === "bye") location.assign("/sign-in");
    else if (message.kind === "alert") {
      // Told again after another tab joined or the stream began anew.
      if (last && Number(message.id) <= Number(last)) return;
      last = message.id;
      refresh(message.data.matter);
      announce(message.data);
    }
  };
  const join = () => {
    heard = Date.now();
    port = connect();
    port.onmessage = hear;
    port.postMessage({ join: last });
  };
  const opened = Date.now();
  setTimeout(() => { if (!connection.classList.contains("on")) show(false, opened); }, WORKER_SILENCE_MS);
  setInterval(() => port.postMessage({ here: true }), HERE_MS);
  const watch = () => {
    if (Date.now() - heard > (document.hidden ? WORKER_SILENCE_HIDDEN_MS : WORKER_SILENCE_MS)) {
      show(false, heard);
      join();
    }
  };
  setInterval(watch, HERE_MS / 4);
  addEventListener("pagehide", () => port.postMessage({ leave: true }));
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  join();
})();
