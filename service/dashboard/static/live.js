// Fetches the page again while it is visible, and replaces the regions that have changed. Without JavaScript, reload it.
"use strict";

(() => {
  const seconds = () => Number(document.body.dataset.refresh || 0);
  const longestDelay = 30;
  let failures = 0;
  let lastUpdate = new Date();

  function replace(now, next) {
    const opened = [...now.querySelectorAll("details[open]")].map((details) => details.id);
    const focused = now.contains(document.activeElement) ? document.activeElement.id : "";
    now.replaceWith(next);
    for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  }

  function hasInput(region) {
    return [...region.querySelectorAll("input:not([type=hidden])")].some((field) => field.value);
  }

  function show(fresh) {
    for (const next of fresh.querySelectorAll("[data-live]")) {
      const now = document.getElementById(next.id);
      if (!now || now.outerHTML === next.outerHTML || hasInput(now)) continue;
      const announcement = next.dataset.announce;
      if (announcement && announcement !== now.dataset.announce) document.getElementById("announcement").textContent = announcement;
      replace(now, document.importNode(next, true));
    }
    document.title = fresh.title;
    if (fresh.body.dataset.refresh) document.body.dataset.refresh = fresh.body.dataset.refresh;
    else location.reload(); // the run has ended: the whole page differs
  }

  function recordFailure() {
    failures += 1;
    const at = document.getElementById("seen-at");
    at.dateTime = lastUpdate.toISOString();
    at.textContent = lastUpdate.toLocaleTimeString();
    if (failures > 1) document.querySelector(".lost").hidden = false;
  }

  async function refresh() {
    if (document.visibilityState === "visible") {
      try {
        const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
        if (answer.redirected) return location.reload(); // signed out
        if (!answer.ok) throw new Error(answer.status);
        show(new DOMParser().parseFromString(await answer.text(), "text/html"));
        failures = 0;
        lastUpdate = new Date();
        document.querySelector(".lost").hidden = true;
      } catch {
        recordFailure();
      }
    }
    setTimeout(refresh, 1000 * Math.min(longestDelay, seconds() * 2 ** failures));
  }

  if (seconds()) setTimeout(refresh, 1000 * seconds());
  document.addEventListener("submit", (event) => {
    for (const button of event.target.querySelectorAll("button")) setTimeout(() => (button.disabled = true));
  });
})();
