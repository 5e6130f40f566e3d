"use strict";

// Fetches the page again and changes only what differs, so that nothing flickers, scrolls or loses its selection.

const EVERY_MS = 2000;
const GIVE_UP_MS = 10000;

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

async function refresh() {
  const stale = document.getElementById("stale");
  try {
    const answer = await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(GIVE_UP_MS) });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    update(document.getElementById("live"), page.getElementById("live"));
    stale.hidden = true;
  } catch {
    stale.hidden = false;
  }
}

async function keepFresh() {
  if (!document.hidden) await refresh();
  setTimeout(keepFresh, EVERY_MS);
}

setTimeout(keepFresh, EVERY_MS);
