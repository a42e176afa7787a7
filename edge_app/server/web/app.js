// The page: events and display.

import * as api from "./api.js";
import { Bars } from "./bars.js";
import { Chart } from "./chart.js";
import { Mel, isDark } from "./mel.js";
import { Microphone, Voice, microphones, wav } from "./microphone.js";
import { Annotations } from "./annotations.js";
import { Table } from "./table.js";
import { clock, percent, runnersUp, seconds, size, span, verdict } from "./text.js";

const $ = (id) => document.getElementById(id);
const SHOWN_SECONDS = innerWidth < 600 ? 30 : 60; // of a live chart
const WAITING_SECONDS = 5; // of audio that may wait for the network
const TABS = ["file", "record", "live"];

const bars = new Bars($("bars"), $("threshold-note"));
const chart = new Chart($("chart"), $("readout"), $("legend"));
const mel = new Mel($("mel"), $("hz"), $("secs"));
const table = new Table($("rows"), $("table-title"));
const annotations = new Annotations($("annotations"), ...["transcription", "interpretation"].map(
  (name) => ({ column: $(name), text: $(`${name}-text`), note: $(`${name}-note`) })));
const voices = { record: new Voice($("record-voice")), live: new Voice($("live-voice")) };

let model = null;
let limits = null;
let pending = null; // AbortController of the request for a file
let current = null; // the shown file and its name

// ------------------------------------------------------------------------------ helpers

const announce = (text) => { $("say").textContent = text; };

function fail(message) {
  $("alert-text").textContent = message.charAt(0).toUpperCase() + message.slice(1);
  $("alert").hidden = false;
}

function clearFailure() {
  $("alert").hidden = true;
  $("alert-text").textContent = "";
}

function setState(state, text) {
  $("state").dataset.state = state;
  $("state-text").textContent = text;
}

function headline(emotion, source, because) {
  $("result").dataset.emotion = emotion;
  $("source").textContent = source;
  $("source").title = source;
  $("word").textContent = emotion === "none" ? "\u00a0" : emotion === "silence" ? "Silence" : emotion;
  $("because").textContent = because;
}

function bringIntoView(element) {
  const { top } = element.getBoundingClientRect();
  if (top > innerHeight * 0.6) {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    element.scrollIntoView({ behavior: still ? "auto" : "smooth", block: "start" });
  }
}

function clearResult(source, because) {
  headline("none", source, because);
  bars.clear();
  annotations.clear();
  for (const id of ["mel-card", "time-card", "table-card"]) $(id).hidden = true;
}

// ------------------------------------------------------------------------------ the model

async function connectServer() {
  try {
    const found = await api.models();
    [model] = found.models;
    limits = found.limits;
    annotations.setServer(found.words);
    if (found.words?.interpretation === "llm") {
      $("language-model").textContent = " Scores and transcriptions of files are sent to a configured language model.";
    }
    $("sign-in").hidden = true;
    $("stage").hidden = false;
    $("version").textContent = `ser-edge ${found.version}`;
    describeModel();
    setState("ready", `${model.name} on ${model.device}`);
  } catch (error) {
    setState("gone", error.status === 401 ? "locked" : "not reachable");
    if (error.status === 401) {
      $("sign-in").hidden = false;
      $("stage").hidden = true;
      $("token").focus();
    } else {
      fail(error.message);
    }
  }
}

function describeModel() {
  bars.setLabels(model.labels, model.labels.length === 8 ? model.threshold : 0);
  chart.setLabels(model.labels);
  mel.setSpec(model.image);
  const numbers = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
  $("many").textContent = numbers[model.labels.length] ?? String(model.labels.length);
  const names = limits.suffixes.filter((suffix) => suffix !== ".png").map((suffix) => suffix.slice(1).toUpperCase());
  const shown = names.length > 8 ? "Any common sound file" : [...new Set(names)].filter((name) => name !== "OGA").join(", ");
  $("formats").textContent = `${shown}, or a mel image as PNG. Up to ${size(limits.upload_bytes)} and ${span(limits.sound_seconds)}.`;
  $("file").accept = [...limits.suffixes, "audio/*"].join(",");
  const corpora = model.corpora.map((name) => name.toUpperCase()).join(", ");
  $("about-model").textContent = `The model “${model.name}” was trained on actors who played emotions (${corpora}). It says what a voice `
    + "resembles. It does not know how a person feels.";
  const uar = model.metrics.uar_mean;
  if (typeof uar === "number") {
    $("about-figures").textContent = `It recognises ${percent(uar)} of the emotions of speakers it was not trained on (mean over emotions; chance: `
      + `${percent(1 / model.labels.length)}). Other languages, children, noise and telephones make it worse. If no score is high enough, the answer is “unknown”.`;
  }
  $("licence").textContent = `${model.licence || "under a licence that the model does not state"}`
    + (/\bNC\b/.test(model.licence) ? ": no commercial use" : "");
  const base = new URL(".", location.href).href;
  $("curl").textContent = `curl -F file=@clip.wav ${base}v1/predict\ncurl -F file=@clip.wav ${base}process_audio\n`
    + `curl --data-binary @clip.wav -H 'Content-Type: audio/wav' ${base}v1/predict`;
  const host = location.hostname;
  if (!["localhost", "127.0.0.1", "[::1]"].includes(host)) {
    $("where").textContent = `It runs on ${host}; nothing you send is kept.`;
  }
}

// ------------------------------------------------------------------------------ a file

function tooLarge(file) {
  return limits && file.size > limits.upload_bytes
    ? `${file.name ?? "It"} has ${size(file.size)}, allowed: up to ${size(limits.upload_bytes)}.` : null;
}

async function classify(file, name) {
  clearFailure();
  const problem = tooLarge(file);
  if (problem) { fail(problem); return; }
  if (live) await stopLive();
  pending?.abort();
  const mine = pending = new AbortController();
  document.body.classList.add("busy");
  $("result").setAttribute("aria-busy", "true");
  clearResult(name, "Listening …");
  try {
    const answer = await api.predict(file, name, mine.signal);
    current = { file, name };
    showAnswer(answer);
    if (annotations.wanted) annotate(file, name, mine.signal);
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error.status === 401) await connectServer();
    clearResult("No answer yet", "Scores appear here, one for each emotion.");
    fail(error.message);
  } finally {
    if (pending === mine) {
      document.body.classList.remove("busy");
      $("result").removeAttribute("aria-busy");
    }
  }
}

// Not awaited: the answer is shown with or without annotations.
async function annotate(file, name, signal) {
  annotations.wait();
  try {
    const answer = await api.process(file, name, signal);
    if (signal.aborted) return;
    annotations.show(answer);
    const texts = [answer.Transcription, answer["LLM Interpretation Source"] === "llm" && answer["LLM Interpretation"]];
    announce(texts.filter(Boolean).join(" "));
  } catch (error) {
    if (error.name !== "AbortError") annotations.failAll(error.message);
  }
}

function showAnswer(answer) {
  headline(answer.emotion, `${answer.file}, ${clock(answer.duration)}`, verdict(answer, model.threshold));
  bars.show(answer.scores);
  bringIntoView($("result"));
  announce(`${answer.file}: ${answer.emotion}. ${verdict(answer, model.threshold)}`);
  const windows = answer.windows;
  $("time-card").hidden = windows.length < 2;
  if (windows.length > 1) {
    const points = windows.map((part) => ({ at: middle(part), emotion: part.emotion, scores: part.scores }));
    points[0].left = 0;
    points.at(-1).right = answer.duration;
    chart.show(points, 0, answer.duration);
  }
  const isLong = windows.length > 1;
  table.reset(isLong ? "Segments" : "Answer", answer.file.replace(/\.[^.]*$/, "") || "answer");
  table.whole = answer;
  // Segments and windows differ in length: the window nearest to the segment's middle is shown.
  const choose = isLong ? (part) => showImage(nearest(windows, part)) : null;
  const parts = isLong ? answer.segments : windows;
  const rows = parts.map((part) => table.add(part, { choose }));
  $("table-card").hidden = false;
  const clearest = windows.reduce((best, part) => (part.confidence > best.confidence ? part : best));
  if (isLong) table.mark(rows[parts.indexOf(nearest(parts, clearest))]);
  showImage(clearest);
}

const middle = (part) => (part.start + part.end) / 2;

function nearest(parts, to) {
  return parts.reduce((best, part) => (Math.abs(middle(part) - middle(to)) < Math.abs(middle(best) - middle(to)) ? part : best));
}

async function showImage(part) {
  try {
    const { file, name } = current;
    const isImage = file.type === "image/png";
    const blob = isImage ? file : await api.image(file, name, part.start);
    $("mel-card").hidden = false;
    const { seconds: wide } = model.image;
    mel.setTimes([0, 1, 2, 3, 4, 5].map((i) => clock(part.start + (wide * i) / 5)));
    await mel.showBlob(blob);
    $("mel-caption").textContent = `${clock(part.start)} – ${clock(part.start + wide)}, pitch upwards, `
      + (isDark() ? "brighter is louder" : "darker is louder");
  } catch (error) {
    if (error.name !== "AbortError") fail(error.message);
  }
}

$("file").addEventListener("change", ({ target }) => {
  if (target.files[0]) classify(target.files[0], target.files[0].name);
  target.value = ""; // so that the same file can be chosen again
});

let inside = 0;
addEventListener("dragenter", (event) => {
  event.preventDefault();
  inside++;
  document.body.classList.add("over");
});
addEventListener("dragleave", () => {
  inside = Math.max(0, inside - 1);
  if (!inside) document.body.classList.remove("over");
});
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  inside = 0;
  document.body.classList.remove("over");
  const [file] = event.dataTransfer.files;
  select("file");
  if (file) classify(file, file.name);
  else fail("That is not a file. Drop a sound file, or a mel image as PNG.");
});

// ------------------------------------------------------------------------------ tabs

function select(name, focus = false) {
  for (const tab of TABS) {
    const chosen = tab === name;
    $(`tab-${tab}`).setAttribute("aria-selected", String(chosen));
    $(`tab-${tab}`).tabIndex = chosen ? 0 : -1;
    $(`panel-${tab}`).hidden = !chosen;
  }
  if (focus) $(`tab-${name}`).focus();
  voices[name]?.draw();
}

for (const [i, name] of TABS.entries()) {
  $(`tab-${name}`).addEventListener("click", () => select(name));
  $(`tab-${name}`).addEventListener("keydown", ({ key }) => {
    const to = { ArrowRight: i + 1, ArrowLeft: i + TABS.length - 1, Home: 0, End: TABS.length - 1 }[key];
    if (to !== undefined) select(TABS[to % TABS.length], true);
  });
}

// ------------------------------------------------------------------------------ record

let recording = null;

async function startRecording() {
  clearFailure();
  const longest = Math.min(limits?.sound_seconds ?? 60, 300);
  const mine = recording = { pieces: [], rate: 48_000 };
  mine.microphone = new Microphone((pcm, loudest) => {
    mine.pieces.push(pcm);
    voices.record.add(loudest);
    const length = mine.pieces.length * pcm.length / mine.rate;
    $("record-clock").textContent = `${seconds(length)} s`;
    if (length >= longest) stopRecording();
  }, () => stopRecording());
  voices.record.clear();
  $("recorded").hidden = true;
  try {
    mine.rate = await mine.microphone.open();
  } catch (error) {
    recording = null;
    fail(error.message);
    return;
  }
  $("record").setAttribute("aria-pressed", "true");
  $("record-label").textContent = "Stop";
  announce("Recording");
}

async function stopRecording() {
  if (!recording) return;
  const { microphone, pieces, rate } = recording;
  recording = null;
  $("record").setAttribute("aria-pressed", "false");
  $("record-label").textContent = "Record";
  await microphone.close();
  if (!pieces.length) { fail("The microphone recorded no sound."); return; }
  const file = wav(pieces, rate);
  URL.revokeObjectURL($("player").src);
  $("player").src = $("recording-save").href = URL.createObjectURL(file);
  $("recorded").hidden = false;
  await classify(file, "recording.wav");
}

$("record").addEventListener("click", () => (recording ? stopRecording() : startRecording()));

// ------------------------------------------------------------------------------ live

let live = null;

async function startLive(device = "") {
  clearFailure();
  pending?.abort();
  $("live").disabled = true;
  const mine = { points: [], waiting: [], socket: null, closed: false, state: null, rate: 0, image: null };
  mine.microphone = new Microphone(
    (pcm, loudest) => {
      voices.live.add(loudest);
      send(mine, pcm);
    },
    () => stopLive("The microphone was disconnected. Connect it and start again."),
  );
  try {
    mine.rate = await mine.microphone.open(device);
  } catch (error) {
    fail(error.message);
    $("live").disabled = false;
    return;
  }
  live = mine;
  mine.socket = api.stream(mine.rate);
  mine.socket.addEventListener("open", () => {
    for (const pcm of mine.waiting.splice(0)) mine.socket.send(pcm);
  });
  mine.socket.addEventListener("message", ({ data }) => take(mine, data));
  mine.socket.addEventListener("close", (event) => socketClosed(mine, event));
  $("live").disabled = false;
  $("live").setAttribute("aria-pressed", "true");
  $("live").textContent = "Stop";
  voices.live.clear();
  clearResult("Live", "Listening …");
  mel.clear();
  $("mel-card").hidden = $("time-card").hidden = $("table-card").hidden = false;
  $("mel-caption").textContent = `the last ${model.image.seconds} seconds, pitch upwards`;
  const { seconds: wide } = model.image;
  mel.setTimes([0, 1, 2, 3, 4, 5].map((i) => (i === 5 ? "now" : `−${+seconds(wide * (1 - i / 5))}\u202fs`)));
  table.reset("Segments", "live");
  chart.show([], 0, SHOWN_SECONDS);
  announce("Listening");
  await listMicrophones(mine);
}

function send(mine, pcm) {
  const { socket } = mine;
  if (!socket || socket.readyState === WebSocket.CONNECTING) {
    mine.waiting.push(pcm.buffer);
  } else if (socket.readyState === WebSocket.OPEN) {
    if (socket.bufferedAmount > WAITING_SECONDS * mine.rate * 2) {
      stopLive("The network is too slow for live sound.");
    } else {
      socket.send(pcm.buffer);
    }
  }
}

function take(mine, data) {
  if (data instanceof ArrayBuffer) {
    if ($("stage").hidden) return;
    const { frames, n_mels: rows, hop_length: hop, sample_rate: rate } = model.image;
    const grey = new Uint8Array(data);
    if (grey.length === frames * rows) mel.show(grey, Math.round((mine.hop * rate) / hop) || 0, mine.hop * 1000);
    return;
  }
  const event = JSON.parse(data);
  if (event.error) {
    mine.problem = event.error;
  } else if (event.kind === "window") {
    mine.hop = mine.points.length ? event.end - mine.points.at(-1).at : 0.5;
    mine.points.push({ at: event.end, emotion: event.emotion, scores: event.scores });
    while (mine.points.length > 2 && mine.points[1].at < event.end - SHOWN_SECONDS) mine.points.shift();
    const to = Math.max(SHOWN_SECONDS, event.end);
    chart.show(mine.points, to - SHOWN_SECONDS, to);
    if (event.emotion !== "silence") bars.show(event.scores);
    showLive(mine, event);
  } else if (event.kind === "change") {
    mine.state = event;
    announce(event.emotion === "silence" ? "Nobody speaks" : event.emotion);
    showLive(mine, event);
  } else if (event.kind === "segment") {
    const { start, end, emotion, confidence, scores } = event;
    table.add({ start, end, emotion, confidence, scores }, { newestFirst: true });
  }
}

function showLive(mine, event) {
  const state = mine.state;
  const source = `Live, ${clock(event.end)}`;
  if (!state) { headline("none", source, "Listening …"); return; }
  const because = state.emotion === "silence"
    ? "Nobody speaks."
    : `Since ${clock(state.start)}. In the last ${seconds(event.end - event.start)}\u202fs: ${runnersUp(event.scores, 0, 3)}.`;
  headline(state.emotion, source, because);
}

async function socketClosed(mine, event) {
  mine.closed = true;
  if (live !== mine) return;
  let reason = mine.problem ?? event.reason;
  if (!reason) {
    try {
      const { streams, error } = await api.ready();
      reason = error ?? (streams.open >= streams.most ? `All ${streams.most} live streams are in use.` : "");
    } catch { reason = "The server does not answer. Is edge-app serve still running?"; }
  }
  await stopLive(reason || "The connection was closed.");
}

async function stopLive(problem = "") {
  const mine = live;
  if (!mine) return;
  live = null;
  $("live").setAttribute("aria-pressed", "false");
  $("live").textContent = "Start listening";
  $("device-row").hidden = true;
  if (problem) fail(problem);
  else announce("Stopped");
  await mine.microphone.close();
  const { socket } = mine;
  if (socket?.readyState === WebSocket.OPEN) {
    socket.send("end"); // the server sends the open segment, then closes
    setTimeout(() => socket.close(), 3000);
  } else {
    socket?.close();
  }
}

async function listMicrophones(mine) {
  const found = await microphones();
  if (live !== mine) return;
  $("device-row").hidden = found.length < 2;
  $("device").replaceChildren(...found.map(({ deviceId, label }, i) => {
    const option = new Option(label || `Microphone ${i + 1}`, deviceId);
    option.selected = deviceId === mine.microphone.device;
    return option;
  }));
}

$("live").addEventListener("click", () => (live ? stopLive() : startLive()));
$("device").addEventListener("change", async ({ target }) => {
  const { value } = target;
  await stopLive();
  await startLive(value);
});

// ------------------------------------------------------------------------------ the rest

for (const button of document.querySelectorAll("[data-save]")) {
  button.addEventListener("click", () => table.save(button.dataset.save));
}

function labelTheme() {
  $("theme").textContent = isDark() ? "Light" : "Dark";
  $("theme").setAttribute("aria-label", isDark() ? "Light colours" : "Dark colours");
  $("theme").removeAttribute("aria-pressed");
  if (model) mel.repaint();
  for (const voice of Object.values(voices)) voice.draw();
}
$("theme").addEventListener("click", () => {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  try { localStorage.setItem("theme", theme); } catch { /* no storage: for this visit only */ }
  labelTheme();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", labelTheme);

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  api.rememberToken($("token").value.trim());
  connectServer();
});

setInterval(async () => {
  if (document.hidden || !model) return;
  try {
    const { ready, error } = await api.ready();
    setState(ready ? "ready" : "gone", ready ? `${model.name} on ${model.device}` : error);
  } catch {
    setState("gone", "not reachable");
  }
}, 15_000);

if (matchMedia("(hover: none)").matches) { // a phone, without drag and drop
  $("drop-title").textContent = "Choose a recording";
  $("drop-sub").textContent = "from this device";
}
api.takeTokenFromAddress();
labelTheme();
await connectServer();
document.documentElement.dataset.loaded = "yes";
