/**
 * What is to be sent: kept in the browser until the server has accepted it, and sent with the same
 * `ref` however often that takes, so that it arrives once. One at a time, so that the order is kept.
 * All the tabs of an account have the same messages to send, and each sends them.
 */

import * as keep from "./keep.js";
import { Gone } from "./line.js";

/** The server had no room: try again after so many seconds. */
const NO_ROOM = 30;
/** What passes by itself. */
const PASSING = new Set(["slow-down", "storage-full", "internal-error"]);
/** So often the server may hang up, for something that is wrong, while a message is sent: then it is not sent again. */
const HUNG_UP = 3;
const WRONG = new Set(["internal-error", "malformed-frame", "frame-too-large"]);

/**
 * @typedef {object} Entry
 * @property {string} ref
 * @property {string} peer
 * @property {string|null} subject
 * @property {string} body
 * @property {number} at when it was written
 * @property {string} [refused] why the server does not take it
 * @property {boolean} [tried] whether it was sent, and nothing was heard of it: it may have arrived
 * @property {number} [failures] how often the server hung up while it was sent
 */

export class Outbox {
  #session = null;
  #sending = ""; // the ref of what is being sent
  #timer = 0;
  #closed = new AbortController();

  /**
   * @param {string} me
   * @param {{accepted(entry: Entry, frame: object): void, changed(): void}} on
   */
  constructor(me, on) {
    this.me = me;
    this.on = on;
    /** @type {Entry[]} */
    this.entries = [];
    this.#load();
    keep.onOutgoing(me, () => this.refresh(), this.#closed.signal);
    /** When it is tried again, and why it was not taken, if the server asked to wait. */
    this.pause = null;
  }

  /** Have what is kept, by this tab or another that may be closed by now. */
  #load() {
    const known = new Map(this.entries.map((entry) => [entry.ref, entry]));
    this.entries = keep
      .outgoing(this.me)
      .map((entry) => Object.assign(known.get(entry.ref) ?? {}, entry)) // one object each, for as long as it is here
      .sort((one, other) => one.at - other.at);
  }

  /** Another tab has kept something, sent it, or given it back to be edited. */
  refresh() {
    this.#load();
    this.on.changed();
    this.#go();
  }

  /** Another tab has sent this one, and says so; that it is not kept any more may be seen here only later. */
  sent(ref) {
    this.#forget(ref);
    this.refresh();
  }

  /**
   * Keep a message, and send it as soon as can be.
   * @param {string} [ref] of one that was taken back and is the same, so that it arrives once, whatever came of that
   * @returns {boolean} whether it is kept for longer than the page
   */
  add(peer, subject, body, ref = reference()) {
    const at = Math.max(Date.now(), (this.entries[this.entries.length - 1]?.at ?? 0) + 1);
    const entry = { ref, peer, subject, body, at };
    const lasts = keep.keepOutgoing(this.me, entry);
    this.entries.push(entry);
    this.on.changed();
    this.#go();
    return lasts;
  }

  /**
   * Give up on one.
   * @returns {Promise<Entry|string>} what was written, or why it cannot be had back
   */
  take(ref) {
    const late = "It is being sent just now, or was sent in another window just now.";
    if (ref === this.#sending) return Promise.resolve(late);
    return keep.alone(this.me, ref, false, (free) => {
      if (!free) return late;
      this.#load();
      const entry = this.entries.find((other) => other.ref === ref);
      if (entry) this.#forget(ref);
      this.on.changed();
      return entry ?? "This is not kept here any more: it was sent, or taken back, in another window.";
    });
  }

  /** How many are not sent, to somebody or to anybody. @returns {Entry[]} */
  to(peer) {
    return this.entries.filter((entry) => entry.peer === peer);
  }

  /** Whether one was sent, and may have arrived. */
  mayHaveArrived(ref) {
    return Boolean(this.entries.find((entry) => entry.ref === ref)?.tried);
  }

  /** What to say of one. */
  state(entry) {
    if (entry.refused) return "refused";
    return entry.ref === this.#sending ? "sending" : "kept";
  }

  /** Connected. */
  start(session) {
    this.#session = session;
    this.#sending = "";
    this.#resume();
  }

  /** Not connected any more. */
  stop() {
    this.#session = null;
    this.#sending = "";
    clearTimeout(this.#timer);
    this.on.changed();
  }

  /** Not logged in any more. */
  close() {
    this.stop();
    this.#closed.abort();
  }

  #resume() {
    clearTimeout(this.#timer);
    this.pause = null;
    this.#go();
  }

  async #go() {
    if (!this.#session || this.#sending || this.pause) return;
    const session = this.#session;
    this.#load();
    const entry = this.entries.find((other) => !other.refused);
    if (!entry) return;
    this.#sending = entry.ref;
    this.on.changed();
    await keep.alone(this.me, entry.ref, true, () => {
      // By then another tab may have sent it, and this one may be cut off or logged out.
      if (session === this.#session && keep.isOutgoing(this.me, entry.ref)) return this.#send(session, entry);
      return undefined;
    });
    if (session !== this.#session) return;
    this.#sending = "";
    this.on.changed();
    this.#go();
  }

  async #send(session, entry) {
    const { ref, peer: recipient, subject, body } = entry;
    entry.tried = true;
    keep.keepOutgoing(this.me, entry);
    try {
      const accepted = await session.send({
        recipient,
        ...(subject ? { subject } : {}),
        body,
        ref,
        receipt: true,
      });
      this.#forget(ref);
      this.on.accepted(entry, accepted);
    } catch (error) {
      if (error instanceof Gone) this.#suspect(entry, session.line.fatal);
      if (error instanceof Gone || session !== this.#session) return; // sent again, by that ref, when it is back
      entry.tried = false;
      if (PASSING.has(error.code)) this.#wait(error);
      else entry.refused = error.reason;
      keep.keepOutgoing(this.me, entry);
    }
  }

  /** The server has hung up: if it does so again and again, this message is the reason. */
  #suspect(entry, fatal) {
    if (!WRONG.has(fatal?.code)) return;
    entry.failures = (entry.failures ?? 0) + 1;
    if (entry.failures >= HUNG_UP) entry.refused = fatal.reason;
    keep.keepOutgoing(this.me, entry);
    this.on.changed();
  }

  #wait(error) {
    const seconds = error.seconds ?? NO_ROOM;
    this.pause = { until: Date.now() + seconds * 1000, reason: error.reason };
    this.#timer = setTimeout(() => this.#resume(), seconds * 1000 + 50);
  }

  #forget(ref) {
    keep.forgetOutgoing(this.me, ref);
    this.entries = this.entries.filter((other) => other.ref !== ref);
  }
}

/** What no other message of mine is called. */
function reference() {
  const random = crypto.getRandomValues(new Uint32Array(4));
  return `web-${Array.from(random, (number) => number.toString(36).padStart(7, "0")).join("")}`;
}
