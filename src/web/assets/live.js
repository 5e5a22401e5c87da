// Reads the page anew when the daemon says that something changed. Without it the page is as good, only not live.
"use strict";
(() => {
  const state = document.getElementById("live");
  let reading = false;
  let again = false;
  const refresh = async () => {
    if (reading) { again = true; return; }
    reading = true;
    try {
      const answer = await fetch(location.pathname + location.search, { headers: { Accept: "text/html" } });
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
      const shown = document.querySelector("main");
      if (!fresh || fresh.innerHTML === shown.innerHTML) return;
      const open = new Set([...shown.querySelectorAll("details[open]")].map((details) => details.id));
      for (const details of fresh.querySelectorAll("details")) {
        if (details.id) details.open = open.has(details.id);
      }
      const focused = document.activeElement && document.activeElement.id;
      const [x, y] = [scrollX, scrollY];
      shown.replaceWith(document.adoptNode(fresh));
      scrollTo(x, y);
      if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    } finally {
      reading = false;
      if (again) { again = false; refresh(); }
    }
  };
  // How far away times are changes while nothing else does.
  setInterval(() => { if (!document.hidden && state.className === "live") refresh().catch(() => {}); }, 30_000);
  const source = new EventSource("/events");
  source.addEventListener("changed", () => { state.textContent = "live"; state.className = "live"; refresh().catch(() => {}); });
  source.addEventListener("error", () => { state.textContent = "not live: the daemon does not answer"; state.className = "lost"; });
})();
