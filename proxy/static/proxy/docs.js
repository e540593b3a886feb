// Remembers the language of the examples; the server opens the page with it, so nothing jumps.
"use strict";

document.addEventListener("change", (event) => {
  if (event.target.name !== "example") return;
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `hamiran_example=${event.target.value}; path=${location.pathname}; max-age=31536000; samesite=lax${secure}`;
});
