// The scores as bars.

import { percent, ranked } from "./text.js";

export class Bars {
  constructor(list, note) {
    this.list = list;
    this.note = note;
    this.rows = new Map();
  }

  setLabels(labels, threshold) {
    this.list.replaceChildren();
    this.rows.clear();
    for (const label of labels) {
      const row = document.createElement("li");
      row.className = "bar";
      row.dataset.emotion = label;
      const name = document.createElement("span");
      name.className = "name";
      name.textContent = label;
      const track = document.createElement("span");
      track.className = "track";
      const fill = document.createElement("span");
      fill.className = "fill";
      track.append(fill);
      if (threshold > 0) {
        const tick = document.createElement("span");
        tick.className = "tick";
        tick.style.left = `${threshold * 100}%`;
        track.append(tick);
      }
      const value = document.createElement("span");
      value.className = "value";
      row.append(name, track, value);
      this.list.append(row);
      this.rows.set(label, { row, fill, value });
    }
    this.note.hidden = !(threshold > 0);
    this.note.textContent = `The mark at ${percent(threshold)}: below it the answer is “unknown”.`;
  }

  show(scores) {
    const top = ranked(scores)[0]?.[0];
    for (const [label, { row, fill, value }] of this.rows) {
      const score = scores[label] ?? 0;
      fill.style.width = `${score * 100}%`;
      value.textContent = percent(score);
      row.toggleAttribute("data-top", label === top && score > 1.02 / this.rows.size);
    }
  }

  clear() {
    for (const { row, fill, value } of this.rows.values()) {
      fill.style.width = "0";
      value.textContent = "";
      row.removeAttribute("data-top");
    }
  }
}
