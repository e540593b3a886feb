// The playground: a conversation with the API of this origin. It lives in this page, and so does the key.
"use strict";

(() => {
const root = document.getElementById("playground");
if (!root) return;

const byId = (id) => document.getElementById(id);
const copyOf = (template) => template.content.cloneNode(true);
const [model, system, draft, stream, turns, trouble] =
  ["model", "system", "draft", "stream", "turns", "trouble"].map(byId);
const sendButton = byId("send"), stopButton = byId("stop");
const { call, refusal, eventsOf, Refused } = playgroundAPI({
  session: root.dataset.session,
  formToken: root.querySelector("[name=csrfmiddlewaretoken]"),
});
const { written, fill, explain, forget } = playgroundTrouble(trouble);
let running = null; // the AbortController of the call under way

// --- the conversation ----------------------------------------------------------------------------------------------

const fit = (area) => {
  if (CSS.supports("field-sizing", "content")) return;
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight + 2}px`;
};

const scroll = byId("scroll");
const isAtEnd = () => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 48;
const toEnd = () => { scroll.scrollTop = scroll.scrollHeight; };

const changed = () => {
  byId("nothing").hidden = turns.children.length > 0;
  writeCode();
};

const addTurn = (role, text) => {
  turns.append(copyOf(byId("turn")));
  const turn = turns.lastElementChild;
  turn.querySelector(".turn__role").value = role;
  turn.querySelector(".turn__text").value = text;
  fit(turn.querySelector(".turn__text"));
  changed();
  toEnd();
  return turn;
};

const textOf = (turn) => turn.querySelector(".turn__text").value;
const roleOf = (turn) => turn.querySelector(".turn__role").value;

const messages = () => {
  const said = [...turns.children].map((turn) => ({ role: roleOf(turn), content: textOf(turn) }));
  if (draft.value.trim()) said.push({ role: "user", content: draft.value });
  if (system.value.trim()) said.unshift({ role: "system", content: system.value });
  return said.filter((message) => message.content.trim());
};

// --- parameters ----------------------------------------------------------------------------------------------------

const numbers = [...root.querySelectorAll("[data-number]")];

const numberIn = (field) => Number(asciiDigits(field.value).replace(/[٬,\s]/g, "").replace("٫", "."));

const isRight = (field) => {
  const { min, max, whole } = field.dataset;
  const value = numberIn(field);
  return !field.value.trim() || (value >= min && value <= max && (whole === undefined || Number.isInteger(value)));
};

const checkNumbers = () => {
  const wrong = numbers.filter((field) => !isRight(field));
  for (const field of numbers) field.setAttribute("aria-invalid", String(wrong.includes(field)));
  byId("parameter-error").hidden = wrong.length === 0;
  return wrong[0];
};

const requestBody = () => {
  const body = { model: model.value, messages: messages() };
  for (const field of numbers) if (field.value.trim() && isRight(field)) body[field.id] = numberIn(field);
  if (stream.checked) Object.assign(body, { stream: true, stream_options: { include_usage: true } });
  return body;
};

// --- reading an answer ---------------------------------------------------------------------------------------------

const readStream = async (response, answer) => {
  for await (const data of eventsOf(response)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Refused(["broken"]);
    const choice = chunk.choices[0];
    answer.usage = chunk.usage ?? answer.usage;
    answer.finish = choice?.finish_reason ?? answer.finish;
    answer.write(choice?.delta?.content ?? choice?.delta?.refusal ?? "");
  }
  throw new Refused(["offline"]);
};

const readWhole = async (response, answer) => {
  const { choices, usage } = await response.json();
  answer.usage = usage;
  answer.finish = choices[0].finish_reason;
  answer.write(choices[0].message.content ?? choices[0].message.refusal ?? "");
};

// --- an answer on the page -----------------------------------------------------------------------------------------

class Answer {
  usage = null;
  finish = null;
  firstAt = null;
  startedAt = performance.now();

  constructor(isStreamed) {
    this.isStreamed = isStreamed;
    this.turn = addTurn("assistant", "");
    this.area = this.turn.querySelector(".turn__text");
    this.text = "";
    this.lock(true);
  }

  lock(locked) {
    this.turn.toggleAttribute("data-writing", locked);
    this.area.readOnly = locked;
    for (const control of this.turn.querySelectorAll("select, button")) control.disabled = locked;
  }

  write(text) {
    if (!text) return;
    this.firstAt ??= performance.now();
    this.text += text;
    this.frame ??= requestAnimationFrame(() => this.paint()); // once a frame, however many events there were
  }

  paint() {
    cancelAnimationFrame(this.frame);
    this.frame = undefined;
    const follows = isAtEnd();
    this.area.value = this.text;
    fit(this.area);
    if (follows) toEnd();
  }

  // `how`: "whole", "stopped" or "failed".
  end(how) {
    this.paint();
    this.lock(false);
    if (!this.text && how !== "whole") {
      this.turn.remove();
      return;
    }
    this.turn.append(copyOf(byId("facts")));
    const facts = {
      cost: this.usage && written(this.usage.cost_toman, 7),
      prompt: this.usage && written(this.usage.prompt_tokens, 0),
      completion: this.usage && written(this.usage.completion_tokens, 0),
      first: this.isStreamed && this.firstAt !== null && written((this.firstAt - this.startedAt) / 1000, 2),
      whole: how === "whole" && written((performance.now() - this.startedAt) / 1000, 2),
      length: this.finish === "length",
      content_filter: this.finish === "content_filter",
      stopped: how === "stopped",
    };
    fill(this.turn, facts);
    for (const fact of this.turn.querySelectorAll("[data-when]")) if (!facts[fact.dataset.when]) fact.remove();
    if (!this.turn.querySelector("[data-when]")) this.turn.querySelector(".turn__facts").remove();
  }
}

const showLimits = (headers) => {
  const limits = byId("limits");
  const left = (what) => {
    const [rest, most] = ["remaining", "limit"].map((name) => headers.get(`x-ratelimit-${name}-${what}`));
    return most === null
      ? undefined
      : limits.dataset.left.replace("{left}", written(rest, 0)).replace("{limit}", written(most, 0));
  };
  fill(limits, { requests: left("requests"), tokens: left("tokens") });
};

// --- sending and stopping ------------------------------------------------------------------------------------------

const show = (isRunning) => {
  const hadFocus = document.activeElement === sendButton || document.activeElement === stopButton;
  sendButton.hidden = isRunning;
  stopButton.hidden = !isRunning;
  if (hadFocus) (isRunning ? stopButton : draft).focus();
};

const send = async () => {
  const wrong = checkNumbers();
  if (running || wrong) return wrong?.focus();
  if (draft.value.trim()) {
    const text = draft.value;
    draft.value = "";
    addTurn("user", text);
  }
  if (messages().at(-1)?.role !== "user") return draft.focus();
  forget();
  const body = requestBody();
  const answer = new Answer(stream.checked);
  const mine = running = new AbortController();
  show(true);
  announce(root.dataset.answering);
  let how = "failed", failure = null;
  try {
    const response = await call("/v1/chat/completions", body, mine.signal);
    showLimits(response.headers);
    if (!response.ok) throw await refusal(response);
    await (answer.isStreamed ? readStream : readWhole)(response, answer);
    how = "whole";
  } catch (error) {
    if (mine.signal.aborted) how = "stopped";
    else failure = error;
  }
  answer.end(how);
  // It is finished and paid for on the server, as any answer that is not streamed.
  if (how === "stopped" && !answer.isStreamed) failure = { kinds: ["stopped_whole"] };
  running = null;
  show(false);
  changed();
  if (failure) explain(failure);
  else if (how === "whole") announce(root.dataset.answered);
  toEnd();
};

const stop = () => running?.abort();

sendButton.addEventListener("click", send);
stopButton.addEventListener("click", stop);

byId("add").addEventListener("click", () => {
  const last = turns.lastElementChild;
  const turn = addTurn(last && roleOf(last) === "user" ? "assistant" : "user", draft.value);
  draft.value = "";
  turn.querySelector(".turn__text").focus();
});

byId("clear").addEventListener("click", () => {
  stop();
  forget();
  turns.replaceChildren();
  draft.value = "";
  changed();
  announce(root.dataset.cleared);
  draft.focus();
});

root.addEventListener("click", (event) => {
  const pressed = event.target.closest("button");
  if (!pressed) return;
  if ("idea" in pressed.dataset) {
    draft.value = pressed.textContent;
    changed();
    draft.focus();
  } else if ("again" in pressed.dataset) {
    send();
    (running ? stopButton : draft).focus();
  } else if (pressed.matches(".turn__remove")) {
    const turn = pressed.closest(".turn");
    const next = turn.nextElementSibling ?? turn.previousElementSibling;
    turn.remove();
    (next?.querySelector(".turn__remove:enabled") ?? draft).focus();
    changed();
  }
});

root.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    send();
  } else if (event.key === "Escape") stop();
});

root.addEventListener("input", (event) => {
  if (event.target.matches(".turn__text")) fit(event.target);
  if (event.target.matches("[aria-invalid=true]")) checkNumbers();
  for (const hint of root.querySelectorAll("[data-model]")) hint.hidden = hint.dataset.model !== model.value;
  changed();
});

// --- the same call as code -----------------------------------------------------------------------------------------

const writeCode = () => {
  const body = requestBody();
  if (!body.messages.some((message) => message.role !== "system")) body.messages.push({ role: "user", content: "Hello!" });
  for (const [language, write] of Object.entries(bodyAs)) {
    const code = byId(`${language}-code`);
    const around = body.stream ? code.dataset.streamed : code.dataset.whole;
    code.textContent = around.replace("BODY", () => write(body));
  }
};

writeCode();
sendButton.disabled = false;
})();
