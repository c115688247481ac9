/** Ties the parts together: who is logged in, what is shown, and what has changed. */

// First, for it knocks at the server.
import { Link } from "./link.js";

import { Composer } from "./composer.js";
import { Door, showCodes } from "./door.js";
import { $, composes, soon } from "./dom.js";
import * as keep from "./keep.js";
import { Gone } from "./line.js";
import { Loader } from "./loader.js";
import { Mailbox } from "./mailbox.js";
import { announce, mark, tell, toast } from "./news.js";
import { Outbox } from "./outbox.js";
import { People, whereTo } from "./people.js";
import { dress, Settings } from "./settings.js";
import { colour, initials, line, tidy } from "./shown.js";
import { Talk } from "./talk.js";
import { count, exact } from "./words.js";

/** A connection that is back so soon, in milliseconds, was hardly gone. */
const HARDLY = 700;

/** What the address says: a view, and what goes with it. */
function place() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const [view = ""] = asked.keys();
  return { view, to: asked.get("to") ?? "", at: Number(asked.get("at")) || 0, invite: asked.get("invite") };
}

export class App {
  #channel = keep.channel();
  #downSince = 0;
  #stopped = new AbortController();
  #shown = "";
  #news = []; // what has come and was not told of

  constructor() {
    this.mailbox = null;
    this.session = null;
    this.link = null;
    this.announce = announce;
    this.toast = toast;
    this.changed = soon(() => this.draw());
    this.door = new Door((entered) => this.#entered(entered));
    this.people = new People(this);
    this.talk = new Talk(this);
    this.composer = new Composer(this);
    this.settings = new Settings(this);
    $("status-retry").onclick = () => this.link?.retry();
    $("new-to").onsubmit = (event) => {
      event.preventDefault();
      const name = tidy($("new-name").value);
      if (name) location.hash = whereTo(name);
    };
    addEventListener("hashchange", () => this.route());
    addEventListener("focus", () => this.look());
    document.addEventListener("visibilitychange", () => this.#back());
    document.addEventListener("keydown", (event) => this.#key(event));
    document.addEventListener("pointerover", ({ target }) => {
      const time = target.closest("time"); // what it says in full takes long to make for all of them
      if (time && !time.title) time.title = exact(Date.parse(time.dateTime));
    });
    setInterval(() => this.#drawStatus(), 500);
    setInterval(() => this.mailbox && this.changed(), 60000); // "Today" does not last
    if (this.#channel) this.#channel.onmessage = ({ data }) => this.#heard(data);
  }

  start() {
    const login = keep.login();
    if (login?.token) {
      this.#begin(login);
      this.link.connect();
    } else this.route();
  }

  // --- coming and going ---

  #entered({ line: wire, welcome, stay, password, codes }) {
    const login = { name: welcome.username, stay };
    if (place().view !== "to") history.replaceState(null, "", "#");
    this.#begin(login, password);
    this.link.adopt(wire, welcome);
    if (codes?.length) showCodes(codes, welcome.username);
  }

  #begin(login, password) {
    const me = login.name;
    this.mailbox = new Mailbox(me);
    this.loader = new Loader(this.mailbox, this.changed, () => this.draw());
    this.outbox = new Outbox(me, {
      changed: this.changed,
      accepted: (entry, accepted) => this.#accepted(entry, accepted),
    });
    this.link = new Link(login, password, {
      up: (session) => this.#up(session),
      down: () => this.#down(),
      out: (error) => this.#out(error),
      messages: (messages) => this.#arrived(messages),
      settled: () => this.#tellNews(),
      delivered: ({ ids, time }) => {
        this.mailbox.delivered(ids, time);
        this.changed();
      },
    });
    this.#stopped = new AbortController();
    this.#news = [];
    const seen = () => {
      this.mailbox.seenElsewhere();
      this.look();
      this.changed();
    };
    keep.onSeen(me, seen, this.#stopped.signal);
    this.people.reset();
    $("self-name").textContent = line(me);
    $("self-avatar").textContent = initials(me);
    $("self-avatar").className = `avatar ${colour(me)}`;
    $("door").hidden = true;
    $("app").hidden = false;
    this.#shown = "";
    this.route();
  }

  /** Leave the account, in all tabs: what was kept for it here is forgotten. */
  leave(notice) {
    if (!this.mailbox) return; // another tab was faster
    const { me } = this.mailbox;
    this.tell({ left: true });
    this.#leave(me, notice);
  }

  #leave(me, notice) {
    this.#stop();
    keep.leave(me);
    this.door.show("log-in", { notice, name: "" });
  }

  /** The account is deleted. */
  erased() {
    const { me } = this.mailbox;
    this.#stop();
    keep.erase(me);
    this.door.show("log-in", { notice: `The account ${line(me)} is deleted.`, name: "" });
  }

  /** Logged out, but not by choice: what is not sent yet stays, for when the same person is back. */
  #out(error) {
    const { me } = this.mailbox;
    const unsent = keep.outgoing(me).length;
    this.#stop();
    const gone = error.code === "account-gone";
    const kept = unsent && !gone ? ` ${count(unsent, "message")} not sent yet: kept here until you are back.` : "";
    const text = gone
      ? `The account ${line(me)} does not exist any more.`
      : `Log in again, please: this login has ended.${kept}`;
    if (gone) keep.erase(me);
    this.door.show("log-in", { notice: text, name: gone ? "" : me });
  }

  #stop() {
    this.composer.close();
    this.talk.close();
    this.link.stop();
    this.outbox.close();
    this.#stopped.abort();
    this.loader.stop();
    keep.forgetLogin(this.mailbox.me);
    this.session = this.link = this.mailbox = null;
    $("app").hidden = true;
    $("door").hidden = false;
    for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
    history.replaceState(null, "", "#log-in");
    mark(0, "");
  }

  // --- the connection ---

  async #up(session) {
    this.session = session;
    if (this.#downSince && Date.now() - this.#downSince > HARDLY) announce("Connected again.");
    this.#downSince = 0;
    this.#drawStatus();
    this.outbox.start(session);
    try {
      await this.loader.start(session);
    } catch (error) {
      if (!(error instanceof Gone)) toast("The list of conversations could not be loaded.");
    }
    this.look();
  }

  #down() {
    if (this.session) {
      this.session = null;
      this.outbox.stop();
      this.loader.stop();
    }
    this.#downSince ||= Date.now();
    this.#drawStatus();
  }

  #drawStatus() {
    const { link, outbox } = this;
    if (!link) return;
    let text = "";
    let retry = false;
    if (!link.up) {
      const left = Math.max(0, Math.ceil((link.until - Date.now()) / 1000));
      const first = !this.loader.ready;
      if (Date.now() - this.#downSince > HARDLY || link.until) {
        text = first ? "The server cannot be reached." : "No connection: what you write is kept and sent later.";
        text += link.until && left ? ` Next attempt in ${left} s.` : " Connecting…";
        retry = link.until > 0;
      }
    } else if (outbox.pause) {
      const left = Math.max(1, Math.ceil((outbox.pause.until - Date.now()) / 1000));
      text = `${line(outbox.pause.reason)} What you wrote is kept, and sent in ${left} s.`;
    }
    // Spoken when it changes, not with every second.
    $("status").setAttribute("aria-live", $("status").hidden === !text ? "off" : "polite");
    $("status").hidden = !text;
    $("status-text").textContent = text;
    $("status-retry").hidden = !retry;
    document.body.classList.toggle("down", !link.up);
  }

  // --- messages ---

  #arrived(messages) {
    for (const said of messages) {
      if (!this.mailbox.arrive(said)) continue;
      const message = this.mailbox.messages.get(said.id);
      if (!message.mine || message.returned) this.#news.push(message);
    }
    if (!this.loader.ready) return; // it is drawn at once then
    this.look();
    this.changed();
    if (this.session?.settled) this.#tellNews();
  }

  /** Tell of what has come; all that had waited is told of together. */
  #tellNews() {
    const news = this.#news;
    this.#news = [];
    tell(news, ({ peer }) => (location.hash = whereTo(peer)));
  }

  #accepted(entry, { id, time, state }) {
    const said = {
      id,
      time,
      state,
      sender: this.mailbox.me,
      recipient: entry.peer,
      subject: entry.subject ?? undefined,
      body: entry.body,
    };
    this.mailbox.take(said).ref = entry.ref;
    this.tell({ sent: said, ref: entry.ref });
    this.changed();
  }

  /** Tell the other tabs of this account. */
  tell(news) {
    this.#channel?.postMessage({ me: this.mailbox.me, ...news });
  }

  #heard({ me, sent, ref, removed, recalls, left }) {
    if (me !== this.mailbox?.me) return;
    if (left) {
      this.#leave(me, "You were logged out in another window.");
      return;
    }
    if (sent) {
      this.mailbox.take(sent).ref = ref;
      this.outbox.sent(ref);
    }
    const message = this.mailbox.messages.get(removed);
    if (message && recalls) message.state = "recalled";
    else if (message) this.mailbox.remove(removed);
    this.changed();
  }

  /** Somebody is back at this window: show what was done elsewhere meanwhile. */
  async #back() {
    this.look();
    if (document.hidden || !this.session || !this.loader.ready) return;
    try {
      await this.loader.refresh();
    } catch {
      // The next time, then.
    }
  }

  /** Somebody looks: what is on the screen is seen. */
  look() {
    if (!this.mailbox || document.hidden || !document.hasFocus()) return;
    if (this.talk.name && this.mailbox.see(this.talk.name, this.talk.lastSeen)) this.changed();
  }

  // --- what is shown ---

  /** Show what the address says, though it has not changed. */
  again() {
    this.#shown = "again";
    this.route();
  }

  route() {
    const { view, to, at, invite } = place();
    if (!this.mailbox) {
      const which = ["sign-up", "forgotten"].includes(view) ? view : "log-in";
      $("door").hidden = false;
      if (invite !== null) this.door.show("sign-up", { invite });
      else this.door.show(which);
      return;
    }
    if (invite !== null) {
      history.replaceState(null, "", "#");
      toast("You have an account here already. To use the invitation, log out first.");
    }
    const name = view === "to" ? to : "";
    const settings = view === "settings";
    const deleting = view === "delete-account";
    const fresh = view === "new";
    document.body.dataset.view = name || fresh ? "talk" : settings || deleting ? "settings" : "list";
    $("nothing").hidden = Boolean(name || settings || deleting || fresh);
    $("talk").hidden = !(name || fresh);
    $("talk").classList.toggle("fresh", fresh);
    $("new-to").hidden = !fresh;
    $("composer").hidden = !name;
    $("settings").hidden = !settings;
    $("delete-account").hidden = !deleting;
    const shown = `${view} ${name} ${at}`;
    if (shown === this.#shown) return;
    const first = !this.#shown;
    const left = this.people.current;
    this.people.current = name;
    this.#shown = shown;
    this.composer.close();
    if (name) {
      this.talk.open(name, at);
      this.composer.open(name);
      // A keyboard that pops up on a touch screen would hide what was opened to be read.
      if (!matchMedia("(hover: none)").matches) this.composer.focus();
    } else this.talk.close();
    if (fresh) {
      $("talk-name").textContent = "New message";
      $("talk-empty").hidden = true;
      $("new-name").value = "";
      this.people.suggest();
      $("new-name").focus();
    }
    if (settings || deleting) {
      this.settings.open();
      if (!first) $(settings ? "settings-title" : "delete-title").focus();
    }
    this.look();
    this.draw();
    // Where somebody comes back to the list from what is not shown any more.
    if (left && !name && !document.activeElement?.checkVisibility()) this.people.focus(left);
  }

  draw() {
    if (!this.mailbox) return;
    this.talk.draw(); // first, for it asks for texts, which come while the rest is drawn
    this.people.draw();
    const some = this.mailbox.people.size > 0;
    $("nothing").classList.toggle("unknown", !this.loader.ready);
    $("nothing-title").textContent = some ? "Nobody chosen" : `Welcome, ${line(this.mailbox.me)}`;
    $("nothing-text").textContent = some
      ? "Choose a conversation, or write to somebody by name."
      : "Write to somebody by name. What you send waits on the server until they come, and comes back if it cannot be delivered.";
    mark(this.mailbox.unread, this.talk.name);
  }

  #key(event) {
    if (!this.mailbox || composes(event) || document.querySelector("dialog[open]")) return;
    const typing = event.target.closest("input, textarea");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
      document.body.dataset.view = "list";
      $("query").focus();
      event.preventDefault();
    } else if (event.key === "Escape") {
      if (typing && typing.id === "body") $("messages-scroll").focus();
      else if (!this.people.clear() && location.hash.length > 1)
        location.hash = place().view === "delete-account" ? "settings" : "";
    } else if (event.altKey && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      const names = this.people.listed();
      const next = names[names.indexOf(this.people.current) + (event.key === "ArrowDown" ? 1 : -1)];
      if (next) location.hash = whereTo(next);
      event.preventDefault();
    }
  }
}

dress();
new App().start();
