/** Where one writes: a draft for each conversation, kept in the browser, so that nothing typed is lost. */

import { $, composes } from "./dom.js";
import { draft, keepDraft } from "./keep.js";
import { bytes, line } from "./shown.js";

/** The limits of the protocol, in bytes. */
const SUBJECT = 256;
const BODY = 64 * 1024;
/** From so much of a limit on, what is left of it is told. */
const NEARLY = 0.9;

export class Composer {
  #name = "";
  #timer = 0;
  #fresh = false; // what is here is newer than what is kept
  #was = null; // what was taken back to be edited, as it was

  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.app = app;
    this.body = $("body");
    this.subject = $("subject");
    // On a touch screen the key makes a new line, as people know it there; the button sends.
    const touch = matchMedia("(hover: none) and (pointer: coarse)");
    this.body.onkeydown = (event) => {
      if (event.key !== "Enter" || event.shiftKey || composes(event) || touch.matches) return;
      event.preventDefault();
      this.#send();
    };
    this.subject.onkeydown = (event) => {
      if (event.key !== "Enter" || composes(event)) return;
      event.preventDefault();
      this.body.focus();
    };
    this.body.oninput = this.subject.oninput = () => this.#changed();
    $("composer").onsubmit = (event) => {
      event.preventDefault();
      this.#send();
    };
    $("subject-toggle").onclick = () => {
      const shows = this.subject.hidden;
      if (!shows) this.subject.value = "";
      this.#showSubject(shows);
      (shows ? this.subject : this.body).focus();
      this.#changed();
    };
    addEventListener("pagehide", () => this.#keep());
  }

  /** Write to somebody: go on with what was being written. */
  open(name) {
    this.#keep();
    this.#name = name;
    const { subject, body, was = null } = draft(this.app.mailbox.me, name);
    this.#fill(subject, body);
    this.#was = was;
    this.body.placeholder = name ? `Message to ${line(name)}` : "Message";
  }

  /** Stop writing. */
  close() {
    this.#keep();
    this.#name = "";
  }

  focus() {
    this.body.focus({ preventScroll: true });
  }

  /** Put a text that came back, or was not sent yet, before whoever wrote it; what was there stays above it. */
  edit(message) {
    if (!message) return;
    const { ref, subject = null, body } = message;
    this.#was = ref && message.at ? { ref, subject, body } : null;
    const before = this.body.value.trim() ? `${this.body.value.trimEnd()}\n\n` : "";
    this.#fill(this.subject.value || message.subject, before + (message.body ?? ""));
    this.#changed();
    this.#keep(); // at once: it is kept nowhere else any more
    this.focus();
  }

  #fill(subject, body) {
    this.subject.value = subject ?? "";
    this.body.value = body;
    this.#showSubject(Boolean(subject));
    this.#wrong();
    this.#grow();
  }

  #showSubject(shows) {
    this.subject.hidden = !shows;
    const toggle = $("subject-toggle");
    toggle.setAttribute("aria-expanded", shows);
    toggle.title = shows ? "Without a subject" : "Add a subject";
  }

  #changed() {
    this.#grow();
    this.#wrong();
    this.#fresh = true;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#keep(), 300);
  }

  #keep() {
    clearTimeout(this.#timer);
    if (!this.#name || !this.#fresh) return; // another tab may have kept something since
    this.#fresh = false;
    const what = { subject: this.subject.value || null, body: this.body.value, was: this.#was ?? undefined };
    keepDraft(this.app.mailbox.me, this.#name, what);
  }

  #grow() {
    const { style } = this.body;
    style.height = "auto";
    style.height = `${this.body.scrollHeight}px`;
  }

  /** Tell of limits before they are met, and whether one is. @returns {boolean} */
  #wrong() {
    let text = "";
    let over = false;
    for (const [field, limit, what] of [
      [this.subject, SUBJECT, "The subject"],
      [this.body, BODY, "The message"],
    ]) {
      if (field.value.length * 3 < limit * NEARLY) continue; // no character has more bytes than that
      const size = bytes(field.value);
      if (size > limit) {
        text = `${what} is ${(size - limit).toLocaleString()} bytes too long: at most ${limit.toLocaleString()} can be sent at once.`;
        over = true;
      } else if (size > limit * NEARLY && !text) text = `${(limit - size).toLocaleString()} bytes are left.`;
    }
    $("composer-wrong").textContent = text;
    $("send").setAttribute("aria-disabled", over);
    return over;
  }

  #send() {
    const body = this.body.value;
    const subject = this.subject.value.trim() || null;
    if (!this.#name || this.#wrong() || !(body.trim() || subject)) return this.focus();
    const was = this.#was;
    const same = was && was.subject === subject && was.body === body;
    const lasts = this.app.outbox.add(this.#name, subject, body, same ? was.ref : undefined);
    if (!lasts && !this.app.session)
      this.app.toast("This browser cannot keep it: leave the page open until it is sent.");
    this.#fill(null, "");
    this.#was = null;
    this.#fresh = true;
    this.#keep();
    this.app.talk.toNewest();
    this.focus();
    return undefined;
  }
}
