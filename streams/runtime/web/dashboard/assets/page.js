"use strict";
// Replaces the sections of the page by those of each event; says so if events stay away.

const STALE_MS = 5000;
const AGAIN_MS = 10000;
let newest = Date.now();

function replace(id, html) {
  const section = document.getElementById(id);
  if (section === null || section.dataset.html === html) return;
  const focused = section.contains(document.activeElement) ? document.activeElement : null;
  const place = focused && [...section.querySelectorAll("a, summary, [tabindex]")].indexOf(focused);
  const open = [...section.querySelectorAll("details")].map((details) => details.open);
  section.innerHTML = html;
  section.dataset.html = html;
  [...section.querySelectorAll("details")].forEach((details, number) => { details.open = open[number] === true; });
  if (focused) section.querySelectorAll("a, summary, [tabindex]")[place]?.focus({ preventScroll: true });
}

function listen() {
  const source = new EventSource("/events");
  source.onmessage = (event) => {
    newest = Date.now();
    for (const [id, html] of Object.entries(JSON.parse(event.data))) replace(id, html);
  };
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, AGAIN_MS);
  };
}

document.getElementById("find").addEventListener("submit", (event) => {
  event.preventDefault();
  location.assign("/orders/" + encodeURIComponent(event.target.elements.order_id.value.trim()) + "/");
});
setInterval(() => { document.getElementById("stale").hidden = Date.now() - newest < STALE_MS; }, 500);
listen();
