// Live alerts: each event names an alert; its row is fetched from the server and put in, so that a row looks the same
// however it came. Without this file the page works by reloading.
"use strict";
(() => {
  const live = document.getElementById("live");
  const rows = document.getElementById("alerts");
  const connection = document.getElementById("connection");
  if (!live || !rows || !window.EventSource) return;
  const say = (text, on) => {
    if (connection.textContent !== text) connection.textContent = text;
    connection.classList.toggle("on", on);
  };
  const nothing = document.getElementById("nothing");
  const state = live.dataset.state;

  // Rows of one alert are fetched one after the other: a later state never loses to an earlier one.
  const queues = new Map();
  const refresh = (alert) => {
    const before = queues.get(alert.alert) || Promise.resolve();
    const after = before.then(() => put(alert)).catch(() => say("Reload the page: an alert could not be shown.", false));
    queues.set(alert.alert, after);
    after.then(() => { if (queues.get(alert.alert) === after) queues.delete(alert.alert); });
  };

  const put = async (alert) => {
    const answer = await fetch(`/inbox/${alert.alert}?state=${state}`, { headers: { accept: "text/html" } });
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
    const critical = alert.severity === "critical" && alert.urgency === "paged";
    const where = document.getElementById(critical ? "announce-critical" : "announce");
    where.textContent = `${words}: ${alert.patient}, ${alert.headline}`;
  };

  const after = live.dataset.after;
  const source = new EventSource(after ? `/events?after=${encodeURIComponent(after)}` : "/events");
  source.addEventListener("open", () => say("Live: new alerts appear by themselves.", true));
  source.addEventListener("error", () => say("Not connected. Trying again; reload the page to be sure.", false));
  source.addEventListener("alert", (event) => {
    const alert = JSON.parse(event.data);
    refresh(alert);
    announce(alert);
  });
  source.addEventListener("reset", () => location.reload());
  source.addEventListener("bye", () => { source.close(); location.assign("/sign-in"); });
})();
