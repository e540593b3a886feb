// The API of this origin, called with a key for an hour that is asked for at `session`. `formToken` is a form's field.
"use strict";

const playgroundAPI = ({ session, formToken }) => {
// `kinds`: what it is, the most exact word first.
class Refused extends Error {
  constructor(kinds, { message = "", seconds = 0 } = {}) {
    super(message);
    Object.assign(this, { kinds, seconds });
  }
}

let key = null; // only ever here; the server replaces it at the next page that asks

const askForKey = () => fetch(session, { method: "POST", headers: { "X-CSRFToken": formToken.value } });

const newKey = async () => {
  let response = await askForKey();
  if (response.status === 403) { // somebody signed in in another tab: what this page's forms carry is out of date
    const page = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
    formToken.value = page.querySelector("[name=csrfmiddlewaretoken]")?.value ?? "";
    response = await askForKey();
  }
  if (response.status === 401 || response.status === 403) throw new Refused(["signed_out"]);
  if (response.status === 409) throw new Refused(["no_new_keys"], await response.json());
  if (!response.ok) throw new Refused(["503"]);
  return (await response.json()).key;
};

// A body of null asks for what is there.
const ask = (path, body, signal) => {
  const isJSON = body !== null && !(body instanceof FormData);
  return fetch(path, {
    method: body === null ? "GET" : "POST",
    headers: { ...(isJSON && { "Content-Type": "application/json" }), Authorization: `Bearer ${key}` },
    body: isJSON ? JSON.stringify(body) : body,
    credentials: "omit",
    signal,
  });
};

const call = async (path, body, signal) => {
  key ??= await newKey();
  signal.throwIfAborted();
  const response = await ask(path, body, signal);
  if (response.status !== 401) return response;
  key = await newKey(); // it has expired, or another tab has taken its place
  return ask(path, body, signal);
};

const refusal = async (response) => {
  const { code, message } = (await response.json().catch(() => ({}))).error ?? {};
  const kinds = [code, String(response.status), response.status < 500 ? "400" : "503"];
  const seconds = Number(response.headers.get("Retry-After")) || 5;
  return new Refused(kinds, { message, seconds });
};

// The data of each event, as it arrives; what is cut off at the end is no event.
async function* eventsOf(response) {
  let rest = "";
  for await (const text of piecesOf(response.body.pipeThrough(new TextDecoderStream()))) {
    const lines = (rest + text).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line.startsWith("data:")) yield line.slice(5).trim();
  }
}

// Not every browser iterates over a stream.
async function* piecesOf(readable) {
  const reader = readable.getReader();
  for (let piece; !(piece = await reader.read()).done;) yield piece.value;
}

return { call, refusal, eventsOf, Refused };
};
