// Emotion over time: scores as stacked areas, without areas where nobody speaks.

import { clock, percent, runnersUp } from "./text.js";

const NS = "http://www.w3.org/2000/svg";
const STEPS = [0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200];
const AXIS = 26, STRIP = 12, GAP = 8;

const make = (name, attributes) => {
  const element = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};

const tickText = (at, step) => (at < 60 ? `${at.toFixed(step < 1 ? 1 : 0)}\u202fs` : clock(at));

export class Chart {
  constructor(svg, readout, legend) {
    this.svg = svg;
    this.readout = readout;
    this.legend = legend;
    this.points = [];
    this.from = 0;
    this.to = 1;
    new ResizeObserver(() => this.draw()).observe(svg);
    svg.addEventListener("pointermove", (event) => this.moveCursor(event));
    svg.addEventListener("pointerleave", () => this.clearCursor());
  }

  setLabels(labels) {
    this.labels = labels;
    this.legend.replaceChildren(
      ...labels.map((label) => {
        const item = document.createElement("li");
        item.dataset.emotion = label;
        item.textContent = label;
        return item;
      }),
    );
  }

  // points: [{at, emotion, scores}], `at` in seconds, in order.
  show(points, from, to) {
    [this.points, this.from, this.to] = [points, from, to];
    this.draw();
  }

  draw() {
    const width = this.svg.clientWidth, height = this.svg.clientHeight;
    if (!width || !this.labels) return;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const tall = height - AXIS - STRIP - GAP;
    this.x = (at) => (width * (at - this.from)) / (this.to - this.from);
    const parts = [];
    if (this.points.length) {
      // The first and last point extend to the edges of their windows.
      const first = this.points[0], last = this.points.at(-1);
      const points = [{ ...first, at: first.left ?? first.at }, ...this.points, { ...last, at: last.right ?? last.at }];
      const low = points.map(() => tall);
      for (const label of this.labels) {
        const high = points.map((point, i) => {
          const share = point.emotion === "silence" ? 0 : (point.scores[label] ?? 0);
          return Math.max(0, low[i] - share * tall);
        });
        const area = make("path", { class: "area", d: this.between(points, low, high) });
        area.dataset.emotion = label;
        parts.push(area);
        low.splice(0, low.length, ...high);
      }
      for (const [i, point] of this.points.entries()) {
        const left = i ? (this.points[i - 1].at + point.at) / 2 : (point.left ?? point.at);
        const right = i + 1 < this.points.length ? (this.points[i + 1].at + point.at) / 2 : (point.right ?? point.at);
        const strip = make("rect", {
          class: "strip", x: this.x(left), y: tall + GAP, width: Math.max(0, this.x(right) - this.x(left) + 0.5), height: STRIP,
        });
        strip.dataset.emotion = point.emotion;
        parts.push(strip);
      }
    }
    const long = this.to - this.from;
    const step = STEPS.find((each) => long / each <= width / 90) ?? long;
    for (let at = Math.ceil(this.from / step) * step; at <= this.to + 1e-6; at += step) {
      const x = this.x(at);
      const anchor = x < 20 ? "start" : x > width - 20 ? "end" : "middle";
      const text = make("text", { x, y: height - 4, "text-anchor": anchor });
      text.textContent = tickText(at, step);
      parts.push(text);
    }
    this.cursor = make("line", { class: "cursor", y1: 0, y2: tall + GAP + STRIP, visibility: "hidden" });
    this.svg.replaceChildren(...parts, this.cursor);
    this.svg.setAttribute("aria-label", this.summary());
  }

  between(points, low, high) {
    const xs = points.map((point) => this.x(point.at).toFixed(1));
    const curve = (ys, order) => order.slice(1).map((i, n) => {
      const previous = order[n];
      const middle = ((+xs[previous] + +xs[i]) / 2).toFixed(1);
      return `C${middle},${ys[previous].toFixed(1)} ${middle},${ys[i].toFixed(1)} ${xs[i]},${ys[i].toFixed(1)}`;
    }).join("");
    const forward = points.map((_, i) => i), back = [...forward].reverse();
    return `M${xs[0]},${high[0].toFixed(1)}${curve(high, forward)}L${xs.at(-1)},${low.at(-1).toFixed(1)}${curve(low, back)}Z`;
  }

  moveCursor(event) {
    if (!this.points.length) return;
    const box = this.svg.getBoundingClientRect();
    const at = this.from + ((event.clientX - box.left) / box.width) * (this.to - this.from);
    const nearest = this.points.reduce((a, b) => (Math.abs(b.at - at) < Math.abs(a.at - at) ? b : a));
    this.cursor.setAttribute("x1", this.x(nearest.at));
    this.cursor.setAttribute("x2", this.x(nearest.at));
    this.cursor.setAttribute("visibility", "visible");
    this.readout.textContent = nearest.emotion === "silence"
      ? `${clock(nearest.at)}: nobody speaks`
      : `${clock(nearest.at)}: ${nearest.emotion} (${runnersUp(nearest.scores, 0, 3)})`;
  }

  clearCursor() {
    this.cursor?.setAttribute("visibility", "hidden");
    this.readout.textContent = "";
  }

  summary() {
    if (!this.points.length) return "Scores over time: nothing yet";
    const counts = {};
    for (const { emotion } of this.points) counts[emotion] = (counts[emotion] ?? 0) + 1;
    const shares = Object.entries(counts).sort((a, b) => b[1] - a[1]).slice(0, 4)
      .map(([emotion, count]) => `${emotion} ${percent(count / this.points.length)} of the time`);
    return `Scores over time, ${clock(this.from)} to ${clock(this.to)}: ${shares.join(", ")}`;
  }
}
