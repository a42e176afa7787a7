// Passes the microphone's samples on in blocks of about 40 ms.

class Pcm extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Float32Array(2048);
    this.filled = 0;
  }

  process(inputs) {
    const channel = inputs[0][0];
    if (!channel) return true;
    for (let at = 0; at < channel.length;) {
      const room = Math.min(channel.length - at, this.block.length - this.filled);
      this.block.set(channel.subarray(at, at + room), this.filled);
      this.filled += room;
      at += room;
      if (this.filled === this.block.length) {
        this.port.postMessage(this.block);
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("pcm", Pcm);
