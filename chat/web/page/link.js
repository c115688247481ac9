/** Stays connected: connects again by itself, and tells how it stands. */

import { early } from "./early.js";
import { comeBack, logIn, Unknown } from "./entrance.js";
import * as keep from "./keep.js";
import { Refused } from "./line.js";
import { Session } from "./session.js";

/** The first wait before another attempt, and the longest, in milliseconds. */
const SOON = 500;
const LATE = 30000;
/** A connection that lasts less than this, in milliseconds, makes the next wait no shorter. */
const STEADY = 2000;
/** What ends a session that is not to come back by itself. */
const OVER = new Set(["account-gone", "logged-out-elsewhere"]);
/** Refusals of a login that pass by themselves. */
const PASSING = new Set(["slow-down", "too-many-connections", "shutting-down", "internal-error", "login-timeout"]);

export class Link {
  #login;
  #password;
  #session = null;
  #attempts = 0;
  #since = 0; // the connection
  #timer = 0;
  #ended = new AbortController();
  #trying = false;

  /**
   * @param {import("./keep.js").Login} login
   * @param {string} [password] for a server that gives no tokens; it is in memory only
   * @param {{up(session: Session): void, down(): void, out(error: Refused): void,
   *          messages(messages: object[]): void, delivered(frame: object): void, settled(): void}} on
   */
  constructor(login, password, on) {
    this.#login = login;
    this.#password = password;
    this.on = on;
    /** When the next attempt is made: 0 while one is being made. */
    this.until = 0;
    this.up = false;
    this.#listen();
  }

  #listen() {
    const { signal } = this.#ended;
    addEventListener("online", () => this.retry(), { signal });
    addEventListener("offline", () => this.#session?.line.check(), { signal });
    document.addEventListener("visibilitychange", () => document.hidden || this.retry(), { signal });
  }

  /** Go on with a line on which the login is done. */
  adopt(line, welcome) {
    this.#since = Date.now();
    this.until = 0;
    this.up = true;
    const session = new Session(line, welcome, {
      messages: (messages) => this.on.messages(messages),
      delivered: (frame) => this.on.delivered(frame),
      settled: () => this.on.settled(),
      lost: (lost) => this.#lost(lost),
    });
    this.#session = session;
    this.on.up(session);
    session.start();
    this.#renew(session);
  }

  /** Try now, or find out now whether the line is still good. */
  retry() {
    if (this.#session) this.#session.line.check();
    else if (!this.#trying) this.connect();
  }

  async connect() {
    clearTimeout(this.#timer);
    if (this.#ended.signal.aborted) return;
    this.until = 0;
    this.#trying = true;
    this.on.down();
    let come;
    try {
      const { name, token } = this.#latest();
      come = await (early() ?? (token ? comeBack(name, token) : logIn(name, this.#password)));
    } catch (error) {
      if (this.#ended.signal.aborted) return;
      const refused = error instanceof Refused ? !PASSING.has(error.code) : error instanceof Unknown;
      if (refused) this.#out(error);
      else this.#later(error.seconds);
      return;
    } finally {
      this.#trying = false;
    }
    if (this.#ended.signal.aborted) come.line.hangUp();
    else this.adopt(come.line, come.welcome);
  }

  /** The login, with the token that another tab may have got in place of this one's. */
  #latest() {
    const kept = keep.login();
    if (this.#login.token && kept?.token && kept.name === this.#login.name) this.#login = kept;
    return this.#login;
  }

  /** No more of this: logged out, or the account is gone. */
  stop() {
    this.#ended.abort();
    clearTimeout(this.#timer);
    const session = this.#session;
    this.#session = null;
    this.up = false;
    session?.line.hangUp();
  }

  #lost(session) {
    if (session !== this.#session) return;
    this.#session = null;
    this.up = false;
    if (Date.now() - this.#since > STEADY) this.#attempts = 0;
    const fatal = session.line.fatal;
    if (OVER.has(fatal?.code)) this.#out(new Refused(fatal));
    else this.#later();
  }

  #out(error) {
    this.stop();
    this.on.out(error);
  }

  #later(seconds = 0) {
    // Not all at the same moment, when a server comes back.
    const wait = Math.min(LATE, SOON * 2 ** this.#attempts++) * (0.6 + 0.4 * Math.random());
    this.until = Date.now() + Math.max(wait, seconds * 1000);
    this.#timer = setTimeout(() => this.connect(), this.until - Date.now());
    this.on.down();
  }

  /** Have a token, and another one in good time before it ends. */
  async #renew(session) {
    const login = this.#login;
    if (login.token && Date.now() < (login.renew ?? 0)) return;
    try {
      const { value, expires } = await session.ask({ keyword: "token" });
      if (this.#ended.signal.aborted) return;
      const renew = Date.now() + (Date.parse(expires) - Date.now()) / 2;
      this.#login = { ...login, name: session.me, token: value, renew };
      keep.keepLogin(this.#login);
    } catch {
      // A server without tokens, or the line is gone: the password does it, or the next login.
    }
  }

  /** The password was changed: the old token is revoked. */
  renewNow() {
    this.#login = { ...this.#login, token: undefined };
    return this.#session && this.#renew(this.#session);
  }

  set password(password) {
    this.#password = password;
  }
}
