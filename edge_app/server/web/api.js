// What the server is asked. Every failure is an Error whose message can be shown as it is.

const KEY = "ser-edge-token";

export function takeTokenFromAddress() {
  const found = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!found) return;
  rememberToken(found);
  history.replaceState(null, "", location.pathname + location.search); // not into bookmarks
}

export function rememberToken(token) {
  try { sessionStorage.setItem(KEY, token); } catch { /* storage forbidden: asked again next time */ }
  held = token;
}

let held = null;

function token() {
  try { return sessionStorage.getItem(KEY) ?? held; } catch { return held; }
}

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function ask(path, options = {}) {
  const headers = token() ? { Authorization: `Bearer ${token()}` } : {};
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server does not answer. Is edge-app serve still running?", 0);
  }
  if (response.ok) return response;
  let said = `The server answered ${response.status}.`;
  try { said = (await response.json()).error ?? said; } catch { /* no JSON: the status has to do */ }
  throw new ApiError(said, response.status);
}

function form(file, name) {
  const body = new FormData();
  body.append("file", file, name);
  return body;
}

export const models = async () => (await ask("v1/models")).json();
export const ready = async () => (await fetch("readyz")).json();
export const process = async (file, name, signal) =>
  (await ask("process_audio", { method: "POST", body: form(file, name), signal })).json();
export const predict = async (file, name, signal) =>
  (await ask("v1/predict", { method: "POST", body: form(file, name), signal })).json();
export const image = async (file, name, start, signal) =>
  (await ask(`v1/image?start=${start}`, { method: "POST", body: form(file, name), signal })).blob();

export function stream(rate) {
  const address = new URL(`v1/stream?rate=${rate}&image=1`, location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  address.hash = "";
  const protocols = token() ? ["ser-edge", `token.${token()}`] : ["ser-edge"];
  const socket = new WebSocket(address, protocols);
  socket.binaryType = "arraybuffer";
  return socket;
}
