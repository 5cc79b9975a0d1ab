// Shows the value under the mouse or a finger. Everything works without it: charts have titles and tables.
"use strict";
(() => {
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.setAttribute("aria-hidden", "true");
  tip.hidden = true;
  document.body.append(tip);

  const show = (event) => {
    const found = event.target instanceof Element ? event.target.closest("[data-tip]") : null;
    tip.hidden = !found;
    if (!found) return;
    tip.textContent = found.dataset.tip;
    const width = document.documentElement.clientWidth, room = 12;
    const left = Math.min(event.clientX + room, width - tip.offsetWidth - room);
    tip.style.left = `${Math.max(room, left) + window.scrollX}px`;
    const above = event.clientY - tip.offsetHeight - room;
    tip.style.top = `${(above < 0 ? event.clientY + 2 * room : above) + window.scrollY}px`;
  };
  // the browser would show the title beside it
  document.querySelectorAll("svg [data-tip] > title").forEach((title) => title.remove());
  for (const name of ["pointermove", "pointerdown"]) document.addEventListener(name, show, { passive: true });
  document.addEventListener("pointerleave", () => { tip.hidden = true; });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });
})();
