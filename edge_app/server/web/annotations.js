// Transcription and interpretation of a file, which arrive after the answer or not at all.

import { clock } from "./text.js";

export class Annotations {
  // `transcription` and `interpretation`: each { column, text, note }, with the note below the text.
  constructor(card, transcription, interpretation) {
    this.card = card;
    this.transcription = transcription;
    this.interpretation = interpretation;
    this.has = { transcription: false, interpretation: false };
  }

  // What the server offers; a sentence made from the scores would only repeat them.
  setServer(services) {
    this.has = { transcription: Boolean(services?.transcription), interpretation: services?.interpretation === "llm" };
    this.transcription.column.hidden = !this.has.transcription;
    this.interpretation.column.hidden = !this.has.interpretation;
    this.card.classList.toggle("both", this.has.transcription && this.has.interpretation);
  }

  get wanted() {
    return this.has.transcription || this.has.interpretation;
  }

  clear() {
    this.card.hidden = true;
  }

  wait() {
    this.card.hidden = false;
    this.card.setAttribute("aria-busy", "true");
    for (const { text, note } of [this.transcription, this.interpretation]) {
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
    if (parts === null) this.fail(this.transcription, answer["Transcription Reason"]);
    else if (!parts.length) this.fail(this.transcription, "nobody speaks");
    else this.transcription.text.replaceChildren(...parts.map((part) => this.line(part, parts.length > 1)));
    if (answer["LLM Interpretation"] === null) {
      this.fail(this.interpretation, answer["LLM Interpretation Reason"]);
    } else {
      this.interpretation.text.replaceChildren(...answer["LLM Interpretation"].split(/\n+/).map((text) => {
        const line = document.createElement("p");
        line.textContent = text;
        return line;
      }));
      this.interpretation.note.textContent = "Written by a language model from scores and transcription, without the audio. It may be wrong.";
    }
    if (parts?.length) this.transcription.note.textContent = "Automatic transcription; it contains errors.";
  }

  // The request failed.
  failAll(message) {
    this.card.removeAttribute("aria-busy");
    for (const field of [this.transcription, this.interpretation]) this.fail(field, message);
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
    const content = document.createElement("span");
    content.textContent = text;
    line.append(content);
    return line;
  }

  fail({ text, note }, reason) {
    text.replaceChildren();
    note.textContent = reason.charAt(0).toUpperCase() + reason.slice(1) + (/[.!?]$/.test(reason) ? "" : ".");
  }
}
