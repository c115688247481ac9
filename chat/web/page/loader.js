/** Asks the server for what the page wants to show and does not know yet; a little ahead, never all of it. */

import { Gone } from "./line.js";

/** So many entries are asked for at first, and so many at a time behind them, in each box. */
const FIRST = 60;
const PAGE = 500;
/** So many entries of each box are looked through for the list of conversations, unless more are asked for. */
const LOOKED_THROUGH = 2000;
/** So many messages of a conversation are asked for at a time. */
const STRETCH = 60;
/** So many bodies are read at a time. */
const BODIES = 40;
/** So many of the newest messages of so many conversations are read ahead. */
const AHEAD = 12;
const TALKS_AHEAD = 8;

export class Loader {
  #wanted = new Set();
  #reading = null;
  #loading = new Map();
  #texts = false; // some have come: the first are waited for
  #looked = false; // through the latest entries, for conversations
  #floors = { inbox: Infinity, sent: Infinity };

  /**
   * @param {import("./mailbox.js").Mailbox} mailbox
   * @param {() => void} changed called when there is something new to show
   * @param {() => void} first called when the newest messages, and the first texts, are known
   */
  constructor(mailbox, changed, first) {
    this.mailbox = mailbox;
    this.changed = changed;
    this.first = first;
    this.session = null;
    /** Whether there are older conversations than those looked through. */
    this.more = false;
    /** Whether the newest messages are known. */
    this.ready = false;
    /** Whose conversation is open: it is asked for first. */
    this.open = "";
  }

  /** Connected: find out what is new. */
  start(session) {
    this.session = session;
    this.#reading = null;
    this.#wanted.clear();
    this.#loading.clear();
    return this.refresh();
  }

  /** Find out what is new: what was delivered or sent elsewhere, with another device, is not told of. */
  async refresh() {
    const { session } = this;
    const before = this.mailbox.top;
    if (!this.ready && this.open) this.#load(this.open, STRETCH).catch(() => {}); // asked for again when it is drawn
    const again = this.ready;
    const [inbox, sent] = await Promise.all([this.#page("inbox", 0, FIRST), this.#page("sent", 0, FIRST)]);
    if (session !== this.session) return;
    const floor = Math.max(inbox.floor, sent.floor);
    if (!this.ready || floor > before) {
      this.#floors = { inbox: inbox.floor, sent: sent.floor };
      this.#looked = false;
      if (this.ready) this.mailbox.doubt();
      this.mailbox.floor = floor;
    }
    if (!session.waiting) this.mailbox.beginHere();
    this.ready = true;
    this.first(); // and asks for what it wants to show, which comes before the rest
    await this.#reading;
    await Promise.allSettled(this.#loading.values());
    session.settle();
    if (session !== this.session) return;
    if (this.#looked) {
      await this.#lookAgain(inbox.floor, sent.floor);
      return;
    }
    this.#looked = true;
    try {
      await this.lookThrough(LOOKED_THROUGH);
    } catch (error) {
      this.#looked = false; // but for the next time
      throw error;
    }
    if (again) await this.#lookAgain(this.#floors.inbox, this.#floors.sent);
    this.#ahead();
  }

  /**
   * Look again below these ids: in the inbox down to the oldest message that is known, for it may have been
   * deleted with another device, and in what was sent down to the oldest of which the fate was not known.
   */
  async #lookAgain(inbox, sent) {
    const { session, mailbox } = this;
    for (const [box, from, to] of [
      ["inbox", inbox, mailbox.oldest("inbox")],
      ["sent", sent, mailbox.oldestWaiting],
    ])
      for (let floor = from; floor > to && session === this.session;)
        floor = (await this.#page(box, floor, PAGE)).floor;
    this.changed();
  }

  /** Read what is likely to be opened: it is there at once then, also without a connection. */
  #ahead() {
    const { people, messages } = this.mailbox;
    const last = ({ ids }) => ids[ids.length - 1];
    const latest = [...people.values()].sort((one, other) => last(other) - last(one)).slice(0, TALKS_AHEAD);
    this.want(latest.reverse().flatMap(({ ids }) => ids.slice(-AHEAD).map((id) => messages.get(id))));
  }

  stop() {
    this.session = null;
    this.#reading = null;
  }

  async #page(box, before, limit) {
    const known = this.mailbox.listed(box); // before it is asked: what comes meanwhile is not in the answer
    const { messages, more } = await this.session.ask({ keyword: "list", box, before, limit });
    for (const entry of messages) {
      this.mailbox.take(entry);
      known.delete(entry.id);
    }
    const floor = more && messages.length ? messages[messages.length - 1].id : 0;
    for (const id of known) if (id >= floor && (!before || id < before)) this.mailbox.remove(id);
    return { floor, count: messages.length };
  }

  /** Look through so many more entries of each box for conversations. */
  async lookThrough(entries) {
    const { session } = this;
    if (!session) throw new Gone();
    for (const box of ["inbox", "sent"]) {
      for (let left = entries; left > 0 && this.#floors[box] && session === this.session;) {
        const { floor, count } = await this.#page(box, this.#floors[box], Math.min(PAGE, left));
        this.#floors[box] = floor;
        left -= count || left;
      }
    }
    if (session !== this.session) return;
    this.mailbox.floor = Math.min(this.mailbox.floor, Math.max(this.#floors.inbox, this.#floors.sent));
    this.more = this.mailbox.floor > 0;
    this.changed();
  }

  /** Whether there may be older messages with somebody. */
  hasOlder(name) {
    return this.ready && this.mailbox.floorOf(name) > 0;
  }

  /**
   * Load older messages with somebody; resolves when they are there.
   * @returns {Promise<boolean|undefined>} true: there may be more that the server cannot find yet
   */
  older(name, count = STRETCH) {
    if (!this.session || !this.hasOlder(name)) return Promise.resolve();
    return this.#load(name, count);
  }

  #load(name, count) {
    let loading = this.#loading.get(name);
    if (!loading) {
      loading = this.#older(name, count).finally(() => this.#loading.delete(name));
      this.#loading.set(name, loading);
    }
    return loading;
  }

  async #older(name, count) {
    const floor = this.mailbox.floorOf(name);
    const before = Number.isFinite(floor) ? floor : 0;
    const query = `with:"${name.replaceAll('"', '""')}"`;
    const found = await this.session.ask({ keyword: "search", query, before, limit: count });
    for (const entry of found.messages) this.mailbox.take(entry);
    const last = found.messages.at(-1)?.id;
    this.mailbox.knows(name, found.incomplete ? (last ?? floor) : (found.more && last) || 0);
    (this.ready ? this.changed : this.first)();
    return Boolean(found.incomplete);
  }

  /** Ask what became of a message that was sent. */
  async fate(id) {
    await this.#page("sent", id + 1, 1);
  }

  /** Whether older messages with somebody are on their way. */
  loading(name) {
    return this.#loading.has(name);
  }

  /** Whether bodies are on their way. */
  get reading() {
    return this.#reading !== null;
  }

  /** Read the bodies of these, if they are not there. @param {import("./mailbox.js").Message[]} messages */
  want(messages) {
    for (const message of messages) if (message.body === undefined) this.#wanted.add(message.id);
    if (this.#wanted.size && this.session) this.#reading ??= this.#read(this.session);
  }

  async #read(session) {
    try {
      while (this.#wanted.size && session === this.session) {
        // Last come, first read: it is what somebody looks at now.
        const ids = [...this.#wanted].slice(-BODIES);
        const { messages, missing } = await session.ask({ keyword: "read", ids });
        for (const id of ids) this.#wanted.delete(id);
        for (const message of messages) this.mailbox.take(message);
        for (const id of missing) this.mailbox.gone(id);
        (this.#texts ? this.changed : this.first)();
        this.#texts = true;
      }
    } catch (error) {
      if (!(error instanceof Gone)) throw error;
    } finally {
      if (session === this.session) this.#reading = null;
    }
  }
}
