// One call of an endpoint beside chat, what comes of it, and what it cost.
"use strict";

(() => {
const root = document.getElementById("trial");
if (!root) return;

const byId = (id) => document.getElementById(id);
const [form, model, trouble, result, shown, sendButton, stopButton] =
  ["ask", "model", "trouble", "result", "shown", "send", "stop"].map(byId);
const { call, refusal } = playgroundAPI({
  session: root.dataset.session,
  formToken: root.querySelector("[name=csrfmiddlewaretoken]"),
});
const { written, fill, explain, forget } = playgroundTrouble(trouble);
let running = null; // the AbortController of the call under way
let soundURL = null;

const made = (name, members) => Object.assign(document.createElement(name), members);

const link = (href) => {
  const shownLink = made("a", { href, textContent: href, rel: "noreferrer", target: "_blank" });
  shownLink.dir = "ltr";
  return shownLink;
};

const picture = ({ b64_json: data, url }, format) => data
  ? made("img", { src: `data:image/${format ?? "png"};base64,${data}`, alt: byId("text").value })
  : link(url);

// By endpoint: where it is asked, with what, and what is shown of the answer.
const TRIALS = {
  images: {
    path: "/v1/images/generations",
    body: () => ({
      model: model.value, prompt: byId("text").value, ...(byId("size").value && { size: byId("size").value }),
    }),
    async show(response) {
      const { data, output_format: format } = await response.json();
      return data.map((image) => picture(image, format));
    },
  },
  speech: {
    path: "/v1/audio/speech",
    body: () => ({ model: model.value, input: byId("text").value, voice: byId("voice").value }),
    async show(response) {
      const sound = await response.blob();
      URL.revokeObjectURL(soundURL);
      soundURL = URL.createObjectURL(sound);
      return [made("audio", { controls: true, src: soundURL })];
    },
  },
  transcriptions: {
    path: "/v1/audio/transcriptions",
    body() {
      const body = new FormData();
      body.append("model", model.value);
      body.append("file", byId("file").files[0]);
      return body;
    },
    async show(response) {
      return [made("p", { textContent: (await response.json()).text, dir: "auto" })];
    },
  },
  embeddings: {
    path: "/v1/embeddings",
    body: () => ({ model: model.value, input: byId("text").value.split("\n").filter((line) => line.trim()) }),
    async show(response) {
      const { data } = await response.json();
      const vectors = byId("vectors").content.cloneNode(true);
      const numbers = data.map(({ embedding }) => `[${embedding.slice(0, 4).map((each) => each.toFixed(4)).join(", ")}, …]`);
      fill(vectors, {
        count: written(data.length, 0), dimensions: written(data[0].embedding.length, 0), numbers: numbers.join("\n"),
      });
      return [...vectors.children];
    },
  },
};
const trial = TRIALS[root.dataset.endpoint];

const show = (isRunning) => {
  const hadFocus = document.activeElement === sendButton || document.activeElement === stopButton;
  sendButton.hidden = isRunning;
  stopButton.hidden = !isRunning;
  if (hadFocus) (isRunning ? stopButton : sendButton).focus();
};

const isFilled = () => {
  const missing = [...form.querySelectorAll("[required]")].filter((field) => !field.value.trim());
  for (const field of form.querySelectorAll("[required]")) field.setAttribute("aria-invalid", String(missing.includes(field)));
  missing[0]?.focus();
  return missing.length === 0;
};

const send = async () => {
  if (running || !isFilled()) return;
  forget();
  result.hidden = true;
  const mine = running = new AbortController();
  const startedAt = performance.now();
  show(true);
  announce(root.dataset.answering);
  let failure = null;
  try {
    const response = await call(trial.path, trial.body(), mine.signal);
    if (!response.ok) throw await refusal(response);
    shown.replaceChildren(...await trial.show(response));
    const whole = written((performance.now() - startedAt) / 1000, 2);
    const paid = await call(`/v1/requests/${response.headers.get("x-request-id")}`, null, mine.signal);
    byId("cost").hidden = !paid.ok;
    fill(result.querySelector(".turn__facts"), { whole, cost: paid.ok ? written((await paid.json()).cost_toman, 7) : "—" });
    result.hidden = false;
    announce(root.dataset.answered);
  } catch (error) {
    if (!mine.signal.aborted) failure = error;
  }
  running = null;
  show(false);
  if (failure) explain(failure);
};

form.addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
stopButton.addEventListener("click", () => running?.abort());
trouble.addEventListener("click", (event) => { if ("again" in event.target.dataset) send(); });
form.addEventListener("input", (event) => {
  if (event.target.matches("[aria-invalid=true]")) event.target.setAttribute("aria-invalid", "false");
  for (const hint of root.querySelectorAll("[data-model]")) hint.hidden = hint.dataset.model !== model.value;
});
sendButton.disabled = false; // before, the browser would have sent the form itself
})();
