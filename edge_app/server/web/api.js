// Requests to the server. Every failure is an Error with a message for the user.

const KEY = "ser-edge-token";

export function takeTokenFromAddress() {
  const found = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!found) return;
  rememberToken(found);
  history.replaceState(null, "", location.pathname + location.search); // keep it out of bookmarks
}

export function rememberToken(token) {
  try { sessionStorage.setItem(KEY, token); } catch { /* no storage: the page asks again next time */ }
  kept = token;
}

let kept = null;

function token() {
  try { return sessionStorage.getItem(KEY) ?? kept; } catch { return kept; }
}

export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function request(path, options = {}) {
  const headers = token() ? { Authorization: `Bearer ${token()}` } : {};
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server does not answer. Is edge-app serve still running?", 0);
  }
  if (response.ok) return response;
  let message = `The server answered ${response.status}.`;
  try { message = (await response.json()).error ?? message; } catch { /* no JSON: show the status */ }
  throw new ApiError(message, response.status);
}

function form(file, name) {
  const body = new FormData();
  body.append("file", file, name);
  return body;
}

export const models = async () => (await request("v1/models")).json();
export const ready = async () => (await fetch("readyz")).json();
export const process = async (file, name, signal) =>
  (await request("process_audio", { method: "POST", body: form(file, name), signal })).json();
export const predict = async (file, name, signal) =>
  (await request("v1/predict", { method: "POST", body: form(file, name), signal })).json();
export const image = async (file, name, start, signal) =>
  (await request(`v1/image?start=${start}`, { method: "POST", body: form(file, name), signal })).blob();

export function stream(rate) {
  const address = new URL(`v1/stream?rate=${rate}&image=1`, location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  address.hash = "";
  const protocols = token() ? ["ser-edge", `token.${token()}`] : ["ser-edge"];
  const socket = new WebSocket(address, protocols);
  socket.binaryType = "arraybuffer";
  return socket;
}
