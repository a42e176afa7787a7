// The microphone's samples, as they are, in pieces of about 40 ms.

class Pcm extends AudioWorkletProcessor {
  constructor() {
    super();
    this.piece = new Float32Array(2048);
    this.filled = 0;
  }

  process(inputs) {
    const channel = inputs[0][0];
    if (!channel) return true;
    for (let at = 0; at < channel.length;) {
      const room = Math.min(channel.length - at, this.piece.length - this.filled);
      this.piece.set(channel.subarray(at, at + room), this.filled);
      this.filled += room;
      at += room;
      if (this.filled === this.piece.length) {
        this.port.postMessage(this.piece);
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("pcm", Pcm);
