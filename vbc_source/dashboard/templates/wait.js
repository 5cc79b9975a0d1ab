// Loads the page again once the database can be read. Until then nothing changes under the reader.
"use strict";
const seconds = Number(document.currentScript.dataset.seconds);
setInterval(async () => {
  const answer = await fetch(location.href, { method: "HEAD" }).catch(() => null);
  if (answer?.ok) location.reload();
}, 1000 * seconds);
