// Talks to the server: requests, problem details, and server-sent events.

const BASE = new URL(".", document.baseURI);
const KEY = "hokusai-token";

/** An error that the server has told, as problem details. */
export class ProblemError extends Error {
  constructor(problem, status) {
    super(problem.detail || problem.title || `the server answered ${status}`);
    this.status = status;
    this.problem = problem;
  }
}

let askForToken = null;

/** Sets what is called, and awaited, when the server needs a token. */
export function onTokenNeeded(ask) { askForToken = ask; }

/** Keeps the token until the tab is closed. */
export function keepToken(token) { sessionStorage.setItem(KEY, token); }

function headers(body) {
  const token = sessionStorage.getItem(KEY);
  return {
    ...(body === undefined ? {} : { "Content-Type": "application/json" }),
    ...(token ? { Authorization: `Bearer ${token}` } : {}),
  };
}

async function send(method, path, body, signal) {
  for (;;) {
    let response;
    try {
      response = await fetch(new URL(path, BASE), {
        method, headers: headers(body), body: body === undefined ? undefined : JSON.stringify(body), signal, cache: "no-store",
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Error("The server cannot be reached. Is it still running?");
    }
    if (response.status === 401 && askForToken) {
      await askForToken(Boolean(sessionStorage.getItem(KEY)));
      continue;
    }
    if (!response.ok) throw new ProblemError(await response.json().catch(() => ({})), response.status);
    return response;
  }
}

/** Returns the JSON of a path. */
export async function get(path) { return (await send("GET", path)).json(); }

/** Sends JSON, and returns the JSON that comes back. */
export async function post(path, body) { return (await send("POST", path, body)).json(); }

/** Returns the address of a picture that only the token opens. */
export async function pictureUrl(path) {
  const response = await send("GET", path);
  return URL.createObjectURL(await response.blob());
}

/** Yields the events of a streamed execution as {kind, data}. */
export async function* stream(path, body, signal) {
  const response = await send("POST", path, body, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    waiting += value;
    const parts = waiting.split("\n\n");
    waiting = parts.pop();
    for (const part of parts) {
      const lines = Object.fromEntries(part.split("\n").map((line) => [line.split(":", 1)[0], line.slice(line.indexOf(":") + 2)]));
      if (!lines.event) continue;
      const data = JSON.parse(lines.data);
      if (lines.event === "error") throw new ProblemError(data, data.status);
      yield { kind: lines.event, data };
    }
  }
}
