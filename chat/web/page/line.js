/** One WebSocket to the server: frames both ways, and the news that it is dead as soon as it can be known. */

/** Nothing was heard for so long, in milliseconds: ask whether anybody is there. */
const SILENCE = 20000;
/** Nothing was heard for so long although something is due: nobody is. */
const PATIENCE = 6000;
/** The same for a login, which takes a server with much to do its time. */
const LOGIN_PATIENCE = 30000;

/** The connection is gone; nothing is known about what was asked. */
export class Gone extends Error {}

/** The server has refused: its code, and a sentence for a person. */
export class Refused extends Error {
  constructor(frame) {
    super(frame.code);
    this.code = frame.code;
    this.reason = frame.reason;
    this.seconds = frame.seconds;
  }
}

/** Where the server's WebSocket is, seen from this page. */
export function address() {
  const url = new URL("socket", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.hash = url.search = "";
  return url.href;
}

export class Line {
  #socket;
  #frames = [];
  #next = null;
  #watch = 0;
  #heard = Date.now();
  #due = 0;
  #greeted = false;

  constructor() {
    /** Told of the frames that arrive together; until then they wait for `next`. */
    this.onframes = null;
    /** Told once, when the line is dead. */
    this.onlost = null;
    /** Called when nothing was heard for a while: say something that is answered. */
    this.onsilence = null;
    /** The last word of the server, if it has hung up with one. */
    this.fatal = null;
    this.dead = false;
    this.#socket = new WebSocket(address());
    this.#socket.onmessage = (event) => this.#take(event.data);
    this.#socket.onclose = () => this.hangUp();
    this.#watch = setInterval(() => this.#look(), 1000);
    this.#due = Date.now(); // the greeting
  }

  /** Say a frame. Half a character, as a field may hold it, cannot be said: a sign stands for it. */
  say(type, data) {
    if (this.dead) return;
    const whole = (_, value) => (typeof value === "string" ? value.toWellFormed() : value);
    this.#socket.send(JSON.stringify({ type, data }, whole) + "\n");
    this.#due ||= Date.now();
  }

  /** Say a frame that has no answer. */
  tell(data) {
    const due = this.#due;
    this.say("system", data);
    this.#due = due;
  }

  /** The next frame. @throws {Gone} */
  next() {
    if (this.#frames.length) return Promise.resolve(this.#frames.shift());
    if (this.dead) return Promise.reject(this.fatal ? new Refused(this.fatal) : new Gone());
    return new Promise((resolve, reject) => (this.#next = { resolve, reject }));
  }

  /** It is to be known now, not in a while, whether anybody is there. */
  check() {
    if (this.dead) return;
    this.#heard = Math.min(this.#heard, Date.now() - SILENCE);
    this.#look();
  }

  /** No more of this. */
  hangUp() {
    if (this.dead) return;
    this.dead = true;
    clearInterval(this.#watch);
    this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    this.#next?.reject(this.fatal ? new Refused(this.fatal) : new Gone());
    this.onlost?.();
  }

  #take(text) {
    this.#heard = Date.now();
    this.#due = 0;
    this.#greeted = true;
    const frames = [];
    for (const line of text.split("\n")) {
      if (!line.trim()) continue;
      const frame = JSON.parse(line);
      const said = { ...frame.data, type: frame.type };
      if (said.keyword === "fatal") this.fatal = said;
      else frames.push(said);
    }
    if (this.onframes) this.onframes(frames);
    else {
      this.#frames.push(...frames);
      if (this.#next && this.#frames.length) {
        const { resolve } = this.#next;
        this.#next = null;
        resolve(this.#frames.shift());
      }
    }
    if (this.fatal) this.hangUp();
  }

  /** From here on, frames go there; those that have come already, too. */
  hand(onframes) {
    this.onframes = onframes;
    const frames = this.#frames;
    this.#frames = [];
    if (frames.length) onframes(frames);
  }

  /** Something is still to be answered. */
  expect() {
    this.#due ||= Date.now();
  }

  #look() {
    const now = Date.now();
    const patience = this.onframes || !this.#greeted ? PATIENCE : LOGIN_PATIENCE;
    if (this.#due && now - Math.max(this.#due, this.#heard) > patience) this.hangUp();
    else if (now - this.#heard >= SILENCE && !this.#due) this.onsilence?.();
  }
}
