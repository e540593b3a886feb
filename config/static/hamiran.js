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
