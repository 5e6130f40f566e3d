"use strict";

// Keeps the numbers fresh: the server sends the parts of the page that changed. Where there is no stream, the page is
// fetched now and then. Only what differs is changed, so that nothing flickers, scrolls or loses its selection.

const EVERY_MS = 2000;
const GIVE_UP_MS = 10000;
const SILENCE_MS = 30000;
const AGAIN_MS = 30000;

let stream = null;
let heardAt = 0;
let openedAt = -AGAIN_MS;

function update(shown, fresh) {
  if (shown.isEqualNode(fresh)) return;
  const children = [...fresh.childNodes];
  const alike = shown.cloneNode(false).isEqualNode(fresh.cloneNode(false));
  if (alike && children.length > 0 && children.length === shown.childNodes.length) {
    [...shown.childNodes].forEach((child, index) => update(child, children[index]));
  } else {
    shown.replaceWith(fresh);
  }
}

function parsed(text) {
  return new DOMParser().parseFromString(text, "text/html");
}

function keepOpen(fresh) {
  document.querySelectorAll("#live details[id][open]").forEach((one) => {
    const again = fresh.getElementById(one.id);
    if (again) again.open = true;
  });
  return fresh;
}

function show(parts) {
  for (const [id, text] of Object.entries(parts)) {
    const shown = document.getElementById(id);
    const fresh = keepOpen(parsed(text)).getElementById(id);
    if (shown && fresh) update(shown, fresh);
  }
}

function stale(is) {
  document.getElementById("stale").hidden = !is;
}

function heard() {
  heardAt = performance.now();
  stale(false);
}

function close() {
  if (stream) stream.close();
  stream = null;
}

function open() {
  close();
  openedAt = heardAt = performance.now();
  stream = new EventSource(document.getElementById("live").dataset.stream);
  stream.addEventListener("parts", (event) => { heard(); show(JSON.parse(event.data)); });
  stream.addEventListener("beat", heard);
  stream.addEventListener("away", () => stale(true));
  stream.addEventListener("error", close);
}

async function refresh() {
  try {
    const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(GIVE_UP_MS) });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    update(document.getElementById("live"), keepOpen(parsed(await answer.text())).getElementById("live"));
    stale(false);
  } catch {
    stale(true);
  }
}

async function keepFresh() {
  const now = performance.now();
  if (document.hidden) {
    close();
  } else if (stream && now - heardAt > SILENCE_MS) {
    close();
  } else if (!stream) {
    if (now - openedAt >= AGAIN_MS) open();
    else await refresh();
  }
  setTimeout(keepFresh, EVERY_MS);
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden && !stream) open();
});
open();
setTimeout(keepFresh, EVERY_MS);
