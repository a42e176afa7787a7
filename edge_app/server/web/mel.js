// The mel image: grey levels -> colours of the theme, low pitch at the bottom.

const INK = {
  light: ["#fbf8f1", "#f9dcb4", "#ee9a6a", "#c44a63", "#6f2a72", "#1d1640"],
  dark: ["#15161b", "#2a2058", "#752a78", "#d2525a", "#f7a860", "#fff3cf"],
};
const MARKS = [100, 500, 1000, 2000, 4000, 7500];

export const isDark = () => {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};

function palette(stops) {
  const colours = stops.map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  return Array.from({ length: 256 }, (_, grey) => {
    const position = (grey / 255) * (colours.length - 1);
    const low = Math.min(Math.floor(position), colours.length - 2);
    return [0, 1, 2].map((c) => colours[low][c] + (colours[low + 1][c] - colours[low][c]) * (position - low));
  });
}

// Hz -> mel, as in ser_edge/mel/image.py.
const SCALES = {
  htk: (hz) => 2595 * Math.log10(1 + hz / 700),
  slaney: (hz) => (hz < 1000 ? (hz * 3) / 200 : 15 + (Math.log(hz / 1000) * 27) / Math.log(6.4)),
  linear: (hz) => hz,
};

export class Mel {
  constructor(canvas, hz, secs) {
    this.canvas = canvas;
    this.hz = hz;
    this.secs = secs;
    this.now = null;
    this.before = null;
    this.arrived = 0;
    this.frame = 0;
    new ResizeObserver(() => this.draw(1)).observe(canvas);
  }

  setSpec(spec) {
    this.spec = spec;
    const scale = SCALES[spec.mel_scale] ?? SCALES.htk;
    const [low, high] = [scale(spec.f_min), scale(spec.f_max)];
    this.hz.replaceChildren(
      ...MARKS.filter((mark) => mark > spec.f_min && mark < spec.f_max).map((mark) => {
        const label = document.createElement("span");
        label.textContent = mark < 1000 ? `${mark}` : `${mark / 1000}k`;
        label.style.bottom = `${(100 * (scale(mark) - low)) / (high - low)}%`;
        return label;
      }),
    );
  }

  setTimes(labels) {
    this.secs.replaceChildren(
      ...labels.map((text, at) => {
        const label = document.createElement("span");
        label.textContent = text;
        label.style.left = `${(100 * at) / (labels.length - 1)}%`;
        return label;
      }),
    );
  }

  async showBlob(blob) {
    const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    const context = canvas.getContext("2d");
    context.drawImage(bitmap, 0, 0);
    const pixels = context.getImageData(0, 0, bitmap.width, bitmap.height).data;
    const grey = new Uint8Array(bitmap.width * bitmap.height);
    for (let i = 0; i < grey.length; i++) grey[i] = pixels[4 * i];
    this.show(grey);
  }

  // The last `moved` columns are new: they slide in over `milliseconds`.
  show(grey, moved = 0, milliseconds = 0) {
    cancelAnimationFrame(this.frame);
    this.before = this.now;
    this.now = { grey, canvas: this.paint(grey), moved };
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (!moved || !this.before || still) {
      this.draw(1);
      return;
    }
    this.arrived = performance.now();
    const step = (time) => {
      const share = Math.min(1, Math.max(0, (time - this.arrived) / milliseconds));
      this.draw(share);
      if (share < 1) this.frame = requestAnimationFrame(step);
    };
    this.frame = requestAnimationFrame(step);
  }

  paint(grey) {
    const { n_mels: rows, frames: columns } = this.spec;
    const colours = palette(isDark() ? INK.dark : INK.light);
    const canvas = new OffscreenCanvas(columns, rows);
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(columns, rows);
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const [r, g, b] = colours[grey[row * columns + column]];
        const at = 4 * ((rows - 1 - row) * columns + column);
        pixels.data[at] = r;
        pixels.data[at + 1] = g;
        pixels.data[at + 2] = b;
        pixels.data[at + 3] = 255;
      }
    }
    context.putImageData(pixels, 0, 0);
    return canvas;
  }

  repaint() {
    for (const image of [this.now, this.before]) if (image) image.canvas = this.paint(image.grey);
    this.draw(1);
  }

  draw(share) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!this.now || !width) return;
    const ratio = devicePixelRatio || 1;
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== w || this.canvas.height !== h) [this.canvas.width, this.canvas.height] = [w, h];
    const context = this.canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    const column = w / this.spec.frames;
    const shift = (1 - share) * this.now.moved * column;
    if (shift > 0 && this.before) context.drawImage(this.before.canvas, shift - this.now.moved * column, 0, w, h);
    context.drawImage(this.now.canvas, shift, 0, w, h);
  }

  clear() {
    cancelAnimationFrame(this.frame);
    this.now = this.before = null;
    this.canvas.getContext("2d").clearRect(0, 0, this.canvas.width, this.canvas.height);
  }
}
