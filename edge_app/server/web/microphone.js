// The microphone -> signed 16-bit samples and levels, without a codec.

const REASONS = {
  NotAllowedError: "The browser was not allowed to use the microphone. Allow it in the address bar, then try again.",
  NotFoundError: "No microphone was found.",
  NotReadableError: "The microphone is in use by another program.",
};

export class Microphone {
  // onAudio(Int16Array, loudest 0..1), onLost() when the device is disconnected
  constructor(onAudio, onLost) {
    this.onAudio = onAudio;
    this.onLost = onLost;
  }

  async open(device = "") {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Error("Browsers allow the microphone only for https pages and for this machine itself. Open this page as "
        + "http://localhost, through an ssh tunnel, or serve it with a certificate.");
    }
    const wanted = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    if (device) wanted.deviceId = { exact: device };
    try {
      this.media = await navigator.mediaDevices.getUserMedia({ audio: wanted });
    } catch (error) {
      throw new Error(REASONS[error.name] ?? `The microphone cannot be used: ${error.message}`);
    }
    this.context = new AudioContext();
    await this.context.audioWorklet.addModule(new URL("pcm-worklet.js", import.meta.url));
    await this.context.resume();
    this.node = new AudioWorkletNode(this.context, "pcm", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    this.node.port.onmessage = ({ data }) => this.take(data);
    this.context.createMediaStreamSource(this.media).connect(this.node);
    this.media.getAudioTracks()[0].addEventListener("ended", () => this.onLost());
    return this.context.sampleRate;
  }

  take(samples) {
    const pcm = new Int16Array(samples.length);
    let loudest = 0;
    for (let i = 0; i < samples.length; i++) {
      const value = Math.max(-1, Math.min(1, samples[i]));
      pcm[i] = Math.max(-32768, Math.min(32767, Math.round(value * 32768)));
      loudest = Math.max(loudest, Math.abs(value));
    }
    this.onAudio(pcm, loudest);
  }

  async close() {
    if (this.node) this.node.port.onmessage = null;
    for (const track of this.media?.getTracks() ?? []) track.stop();
    if (this.context && this.context.state !== "closed") await this.context.close();
  }

  get device() {
    return this.media?.getAudioTracks()[0]?.getSettings().deviceId ?? "";
  }
}

export async function microphones() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices.filter(({ kind, deviceId }) => kind === "audioinput" && deviceId);
}

export function wav(pieces, rate) {
  const samples = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const file = new DataView(new ArrayBuffer(44 + 2 * samples));
  const text = (at, word) => [...word].forEach((letter, i) => file.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF");
  file.setUint32(4, 36 + 2 * samples, true);
  text(8, "WAVEfmt ");
  file.setUint32(16, 16, true);
  file.setUint16(20, 1, true);
  file.setUint16(22, 1, true);
  file.setUint32(24, rate, true);
  file.setUint32(28, 2 * rate, true);
  file.setUint16(32, 2, true);
  file.setUint16(34, 16, true);
  text(36, "data");
  file.setUint32(40, 2 * samples, true);
  let at = 44;
  for (const piece of pieces) for (const sample of piece) { file.setInt16(at, sample, true); at += 2; }
  return new Blob([file.buffer], { type: "audio/wav" });
}

// The recent loudness as strokes that move to the left.
export class Voice {
  constructor(canvas) {
    this.canvas = canvas;
    this.levels = [];
    this.draw();
  }

  add(level) {
    this.levels.push(level);
    if (this.levels.length > 200) this.levels.shift();
    this.draw();
  }

  clear() {
    this.levels = [];
    this.draw();
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width) return;
    const ratio = devicePixelRatio || 1;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    const context = this.canvas.getContext("2d");
    context.scale(ratio, ratio);
    const colour = getComputedStyle(this.canvas).color;
    const count = Math.floor(width / 6);
    for (let i = 0; i < count; i++) {
      const level = this.levels[this.levels.length - count + i] ?? 0;
      const tall = Math.max(3, Math.sqrt(level) * height);
      context.globalAlpha = level ? 0.25 + 0.75 * (i / count) : 0.14;
      context.fillStyle = colour;
      context.beginPath();
      context.roundRect(i * 6 + 1, (height - tall) / 2, 3, tall, 1.5);
      context.fill();
    }
  }
}
