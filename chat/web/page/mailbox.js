/** What is known of the mailbox: its messages, by correspondent. Nothing here asks the server or draws. */

import * as keep from "./keep.js";
import { start } from "./shown.js";

/** So many characters of bodies are kept, and so many bodies in any case; the server has them all. */
const CHARACTERS = 2_000_000;
const BODIES = 400;
/** So much of each is kept, for the list of conversations. */
export const START = 200;

/**
 * @typedef {object} Message
 * @property {number} id
 * @property {string} peer who it is exchanged with
 * @property {boolean} mine whether I wrote it
 * @property {number} time
 * @property {string} [subject]
 * @property {string|null} [body] null: it is not kept any more; absent: to be read
 * @property {string} [start] how it begins, if it was read once
 * @property {string} state
 * @property {{code: string, recipient: string, note: string}} [returned]
 * @property {number} [deliveredAt]
 * @property {boolean} [arrived] whether it was delivered to this page
 */

/**
 * @typedef {object} Person
 * @property {string} name
 * @property {number[]} ids ascending
 * @property {number} unread
 */

export class Mailbox {
  #seen;
  #floors = new Map(); // everything from this id on is known, of what was exchanged with somebody
  #bodies = new Map();
  #characters = 0;

  constructor(me) {
    this.me = me;
    /** @type {Map<number, Message>} */
    this.messages = new Map();
    /** @type {Map<string, Person>} */
    this.people = new Map();
    /** Everything from this id on is known, of everybody. */
    this.floor = Infinity;
    this.#seen = keep.seen(me);
  }

  /** The person of this name; a stranger is not kept. @returns {Person} */
  person(name) {
    return this.people.get(name) ?? { name, ids: [], unread: 0 };
  }

  /** The id from which on everything is known that was exchanged with somebody, be it nothing. */
  floorOf(name) {
    return Math.min(this.#floors.get(name) ?? Infinity, this.floor);
  }

  /** Everything from this id on is known. */
  knows(name, floor) {
    this.#floors.set(name, floor);
  }

  /** The messages with somebody that are known without a gap up to the newest, oldest first. */
  talk(name) {
    const { ids } = this.person(name);
    const floor = this.floorOf(name);
    const from = ids.findIndex((id) => id >= floor);
    return from < 0 ? [] : ids.slice(from).map((id) => this.messages.get(id));
  }

  /** The newest message with somebody. @returns {Message|undefined} */
  newest(person) {
    return this.messages.get(person.ids[person.ids.length - 1]);
  }

  /** The highest id there is. */
  get top() {
    let top = 0;
    for (const { ids } of this.people.values()) top = Math.max(top, ids[ids.length - 1] ?? 0);
    return top;
  }

  /** What the server must list in a box, of what is known. @returns {Set<number>} */
  listed(box) {
    const ids = new Set();
    for (const { id, mine, returned } of this.messages.values())
      if ((mine && !returned) === (box === "sent")) ids.add(id);
    return ids;
  }

  /** The lowest id in a box, as far as is known. */
  oldest(box) {
    let oldest = Infinity;
    for (const id of this.listed(box)) oldest = Math.min(oldest, id);
    return oldest;
  }

  /** The lowest id of what was sent and waits, as far as is known. */
  get oldestWaiting() {
    let oldest = Infinity;
    for (const { id, mine, state } of this.messages.values())
      if (mine && state === "waiting") oldest = Math.min(oldest, id);
    return oldest;
  }

  /** How many messages are unread. */
  get unread() {
    let unread = 0;
    for (const person of this.people.values()) unread += person.unread;
    return unread;
  }

  /** Take in what the server says of a message. @returns {Message} */
  take(said) {
    const mine = said.sender === this.me;
    const peer = said.returned?.recipient ?? (mine ? said.recipient : said.sender);
    let message = this.messages.get(said.id);
    if (!message) {
      message = { id: said.id, peer, mine, time: Date.parse(said.time), state: "waiting" };
      this.messages.set(said.id, message);
      this.#file(message);
    }
    if (said.returned) {
      message.returned = said.returned;
      message.state = "returned";
    } else if (said.state && message.state === "waiting") message.state = said.state;
    if (said.subject !== undefined) message.subject = said.subject;
    if (said.body !== undefined) this.#keepBody(message, said.body);
    return message;
  }

  /** Take in what was delivered. @returns {boolean} whether it is news */
  arrive(said) {
    const known = this.messages.get(said.id)?.arrived;
    if (this.#seen.base === null) this.#begin(said.id - 1);
    const message = this.take(said);
    message.arrived = true;
    if (message.mine && !message.returned) message.state = "delivered"; // to myself
    if (known) return false;
    const person = this.people.get(message.peer);
    if (message.returned) {
      const back = this.#backFrom(message.peer);
      if (!back.includes(message.id)) {
        this.#seen.back.set(message.peer, [...back, message.id]);
        person.unread++;
        keep.keepSeen(this.me, this.#seen);
      }
    } else if (!message.counted && !message.mine && message.id > this.#seenOf(message.peer)) {
      message.counted = true; // listed before it was known from where on to count
      person.unread++;
    }
    return true;
  }

  /** These were delivered to their recipients. */
  delivered(ids, time) {
    for (const id of ids) {
      const message = this.messages.get(id);
      if (!message) continue;
      message.state = "delivered";
      message.deliveredAt = Date.parse(time);
    }
  }

  /** This one is not there any more. */
  remove(id) {
    const message = this.messages.get(id);
    if (!message) return;
    const person = this.people.get(message.peer);
    person.ids = person.ids.filter((other) => other !== id);
    this.messages.delete(id);
    this.#settle(
      message.peer,
      this.#backFrom(message.peer).filter((other) => other !== id),
    );
    this.#count(person);
    if (!person.ids.length) this.people.delete(message.peer);
  }

  /** The content of this one is not there any more. */
  gone(id) {
    const message = this.messages.get(id);
    if (!message) return;
    if (!message.mine || message.returned)
      this.remove(id); // removed by me, elsewhere
    else message.body = null;
  }

  /** From here on back nothing is known: something may have come and gone while nobody was connected. */
  doubt() {
    this.#floors.clear();
  }

  // --- what was seen ---

  /** What is there now was there before this browser: it counts as seen. */
  beginHere() {
    if (this.#seen.base === null) this.#begin(this.top);
  }

  #begin(base) {
    this.#seen.base = base;
    keep.keepSeen(this.me, this.#seen);
  }

  #seenOf(name) {
    return this.#seen.names.get(name) ?? this.#seen.base ?? Infinity;
  }

  /** The ids of what came back from somebody and was not looked at. */
  #backFrom(name) {
    return this.#seen.back.get(name) ?? [];
  }

  /** The id of the first message with somebody that was not seen, if there is one. */
  firstUnseen(name) {
    const back = this.#backFrom(name);
    const seen = this.#seenOf(name);
    const first = this.person(name).ids.find((id) => id > seen && !this.messages.get(id).mine);
    return Math.min(first ?? Infinity, ...back);
  }

  /** What was exchanged with this person was seen up to an id. @returns {boolean} whether that is news */
  see(name, upTo = Infinity) {
    const person = this.people.get(name);
    if (!person?.unread) return false;
    const back = this.#backFrom(name);
    const left = back.filter((id) => id > upTo);
    const last = person.ids.findLast((id) => id <= upTo) ?? 0;
    if (last <= this.#seenOf(name) && left.length === back.length) return false;
    this.#seen.names.set(name, Math.max(last, this.#seenOf(name)));
    this.#settle(name, left);
    keep.keepSeen(this.me, this.#seen);
    this.#count(person);
    return true;
  }

  /** Another tab has seen more. */
  seenElsewhere() {
    this.#seen = keep.seen(this.me);
    for (const person of this.people.values()) this.#count(person);
  }

  #settle(name, back) {
    if (back.length) this.#seen.back.set(name, back);
    else this.#seen.back.delete(name);
  }

  #count(person) {
    const seen = this.#seenOf(person.name);
    person.unread = this.#backFrom(person.name).length;
    for (let at = person.ids.length - 1; at >= 0 && person.ids[at] > seen; at--) {
      if (!this.messages.get(person.ids[at]).mine) person.unread++;
    }
  }

  #file(message) {
    let person = this.people.get(message.peer);
    if (!person) {
      person = {
        name: message.peer,
        ids: [],
        unread: this.#backFrom(message.peer).length,
      };
      this.people.set(message.peer, person);
    }
    const { ids } = person;
    let low = 0;
    let high = ids.length;
    if (!high || ids[high - 1] < message.id) low = high;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ids[middle] < message.id) low = middle + 1;
      else high = middle;
    }
    ids.splice(low, 0, message.id);
    if (!message.mine && message.id > this.#seenOf(message.peer)) {
      message.counted = true;
      person.unread++;
    }
  }

  #keepBody(message, body) {
    this.#characters += body.length - (this.#bodies.get(message.id)?.length ?? 0);
    this.#bodies.delete(message.id);
    this.#bodies.set(message.id, body);
    message.body = body;
    message.start = start(body, START);
    for (const [id, oldest] of this.#bodies) {
      if (this.#characters <= CHARACTERS || this.#bodies.size <= BODIES) break; // what is drawn is among them
      this.#bodies.delete(id);
      this.#characters -= oldest.length;
      const other = this.messages.get(id);
      if (other) delete other.body;
    }
  }
}
