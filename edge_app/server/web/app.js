// The page: what is clicked, and what is shown.

import * as api from "./api.js";
import { Bars } from "./bars.js";
import { Chart } from "./chart.js";
import { Mel, isDark } from "./mel.js";
import { Microphone, Voice, microphones, wav } from "./microphone.js";
import { Spoken } from "./spoken.js";
import { Table } from "./table.js";
import { clock, percent, runnersUp, seconds, size, span, verdict } from "./words.js";

const $ = (id) => document.getElementById(id);
const SHOWN_SECONDS = innerWidth < 600 ? 30 : 60; // of a live chart
const WAITING_SECONDS = 5; // of sound that may wait for the network
const TABS = ["file", "record", "live"];

const bars = new Bars($("bars"), $("threshold-note"));
const chart = new Chart($("chart"), $("readout"), $("legend"));
const mel = new Mel($("mel"), $("hz"), $("secs"));
const table = new Table($("rows"), $("table-title"));
const spoken = new Spoken($("spoken-card"), ...["said", "meant"].map(
  (name) => ({ column: $(name), text: $(`${name}-text`), note: $(`${name}-note`) })));
const voices = { record: new Voice($("record-voice")), live: new Voice($("live-voice")) };

let model = null;
let limits = null;
let asking = null; // AbortController of the file that is being heard
let asked = null; // that file and its name

// ------------------------------------------------------------------------------ small things

const say = (words) => { $("say").textContent = words; };

function fail(message) {
  $("alert-text").textContent = message.charAt(0).toUpperCase() + message.slice(1);
  $("alert").hidden = false;
}

function clearFailure() {
  $("alert").hidden = true;
  $("alert-text").textContent = "";
}

function setState(state, words) {
  $("state").dataset.state = state;
  $("state-text").textContent = words;
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
  spoken.clear();
  for (const id of ["mel-card", "time-card", "table-card"]) $(id).hidden = true;
}

// ------------------------------------------------------------------------------ the model

async function meetServer() {
  try {
    const found = await api.models();
    [model] = found.models;
    limits = found.limits;
    spoken.setServer(found.words);
    if (found.words?.interpretation === "llm") {
      $("words-go").textContent = " Scores and words of files go on to the language model that it is set to ask.";
    }
    $("gate").hidden = true;
    $("stage").hidden = false;
    $("version").textContent = `ser-edge ${found.version}`;
    describeModel();
    setState("ready", `${model.name} on ${model.device}`);
  } catch (error) {
    setState("gone", error.status === 401 ? "locked" : "not reachable");
    if (error.status === 401) {
      $("gate").hidden = false;
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
  $("about-model").textContent = `The model “${model.name}” learnt from actors who played emotions (${corpora}). It says what a voice `
    + "resembles. It does not know how anybody feels.";
  const uar = model.metrics.uar_mean;
  if (typeof uar === "number") {
    $("about-figures").textContent = `Of the emotions of voices it never heard it gets ${percent(uar)} right (mean over emotions; guessing: `
      + `${percent(1 / model.labels.length)}). Other languages, children, noise and telephones make it worse. Where no score is high enough it says “unknown”.`;
  }
  $("licence").textContent = `${model.licence || "under a licence that the model does not state"}`
    + (/\bNC\b/.test(model.licence) ? ": no commercial use" : "");
  const base = new URL(".", location.href).href;
  $("curl").textContent = `curl -F file=@clip.wav ${base}v1/predict\ncurl -F file=@clip.wav ${base}process_audio\n`
    + `curl --data-binary @clip.wav -H 'Content-Type: audio/wav' ${base}v1/predict`;
  const host = location.hostname;
  if (!["localhost", "127.0.0.1", "[::1]"].includes(host)) {
    $("where").textContent = `It runs on ${host}; what you send there is heard and forgotten.`;
  }
}

// ------------------------------------------------------------------------------ a file

function tooLarge(file) {
  return limits && file.size > limits.upload_bytes
    ? `${file.name ?? "It"} has ${size(file.size)}, allowed: up to ${size(limits.upload_bytes)}.` : null;
}

async function hear(file, name) {
  clearFailure();
  const problem = tooLarge(file);
  if (problem) { fail(problem); return; }
  if (live) await stopLive();
  asking?.abort();
  const mine = asking = new AbortController();
  document.body.classList.add("busy");
  $("result").setAttribute("aria-busy", "true");
  clearResult(name, "Listening …");
  try {
    const answer = await api.predict(file, name, mine.signal);
    asked = { file, name };
    showAnswer(answer);
    if (spoken.wanted) hearWords(file, name, mine.signal);
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error.status === 401) await meetServer();
    clearResult("Nothing heard yet", "Scores appear here, one for each emotion that the model knows.");
    fail(error.message);
  } finally {
    if (asking === mine) {
      document.body.classList.remove("busy");
      $("result").removeAttribute("aria-busy");
    }
  }
}

// Not awaited: the answer stands, whether words come or not.
async function hearWords(file, name, signal) {
  spoken.wait();
  try {
    const answer = await api.process(file, name, signal);
    if (signal.aborted) return;
    spoken.show(answer);
    const told = [answer.Transcription, answer["LLM Interpretation Source"] === "llm" && answer["LLM Interpretation"]];
    say(told.filter(Boolean).join(" "));
  } catch (error) {
    if (error.name !== "AbortError") spoken.failAll(error.message);
  }
}

function showAnswer(answer) {
  headline(answer.emotion, `${answer.file}, ${clock(answer.duration)}`, verdict(answer, model.threshold));
  bars.show(answer.scores);
  bringIntoView($("result"));
  say(`${answer.file}: ${answer.emotion}. ${verdict(answer, model.threshold)}`);
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
  // A segment may be longer than a window, or shorter: the window about its middle is shown.
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
    const { file, name } = asked;
    const isPicture = file.type === "image/png";
    const blob = isPicture ? file : await api.image(file, name, part.start);
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
  if (target.files[0]) hear(target.files[0], target.files[0].name);
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
  if (file) hear(file, file.name);
  else fail("That was no file. Drop a sound file, or a mel image as PNG.");
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
    const heard = mine.pieces.length * pcm.length / mine.rate;
    $("record-clock").textContent = `${seconds(heard)} s`;
    if (heard >= longest) stopRecording();
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
  $("record-label").textContent = "Stop and listen";
  say("Recording");
}

async function stopRecording() {
  if (!recording) return;
  const { microphone, pieces, rate } = recording;
  recording = null;
  $("record").setAttribute("aria-pressed", "false");
  $("record-label").textContent = "Record";
  await microphone.close();
  if (!pieces.length) { fail("The microphone gave no sound."); return; }
  const file = wav(pieces, rate);
  URL.revokeObjectURL($("player").src);
  $("player").src = $("recording-save").href = URL.createObjectURL(file);
  $("recorded").hidden = false;
  await hear(file, "recording.wav");
}

$("record").addEventListener("click", () => (recording ? stopRecording() : startRecording()));

// ------------------------------------------------------------------------------ live

let live = null;

async function startLive(device = "") {
  clearFailure();
  asking?.abort();
  $("live").disabled = true;
  const mine = { points: [], waiting: [], socket: null, closed: false, state: null, rate: 0, image: null };
  mine.microphone = new Microphone(
    (pcm, loudest) => {
      voices.live.add(loudest);
      send(mine, pcm);
    },
    () => stopLive("The microphone went away. Plug it in and start again."),
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
  mine.socket.addEventListener("close", (event) => lostSocket(mine, event));
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
  say("Listening");
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
    say(event.emotion === "silence" ? "Nobody speaks" : event.emotion);
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

async function lostSocket(mine, event) {
  mine.closed = true;
  if (live !== mine) return;
  let words = mine.problem ?? event.reason;
  if (!words) {
    try {
      const { streams, error } = await api.ready();
      words = error ?? (streams.open >= streams.most ? `All ${streams.most} places for live sound are taken.` : "");
    } catch { words = "The server does not answer. Is edge-app serve still running?"; }
  }
  await stopLive(words || "The connection was closed.");
}

async function stopLive(problem = "") {
  const mine = live;
  if (!mine) return;
  live = null;
  $("live").setAttribute("aria-pressed", "false");
  $("live").textContent = "Start listening";
  $("device-row").hidden = true;
  if (problem) fail(problem);
  else say("Stopped");
  await mine.microphone.close();
  const { socket } = mine;
  if (socket?.readyState === WebSocket.OPEN) {
    socket.send("end"); // the open segment comes back, then the server closes
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
  try { localStorage.setItem("theme", theme); } catch { /* forbidden: for this visit alone */ }
  labelTheme();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", labelTheme);

$("gate").addEventListener("submit", (event) => {
  event.preventDefault();
  api.rememberToken($("token").value.trim());
  meetServer();
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

if (matchMedia("(hover: none)").matches) { // a phone: there is nothing to drag from
  $("drop-title").textContent = "Choose a recording";
  $("drop-sub").textContent = "from this device";
}
api.takeTokenFromAddress();
labelTheme();
await meetServer();
document.documentElement.dataset.loaded = "yes";
