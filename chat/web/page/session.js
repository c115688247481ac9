/** A logged-in conversation with the server: what is asked is answered in order, deliveries come between. */

import { Gone, Refused } from "./line.js";

/** At most so many ids in one frame. */
const IDS = 500;
/** What waits is confirmed after so many milliseconds at the latest: first, somebody wants to see something. */
const SOON = 1000;

export class Session {
  #waiting = [];
  #confirming = [];
  #patient = true;

  /**
   * @param {import("./line.js").Line} line
   * @param {{username: string, waiting: number}} welcome
   * @param {{messages(messages: object[]): void, delivered(frame: object): void, settled(): void,
   *          lost(session: Session): void}} on
   */
  constructor(line, welcome, on) {
    this.me = welcome.username;
    this.waiting = welcome.waiting;
    this.line = line;
    this.on = on;
    line.onlost = () => this.#lost();
    line.onsilence = () => this.ask({ keyword: "ping" }).catch(() => {});
  }

  /** Take what has come, and what will come. */
  start() {
    this.line.hand((frames) => this.#take(frames));
    setTimeout(() => this.settle(), SOON);
    if (this.line.dead) this.#lost();
  }

  /** Ask something; its answer. @throws {Refused|Gone} */
  ask(data) {
    return this.#say("system", data);
  }

  /** Send a message; its `accepted`. @throws {Refused|Gone} */
  send(data) {
    return this.#say("message", data);
  }

  #say(type, data) {
    if (this.line.dead) return Promise.reject(new Gone());
    this.line.say(type, data);
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  #take(frames) {
    const messages = [];
    for (const frame of frames) {
      if (frame.type === "message") messages.push(frame);
      else if (frame.keyword === "delivered") this.on.delivered(frame);
      else if (frame.keyword !== "username") this.#answered(frame); // a prompt: the login is over
    }
    if (messages.length) {
      this.on.messages(messages);
      this.#confirm(messages.map((message) => message.id));
    }
    if (this.#waiting.length) this.line.expect();
  }

  #answered(frame) {
    const asked = this.#waiting.shift();
    if (!asked) return;
    if (frame.keyword === "failed") asked.reject(new Refused(frame));
    else asked.resolve(frame);
  }

  /** The messages are here: those that arrive together are confirmed together. */
  #confirm(ids) {
    if (!this.#confirming.length && !this.#patient) setTimeout(() => this.#confirmAll());
    this.#confirming.push(...ids);
  }

  /** What was wanted first is there. */
  settle() {
    const before = this.settled;
    this.#patient = false;
    this.#confirmAll();
    if (!before && !this.line.dead) this.on.settled();
  }

  /** Whether what was wanted first is there. */
  get settled() {
    return !this.#patient;
  }

  #confirmAll() {
    while (this.#confirming.length && !this.line.dead) {
      this.line.tell({ keyword: "received", ids: this.#confirming.splice(0, IDS) });
    }
  }

  #lost() {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const asked of waiting) asked.reject(new Gone());
    this.on.lost(this);
  }
}
