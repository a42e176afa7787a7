// What is said in a file, and what it might mean: they come after the answer, or not at all.

import { clock } from "./words.js";

export class Spoken {
  // `said` and `meant`: each { column, text, note }, the note being the small print below.
  constructor(card, said, meant) {
    this.card = card;
    this.said = said;
    this.meant = meant;
    this.has = { said: false, meant: false };
  }

  // What the server can do; a sentence made from the scores alone repeats what stands above it.
  setServer(words) {
    this.has = { said: Boolean(words?.transcription), meant: words?.interpretation === "llm" };
    this.said.column.hidden = !this.has.said;
    this.meant.column.hidden = !this.has.meant;
    this.card.classList.toggle("both", this.has.said && this.has.meant);
  }

  get wanted() {
    return this.has.said || this.has.meant;
  }

  clear() {
    this.card.hidden = true;
  }

  wait() {
    this.card.hidden = false;
    this.card.setAttribute("aria-busy", "true");
    for (const { text, note } of [this.said, this.meant]) {
      text.replaceChildren(...[94, 88, 52].map((width) => {
        const line = document.createElement("span");
        line.className = "ghost";
        line.style.width = `${width}%`;
        return line;
      }));
      note.textContent = "";
    }
  }

  show(answer) {
    this.card.removeAttribute("aria-busy");
    const parts = answer["Transcription Parts"];
    if (parts === null) this.fail(this.said, answer["Transcription Reason"]);
    else if (!parts.length) this.fail(this.said, "nobody speaks");
    else this.said.text.replaceChildren(...parts.map((part) => this.line(part, parts.length > 1)));
    if (answer["LLM Interpretation"] === null) {
      this.fail(this.meant, answer["LLM Interpretation Reason"]);
    } else {
      this.meant.text.replaceChildren(...answer["LLM Interpretation"].split(/\n+/).map((words) => {
        const line = document.createElement("p");
        line.textContent = words;
        return line;
      }));
      this.meant.note.textContent = "By a language model, which was sent scores and words, not the sound. It may be wrong.";
    }
    if (parts?.length) this.said.note.textContent = "Written down by a program; it mishears.";
  }

  // Nothing came at all.
  failAll(message) {
    this.card.removeAttribute("aria-busy");
    for (const field of [this.said, this.meant]) this.fail(field, message);
  }

  line({ start, text }, withTime) {
    const line = document.createElement("p");
    if (withTime) {
      const time = document.createElement("span");
      time.className = "when";
      time.textContent = clock(start);
      line.className = "timed";
      line.append(time);
    }
    const words = document.createElement("span");
    words.textContent = text;
    line.append(words);
    return line;
  }

  fail({ text, note }, reason) {
    text.replaceChildren();
    note.textContent = reason.charAt(0).toUpperCase() + reason.slice(1) + (/[.!?]$/.test(reason) ? "" : ".");
  }
}
