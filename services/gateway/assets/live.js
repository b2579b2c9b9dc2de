// Live alerts: each event names an alert; its row is fetched from the server and put in, so that a row looks the same
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

  // Rows of one alert are fetched one after the other: a later state never loses to an earlier one.
  const queues = new Map();
  const refresh = (alert) => {
    const before = queues.get(alert.alert) || Promise.resolve();
    const after = before.then(() => putAgain(alert, FETCHES_MAX)).catch(() => { missing = true; });
    queues.set(alert.alert, after);
    after.then(() => { if (queues.get(alert.alert) === after) queues.delete(alert.alert); });
  };

  const putAgain = async (alert, left) => {
    try {
      await put(alert);
    } catch (error) {
      if (left <= 1) throw error;
      await new Promise((done) => setTimeout(done, FETCH_AGAIN_MS));
      await putAgain(alert, left - 1);
    }
  };

  const put = async (alert) => {
    const asked = { headers: { accept: "text/html" }, signal: AbortSignal.timeout(FETCH_MS) };
    const answer = await fetch(`/inbox/${alert.alert}?state=${state}`, asked);
    if (answer.redirected || answer.status === 401) { location.assign("/sign-in"); return; }
    const old = document.getElementById(`alert-${alert.alert}`);
    if (answer.status === 204 || answer.status === 404) {
      // A withdrawn alert stays where it was seen, struck through, until the page is loaded again.
      if (old && alert.state !== "withdrawn") old.remove();
      else if (old) strike(old);
    } else if (answer.ok) {
      const table = document.createElement("template");
      table.innerHTML = `<table><tbody>${await answer.text()}</tbody></table>`;
      const row = table.content.querySelector("tr");
      if (!row) return;
      row.classList.add("fresh");
      const focused = document.activeElement && document.activeElement.id;
      if (old) old.replaceWith(row); else rows.prepend(row);
      if (focused && !document.activeElement.id) document.getElementById(focused)?.focus();
    } else {
      throw new Error("no row");
    }
    if (nothing) nothing.hidden = rows.children.length > 0;
  };

  const strike = (row) => {
    const headline = row.querySelector("span.headline");
    if (headline) {
      const struck = document.createElement("s");
      struck.className = "headline";
      struck.textContent = headline.textContent;
      const word = document.createElement("strong");
      word.className = "small";
      word.textContent = "Withdrawn. Do not act on it.";
      headline.replaceWith(struck, word);
    }
    row.querySelector(".tag.state").textContent = "Withdrawn";
    row.querySelectorAll("form").forEach((form) => form.remove());
    row.classList.add("withdrawn");
  };

  const announce = (alert) => {
    const words = { raised: "New alert", routed: "New alert", withdrawn: "Alert withdrawn" }[alert.change];
    if (!words) return;
    const critical = alert.severity === "critical" && alert.interrupts;
    const where = document.getElementById(critical ? "announce-critical" : "announce");
    where.textContent = `${words}: ${alert.patient}, ${alert.headline}`;
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
      refresh(message.data);
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
