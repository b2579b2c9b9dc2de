// One stream of live alerts for all tabs of a session: a browser opens six connections to a server over HTTP/1.1, and a
// stream keeps one for itself. As a shared worker it serves every tab; where there are none, each page runs it for itself.
//
// A page sends {join: id of the last event it knows}, {here: true} now and then, {leave: true}. It gets
// {kind: "alert" | "heartbeat" | "reset" | "bye" | "status", …}.
"use strict";
(() => {
  // Heartbeats come every 12 seconds: two are missed before the connection counts as dead.
  const SILENCE_MS = 30000;
  // A new connection that says nothing for so long is tried again.
  const OPENING_MS = 10000;
  const TICK_MS = 2000;
  const CLOSED_AGAIN_MS = 5000;
  const PAGE_GONE_MS = 300000;
  const KEPT_MAX = 500;

  const ports = new Map();
  let source = null;
  let last = "";
  // Events after this one are kept for pages that join later.
  let from = "";
  let kept = [];
  let heard = 0;
  let on = false;
  let since = Date.now();
  let again = 0;

  const send = (message) => ports.forEach((_, port) => port.postMessage(message));
  const status = () => ({ kind: "status", on, since });
  const turn = (now) => {
    if (on !== now) { on = now; since = Date.now(); }
    send(status());
  };

  const hear = (kind, event) => {
    heard = Date.now();
    if (event.lastEventId) last = event.lastEventId;
    const message = { kind, id: event.lastEventId, data: JSON.parse(event.data) };
    if (kind === "alert") {
      kept.push(message);
      if (kept.length > KEPT_MAX) from = kept.shift().id;
    }
    if (kind === "reset") { from = last; kept = []; }
    send(message);
    if (!on) turn(true);
  };

  const open = () => {
    if (source) source.close();
    heard = Date.now();
    again = 0;
    source = new EventSource(last ? `/events?after=${encodeURIComponent(last)}` : "/events");
    const mine = source;
    source.addEventListener("open", () => { if (mine === source) { heard = Date.now(); turn(true); } });
    source.addEventListener("error", () => {
      if (mine !== source) return;
      turn(false);
      // The browser tries again by itself, unless the server refused.
      if (source.readyState === EventSource.CLOSED) again = Date.now() + CLOSED_AGAIN_MS;
    });
    for (const kind of ["alert", "heartbeat", "reset"]) {
      source.addEventListener(kind, (event) => { if (mine === source) hear(kind, event); });
    }
    source.addEventListener("bye", () => {
      if (mine !== source) return;
      source.close();
      source = null;
      send({ kind: "bye" });
      ports.clear();
      if (shared) self.close();
    });
  };

  // A frozen connection raises no error: only its silence tells.
  setInterval(() => {
    const now = Date.now();
    ports.forEach((seen, port) => { if (now - seen > PAGE_GONE_MS) ports.delete(port); });
    if (!source) return;
    if (again ? now > again : now - heard > (on ? SILENCE_MS : OPENING_MS)) {
      if (on) { on = false; since = heard; }
      send(status());
      open();
    } else {
      send(status());
    }
  }, TICK_MS);

  const newer = (id, than) => !than || Number(id) > Number(than);

  const join = (port, after) => {
    ports.set(port, Date.now());
    if (!source) {
      last = from = after;
      open();
    } else if (after && from && newer(from, after)) {
      // What came between is no longer here.
      port.postMessage({ kind: "reset" });
    } else if (after) {
      kept.filter((message) => newer(message.id, after)).forEach((message) => port.postMessage(message));
    }
    port.postMessage(status());
  };

  const connect = (port) => {
    port.onmessage = ({ data }) => {
      if ("join" in data) join(port, data.join);
      else if (data.leave) ports.delete(port);
      else if (ports.has(port)) ports.set(port, Date.now());
    };
  };

  const shared = typeof SharedWorkerGlobalScope !== "undefined" && self instanceof SharedWorkerGlobalScope;
  if (shared) self.onconnect = (event) => connect(event.ports[0]);
  else self.causewayLive = connect;
})();
