// What went wrong with a call, and what to do: the page's words for each kind of it, shown in `trouble`.
"use strict";

const playgroundTrouble = (trouble) => {
const language = document.documentElement.lang === "fa" ? "fa-IR" : "en";
const written = (value, digits) => new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value);

const fill = (element, texts) => {
  for (const place of element.querySelectorAll("[data-fill]")) place.textContent = texts[place.dataset.fill] ?? "—";
};

const templateFor = (kind) => document.querySelector(`template[data-trouble="${CSS.escape(kind)}"]`);

const forget = () => {
  clearInterval(trouble.timer);
  trouble.replaceChildren();
};

const explain = ({ kinds = ["offline"], message = "", seconds = 0 }) => {
  const kind = kinds.find((each) => each && templateFor(each));
  const notice = document.createElement("div");
  notice.className = "notice notice--bad";
  notice.append(templateFor(kind).content.cloneNode(true));
  fill(notice, { message, seconds: written(seconds, 0) });
  trouble.replaceChildren(notice);
  announce([...notice.querySelectorAll("strong, p:not(.row)")].map((part) => part.textContent).join(" "));
  if (kind === "429") countDown(notice, seconds);
};

const countDown = (notice, seconds) => {
  const readyAt = Date.now() + seconds * 1000;
  trouble.timer = setInterval(() => {
    const left = Math.max(0, Math.ceil((readyAt - Date.now()) / 1000));
    fill(notice, { seconds: written(left, 0) });
    notice.querySelector("[data-again]").disabled = left > 0;
    if (!left) clearInterval(trouble.timer);
  }, 250);
};

return { written, fill, explain, forget };
};
