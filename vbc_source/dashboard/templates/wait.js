// Loads the page again once the database is no longer busy. Until then nothing changes under the reader.
"use strict";
const milliseconds = 1000 * document.currentScript.dataset.seconds;
async function look() {
  const answer = await fetch(location.href, { method: "HEAD" }).catch(() => null);
  // a busy database says when to ask again; any other answer is for the reader
  if (answer && !answer.headers.has("retry-after")) location.reload();
  else setTimeout(look, milliseconds);
}
setTimeout(look, milliseconds);
