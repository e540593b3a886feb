// Small helps on top of pages that work without them.
"use strict";

document.documentElement.classList.add("has-js");

const announce = (text) => {
  const region = document.getElementById("announce");
  if (region) region.textContent = text;
};

// --- copy buttons: <button class="button copy" type="button" data-copy="#id">
const selectText = (element) => {
  const range = document.createRange();
  range.selectNodeContents(element);
  const selection = window.getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
};

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  const source = button && document.querySelector(button.dataset.copy);
  if (!source) return;
  const text = (source.value ?? source.textContent).trim();
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // No clipboard here (plain http on another host): select it, so that one key press copies it.
    selectText(source);
    return;
  }
  const label = button.dataset.label ?? button.textContent;
  button.dataset.label = label;
  button.textContent = document.body.dataset.copied;
  announce(document.body.dataset.copied);
  clearTimeout(button.copyTimer);
  button.copyTimer = setTimeout(() => { button.textContent = label; }, 2000);
});

// --- forms that must not be sent twice: <form data-once>
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!("once" in form.dataset)) return;
  if (form.dataset.once === "sent") event.preventDefault();
  form.dataset.once = "sent";
});
// Coming back by the browser's own button shows the page as it was left.
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("[data-once]")) form.dataset.once = "";
});

// --- the one-time code: digits of any script, pasted text, WebOTP; sent as soon as it is whole
const asciiDigits = (text) => text
  .replace(/[۰-۹]/g, (digit) => String(digit.charCodeAt(0) - 0x06f0))
  .replace(/[٠-٩]/g, (digit) => String(digit.charCodeAt(0) - 0x0660));

const codeInput = document.querySelector("[data-code]");
if (codeInput) {
  const submitWhole = () => {
    const digits = asciiDigits(codeInput.value).replace(/\D/g, "").slice(0, 6);
    if (digits !== codeInput.value) codeInput.value = digits;
    if (digits.length === 6) codeInput.form.requestSubmit();
  };
  codeInput.addEventListener("input", submitWhole);
  if ("OTPCredential" in window) {
    const waiting = new AbortController();
    codeInput.form.addEventListener("submit", () => waiting.abort());
    navigator.credentials.get({ otp: { transport: ["sms"] }, signal: waiting.signal }).then((otp) => {
      codeInput.value = otp.code;
      submitWhole();
    }).catch(() => {}); // refused or typed by hand: the field is there
  }
}

// --- a button that may be pressed again after a while: <button data-wait="57">
for (const button of document.querySelectorAll("[data-wait]")) {
  const readyAt = Date.now() + Number(button.dataset.wait) * 1000;
  const text = button.form.querySelector("[data-wait-text]");
  const seconds = button.form.querySelector("[data-wait-seconds]");
  const format = new Intl.NumberFormat(document.documentElement.lang === "fa" ? "fa-IR" : "en");
  const tick = () => {
    const left = Math.ceil((readyAt - Date.now()) / 1000);
    button.disabled = left > 0;
    if (text) text.style.visibility = left > 0 ? "visible" : "hidden"; // keeps its room: nothing jumps
    if (seconds) seconds.textContent = format.format(Math.max(left, 0));
    if (left > 0) setTimeout(tick, 250);
  };
  tick();
}

// --- parts that htmx replaces: where something else comes back (sign-in, an error), the whole page shows it
document.addEventListener("htmx:beforeOnLoad", (event) => {
  const { xhr, pathInfo } = event.detail;
  const asked = new URL(pathInfo.finalRequestPath, location.href);
  const got = new URL(xhr.responseURL || asked, location.href);
  if (xhr.status >= 400 || got.pathname !== asked.pathname) {
    event.preventDefault();
    location.assign(asked);
  }
});
for (const name of ["htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(name, (event) => location.assign(event.detail.pathInfo.finalRequestPath));
}
