// Segments or windows as a table, and as files.

import { clock, percent, runnersUp } from "./text.js";

const SHOWN = 500; // rows at most; downloads contain all

export class Table {
  constructor(body, title) {
    this.body = body;
    this.title = title;
    this.rows = [];
  }

  reset(title, name) {
    this.title.textContent = title;
    this.name = name;
    this.rows = [];
    this.whole = null;
    this.body.replaceChildren();
  }

  // `choose` makes the time a button.
  add(part, { newestFirst = false, choose = null } = {}) {
    this.rows.push(part);
    const row = document.createElement("tr");
    const time = document.createElement("td");
    const times = `${clock(part.start)} – ${clock(part.end)}`;
    if (choose) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "plain";
      button.textContent = times;
      button.title = "Show its mel image";
      button.addEventListener("click", () => {
        this.mark(row);
        choose(part);
      });
      time.append(button);
    } else {
      time.textContent = times;
    }
    const emotion = document.createElement("td");
    const tag = document.createElement("span");
    tag.className = "tag";
    tag.dataset.emotion = part.emotion;
    tag.textContent = part.emotion;
    emotion.append(tag);
    const score = document.createElement("td");
    score.textContent = part.emotion === "silence" ? "" : percent(part.confidence);
    const next = document.createElement("td");
    next.className = "next";
    next.textContent = part.emotion === "silence" ? "" : runnersUp(part.scores, part.emotion === "unknown" ? 0 : 1);
    row.append(time, emotion, score, next);
    if (newestFirst) this.body.prepend(row);
    else this.body.append(row);
    if (this.body.rows.length > SHOWN) (newestFirst ? this.body.lastChild : this.body.firstChild).remove();
    return row;
  }

  mark(row) {
    for (const other of this.body.rows) other.removeAttribute("aria-current");
    row.setAttribute("aria-current", "true");
  }

  save(format) {
    const makers = { csv: () => this.csv(), audacity: () => this.audacity(), json: () => this.json() };
    const endings = { csv: ["csv", "text/csv"], audacity: ["txt", "text/plain"], json: ["json", "application/json"] };
    const [ending, type] = endings[format];
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([makers[format]()], { type }));
    link.download = `${this.name}.${ending}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  csv() {
    const labels = Object.keys(this.rows[0]?.scores ?? {});
    const lines = this.rows.map((part) =>
      [part.start, part.end, part.emotion, part.confidence, ...labels.map((label) => part.scores[label])].join(","));
    return [["start", "end", "emotion", "confidence", ...labels].join(","), ...lines, ""].join("\n");
  }

  audacity() {
    return this.rows.map((part) => `${part.start.toFixed(6)}\t${part.end.toFixed(6)}\t${part.emotion}\n`).join("");
  }

  json() {
    return `${JSON.stringify(this.whole ?? this.rows, null, 2)}\n`;
  }
}
