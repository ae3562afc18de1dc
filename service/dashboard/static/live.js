// Asks for the page again while it is looked at, and puts what has changed in its place. Without it, reloading does.
"use strict";

(() => {
  const seconds = () => Number(document.body.dataset.refresh || 0);
  const slowest = 30;
  let failures = 0;
  let seen = new Date();

  function replace(now, next) {
    const opened = [...now.querySelectorAll("details[open]")].map((one) => one.id);
    const focused = now.contains(document.activeElement) ? document.activeElement.id : "";
    now.replaceWith(next);
    for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  }

  function isWrittenIn(region) {
    return [...region.querySelectorAll("input:not([type=hidden])")].some((field) => field.value);
  }

  function show(fresh) {
    for (const next of fresh.querySelectorAll("[data-live]")) {
      const now = document.getElementById(next.id);
      if (!now || now.outerHTML === next.outerHTML || isWrittenIn(now)) continue;
      const told = next.dataset.announce;
      if (told && told !== now.dataset.announce) document.getElementById("announcement").textContent = told;
      replace(now, document.importNode(next, true));
    }
    document.title = fresh.title;
    if (fresh.body.dataset.refresh) document.body.dataset.refresh = fresh.body.dataset.refresh;
    else location.reload(); // it has ended: the whole page has more to say
  }

  function lose() {
    failures += 1;
    const at = document.getElementById("seen-at");
    at.dateTime = seen.toISOString();
    at.textContent = seen.toLocaleTimeString();
    if (failures > 1) document.querySelector(".lost").hidden = false;
  }

  async function look() {
    if (document.visibilityState === "visible") {
      try {
        const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
        if (answer.redirected) return location.reload(); // signed out
        if (!answer.ok) throw new Error(answer.status);
        show(new DOMParser().parseFromString(await answer.text(), "text/html"));
        failures = 0;
        seen = new Date();
        document.querySelector(".lost").hidden = true;
      } catch {
        lose();
      }
    }
    setTimeout(look, 1000 * Math.min(slowest, seconds() * 2 ** failures));
  }

  if (seconds()) setTimeout(look, 1000 * seconds());
  document.addEventListener("submit", (event) => {
    for (const button of event.target.querySelectorAll("button")) setTimeout(() => (button.disabled = true));
  });
})();
