/** One conversation: a stretch of its messages, as much as is looked at. */

import { copy } from "./door.js";
import { $, afterwards, ask, el, icon, sync } from "./dom.js";
import { Gone } from "./line.js";
import { colour, initials, line, shown, start } from "./shown.js";
import { clock, count, day, dayOf, fate, late, sorry, why } from "./words.js";

/** So many messages are drawn at once when a conversation is opened, then more of them, more at a time, and at most. */
const FIRST = 12;
const FEW = 30;
const MORE = 40;
const MOST = 200;
/** So long is waited for the texts of what is opened before it is drawn without them, in milliseconds. */
const PATIENCE = 150;
/** So near to an end of what is drawn, in pixels, more is drawn. */
const NEAR = 400;
/** A text longer than this, in characters or lines, is folded. */
const LONG = 3000;
const LINES = 40;
/** Messages of one side within so many milliseconds stand close together. */
const CLOSE = 5 * 60 * 1000;

export class Talk {
  #to = null; // the id of the last one drawn; null: the newest
  #count = FEW;
  #stick = true; // at the end, and to stay there
  #first = Infinity; // the first unread one when it was opened
  #goal = 0; // the message to show
  #sought = 0; // it, until it was looked for
  #aimed = 0; // the one to bring into sight when it is drawn
  #marked = 0; // the one that was to be shown
  #unfolded = new Set();
  #patience = 0; // a timer while texts are waited for; below 0: they were waited for long enough
  #failed = ""; // why there are no older ones

  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.app = app;
    this.name = "";
    this.scroll = $("messages-scroll");
    this.list = $("messages");
    this.scroll.addEventListener("scroll", afterwards(() => this.#scrolled()), { passive: true });
    new ResizeObserver(() => this.#stick && this.#toEnd()).observe(this.scroll);
    $("to-newest").onclick = () => this.toNewest();
    $("talk-block").onclick = () => this.#block();
    this.list.onclick = (event) => this.#clicked(event);
    this.scroll.onkeydown = (event) => this.#key(event);
    this.list.addEventListener("focusin", ({ target }) => this.#reach(target.closest("li.message")));
  }

  /** Show the conversation with somebody, at the newest message, the first unread or a certain one. */
  open(name, at = 0) {
    const { mailbox } = this.app;
    this.name = this.app.loader.open = name;
    this.#to = null;
    this.#count = FIRST;
    this.#stick = true;
    this.#failed = "";
    this.#unfolded.clear();
    clearTimeout(this.#patience);
    this.#patience = 0;
    this.#first = mailbox.firstUnseen(name);
    this.#marked = this.#aimed = 0;
    this.#goal = at || (Number.isFinite(this.#first) ? this.#first : 0);
    this.#sought = at;
    this.list.replaceChildren();
    $("talk-name").textContent = line(name);
    $("talk-avatar").textContent = initials(name);
    $("talk-avatar").className = `avatar ${colour(name)}`;
    $("talk-block").hidden = name === mailbox.me;
    this.draw();
  }

  close() {
    this.name = "";
    this.list.replaceChildren();
  }

  toNewest() {
    this.#to = null;
    this.#count = FEW;
    this.#stick = true;
    this.draw();
    this.#toEnd();
  }

  draw() {
    if (!this.name) return;
    const { mailbox, outbox, loader } = this.app;
    const messages = mailbox.talk(this.name);
    if (this.#sought && loader.ready && this.app.session) this.#seek();
    if (this.#goal) this.#aim(messages);
    const to = this.#end(messages);
    const from = Math.max(0, to - this.#count);
    const stretch = messages.slice(from, to);
    const waiting = to === messages.length ? outbox.to(this.name) : [];
    loader.want(stretch);
    if (!from) this.#loadOlder(messages);
    if (!this.list.children.length && !waiting.length && this.#expects(stretch)) return;
    const anchor = this.#anchor();
    sync(
      this.list,
      [...this.#items(stretch, waiting)],
      (item) => item.key,
      (item) => item.version,
      (item) => item.make(),
    );
    if (this.#aimed) this.#show(this.#aimed);
    else this.#hold(anchor);
    const empty = !messages.length && !waiting.length && loader.ready && !loader.hasOlder(this.name);
    $("talk-empty").hidden = !empty && !this.#failed;
    $("talk-empty").textContent = this.#failed
      ? this.#failed
      : `No messages with ${line(this.name)} yet. Write the first one.`;
    $("to-newest").hidden = this.#stick && to === messages.length;
    const unread = mailbox.person(this.name).unread;
    $("to-newest-count").textContent = unread ? `${unread}` : "";
  }

  /** Whether the texts of these are about to come: so what is opened need not be drawn twice. */
  #expects(stretch) {
    const { loader } = this.app;
    if (this.#patience < 0 || !loader.reading || !stretch.some(({ body }) => body === undefined)) return false;
    this.#patience ||= setTimeout(() => {
      this.#patience = -1;
      this.draw();
    }, PATIENCE);
    return true;
  }

  #loadOlder(messages) {
    if (this.#failed || this.app.loader.loading(this.name)) return;
    if (messages.length < FEW || this.scroll.scrollTop <= NEAR) this.#older(this.name);
  }

  /** Load older messages. @returns {Promise<string>} why no more are to be had, if so */
  async #older(name, many) {
    let why = "";
    try {
      if (await this.app.loader.older(name, many)) why = "The server cannot find older messages yet: it is being updated.";
    } catch (error) {
      if (!(error instanceof Gone)) why = "Older messages could not be loaded.";
    }
    if (why && this.name === name) {
      this.#failed = why;
      this.app.changed();
    }
    return why;
  }

  /** Load what lies before the message to be shown, up to a limit. */
  async #seek() {
    const { app, name } = this;
    const { loader, mailbox } = app;
    const at = this.#sought;
    this.#sought = 0;
    for (let pages = 0; pages < 50 && app.session && loader.hasOlder(name) && this.name === name; pages++) {
      if (mailbox.talk(name)[0]?.id <= at || (await this.#older(name, 100))) break;
    }
    if (this.name !== name) return;
    if (!app.session) this.#sought = at; // for when it is back
    else if (!mailbox.talk(name).some(({ id }) => id === at))
      app.toast("This message lies too far back to be shown here.");
  }

  /** Choose the stretch around the message to be shown. */
  #aim(messages) {
    const at = messages.findIndex(({ id }) => id >= this.#goal);
    if (at < 0 || messages[at].id !== this.#goal) return;
    const goal = this.#goal;
    this.#goal = 0;
    this.#marked = goal === this.#first ? 0 : goal;
    this.#count = FEW;
    if (messages.length - at > FEW / 2) this.#to = messages[at + FEW / 2 - 1].id;
    this.#stick = false;
    this.#aimed = goal;
  }

  /** Bring this one, which was just drawn, into sight. */
  #show(id) {
    this.#aimed = 0;
    this.list.querySelector(`li[data-id="${id}"]`)?.scrollIntoView({ block: "center" });
    setTimeout(() => {
      this.#scrolled();
      if (this.#stick) this.#toEnd(); // so little is below that it fits, too
    });
  }

  /** The index behind the last of these that is drawn. */
  #end(messages) {
    return this.#to === null ? messages.length : messages.findLastIndex(({ id }) => id <= this.#to) + 1;
  }

  /** What is drawn: days, the line above what is new, messages, and what is not sent yet. */
  *#items(messages, waiting) {
    let before = null;
    const all = [
      ...messages,
      ...waiting.map((entry) => ({
        ...entry,
        mine: true,
        time: entry.at,
        state: this.app.outbox.state(entry),
        entry,
      })),
    ];
    for (const message of all) {
      const today = dayOf(message.time);
      const key = message.ref ? `ref ${message.ref}` : `id ${message.id}`;
      if (!before || dayOf(before.time) !== today) {
        const said = day(message.time);
        // A day may come twice, where a clock was wrong.
        yield { key: `day of ${key}`, version: said, make: () => el("li.day", {}, el("span", {}, said)) };
      }
      if (message.id === this.#first) {
        yield { key: "new", version: "", make: () => el("li.new", {}, el("span", {}, "New")) };
      }
      const joined =
        before &&
        before.mine === message.mine &&
        message.time - before.time < CLOSE &&
        dayOf(before.time) === today &&
        message.id !== this.#first;
      const open = this.#unfolded.has(message.ref ?? message.id);
      const version = [
        message.state,
        message.body === undefined ? "?" : message.body === null ? "gone" : "",
        message.deliveredAt,
        message.returned?.code,
        joined,
        open,
        message.refused,
        message.id === this.#marked,
      ].join(" ");
      yield { key, version, make: () => this.#make(message, joined, open) };
      before = message;
    }
  }

  #make(message, joined, open) {
    const { mine, id } = message;
    const peer = message.peer ?? this.name;
    const come = mine ? fate({ ...message, peer }) : null;
    const back = message.returned || message.refused || (mine && ["returned", "dead"].includes(message.state));
    const bubble = el(
      "div.bubble",
      {},
      el("span.sr", {}, mine ? "You: " : `${line(peer)}: `),
      message.subject ? el("strong.subject", { dir: "auto" }, shown(message.subject)) : null,
      ...this.#body(message, open),
      el(
        "span.meta",
        {},
        el(
          "time",
          { dateTime: new Date(message.time).toISOString() },
          clock(message.time),
        ),
        come ? el(`span.fate.${come.kind}`, { title: come.title }, icon(come.kind), come.word) : null,
      ),
      back ? el("p.why", {}, message.returned ? why(message.returned) : line(message.refused ?? "")) : null,
    );
    const acts = el("div.acts", {}, ...this.#acts(message));
    const classes = [
      "message",
      mine ? "mine" : "theirs",
      joined && "joined",
      id && id === this.#marked && "goal",
      back && "back",
      message.state === "recalled" && "recalled",
    ].filter(Boolean);
    return el(`li.${classes.join(".")}`, { tabIndex: -1, "data-id": id, "data-ref": message.ref }, bubble, acts);
  }

  *#body(message, open) {
    const { body, state } = message;
    if (typeof body !== "string") {
      const text =
        body === undefined && state !== "recalled"
          ? "…"
          : state === "recalled"
            ? "You took this message back."
            : "The text is not kept any more.";
      yield el("div.body.absent", {}, text);
      return;
    }
    const folded = !open && (body.length > LONG || body.split("\n", LINES + 1).length > LINES);
    const text = folded ? start(body, LONG).split("\n", LINES).join("\n") : body;
    yield el("div.body", { dir: "auto", elementTiming: "message" }, shown(text), folded ? "…" : null);
    if (folded)
      yield el(
        "button.link",
        { type: "button", "data-act": "unfold" },
        `Show all ${count(body.length, "character")}`,
      );
  }

  /** What can be done with a message. */
  *#acts({ mine, body, state, returned, entry }) {
    const button = (act, picture, word) =>
      el("button", { type: "button", tabIndex: -1, "data-act": act, title: word }, icon(picture), word);
    if (entry) {
      if (state !== "sending") yield button("undo", "write", "Edit");
      return;
    }
    if (typeof body === "string") yield button("copy", "copy", "Copy");
    if (returned) yield button("again", "write", "Edit and send again");
    if (mine && state === "waiting") yield button("recall", "recalled", "Recall");
    if (!mine || returned) yield button("delete", "delete", "Delete");
  }

  // --- what people do ---

  #clicked({ target }) {
    const item = target.closest("li.message");
    if (!item) return;
    const act = target.closest("[data-act]")?.dataset.act;
    if (act) this.#act(act, item);
    else if (!target.closest("a") && !getSelection().toString()) {
      item.focus({ preventScroll: true });
      // On a phone what can be done with it has come below it.
      if (matchMedia("(hover: none)").matches) item.lastElementChild.scrollIntoView({ block: "nearest" });
    }
  }

  async #act(act, item) {
    const { app } = this;
    const id = Number(item.dataset.id);
    const message = app.mailbox.messages.get(id);
    if (act === "undo") await this.#takeBack(item.dataset.ref);
    else if (act === "unfold") {
      this.#unfolded.add(item.dataset.ref ?? id);
      this.draw();
    } else if (act === "copy") app.toast((await copy(message.body)) ? "Copied." : "Copying is not allowed here.");
    else if (act === "again") app.composer.edit(message);
    else if (act === "delete") {
      if (await ask("Delete this message?", "It is removed from your mailbox for good.", "Delete", true))
        await this.#remove(message);
    } else if (act === "recall") {
      if (
        await ask(
          "Take this message back?",
          `${line(message.peer)} has not got it yet and will not get it.`,
          "Recall",
          true,
        )
      )
        await this.#remove(message);
    }
  }

  /** Have back what is not sent yet. */
  async #takeBack(ref) {
    const { app, name } = this;
    if (
      app.outbox.mayHaveArrived(ref) &&
      !(await ask(
        "It may have arrived already",
        "The connection broke while this message was on its way. Left as it is, it is sent again by itself and arrives once. Changed, it is another message: both may arrive.",
        "Edit it all the same",
        false,
        "Leave it as it is",
      ))
    )
      return;
    const entry = await app.outbox.take(ref);
    if (typeof entry === "string") app.toast(entry);
    else if (this.name === name) app.composer.edit(entry);
    else app.outbox.add(entry.peer, entry.subject, entry.body, ref); // nobody is there any more to edit it
  }

  /** Delete, or recall what I sent. */
  async #remove(message) {
    const { app } = this;
    if (!app.session) return app.toast("There is no connection: try again when there is.");
    const recalls = message.mine && !message.returned;
    try {
      const { ids } = await app.session.ask({ keyword: "delete", ids: [message.id] });
      if (recalls && !ids.length) {
        await app.loader.fate(message.id);
        app.toast(late(message));
      } else {
        if (recalls) message.state = "recalled";
        else app.mailbox.remove(message.id);
        app.announce(recalls ? "Recalled." : "Deleted.");
        app.tell({ removed: message.id, recalls });
      }
    } catch (error) {
      app.toast(error instanceof Gone ? "The connection was lost: try again." : sorry(error));
    }
    app.changed();
    this.scroll.focus({ preventScroll: true });
  }

  async #block() {
    const { app, name } = this;
    if (!app.session) return app.toast("There is no connection: try again when there is.");
    if (
      !(await ask(
        `Block ${line(name)}?`,
        "What they write from now on goes back to them. The settings undo it.",
        "Block",
        true,
      ))
    )
      return;
    try {
      await app.session.ask({ keyword: "block", username: name });
      app.toast(`${line(name)} is blocked.`);
    } catch (error) {
      app.toast(error instanceof Gone ? "The connection was lost: try again." : sorry(error));
    }
  }

  /** Up and down walk through the messages; what can be done with one is behind it. */
  #key(event) {
    if (event.target.closest("button, a")) return;
    const items = [...this.list.querySelectorAll("li.message")];
    const at = items.indexOf(event.target.closest("li.message"));
    const next = { ArrowUp: at < 0 ? items.length - 1 : at - 1, ArrowDown: at < 0 ? -1 : at + 1 }[event.key];
    if (next === undefined || !items[next]) return;
    items[next].focus();
    event.preventDefault();
  }

  /** Only what can be done with the message in focus is on the way of the tab key. */
  #reach(item) {
    for (const button of this.list.querySelectorAll(".acts button"))
      button.tabIndex = item?.contains(button) ? 0 : -1;
  }

  // --- where it stands ---

  #scrolled() {
    const { scrollTop, clientHeight, scrollHeight } = this.scroll;
    const messages = this.app.mailbox.talk(this.name);
    const to = this.#end(messages);
    const below = scrollHeight - scrollTop - clientHeight;
    this.#stick = to === messages.length && below < 40;
    if (this.#stick) {
      this.#to = null;
      if (this.#count > FEW && scrollTop > NEAR * 4) this.#count = FEW;
    }
    if (scrollTop < NEAR && to > this.#count) {
      this.#count += MORE;
      if (this.#count > MOST) {
        this.#to = messages[Math.max(MOST, to - (this.#count - MOST)) - 1].id;
        this.#count = MOST;
      }
      this.draw();
    } else if (scrollTop < NEAR) this.#loadOlder([]);
    else if (below < NEAR && to < messages.length) {
      this.#to = messages[to + MORE - 1]?.id ?? null;
      this.#count = Math.min(MOST, this.#count + MORE);
      this.draw();
    }
    $("to-newest").hidden = this.#stick;
    this.app.look();
  }

  /** The id of the last message that can be seen now. */
  get lastSeen() {
    if (this.#stick) return Infinity;
    const end = this.scroll.scrollTop + this.scroll.clientHeight;
    for (let node = this.list.lastElementChild; node; node = node.previousElementSibling) {
      if (node.dataset.id && node.offsetTop + Math.min(node.offsetHeight, 40) <= end)
        return Number(node.dataset.id);
    }
    return 0;
  }

  /** What stands at the top of the window, and where. */
  #anchor() {
    if (this.#stick) return null; // and looking where things stand takes long
    const { scrollTop } = this.scroll;
    for (const child of this.list.children) {
      if (child.offsetTop + child.offsetHeight > scrollTop && child.classList.contains("message")) {
        return { key: child.dataset.key, offset: child.offsetTop - scrollTop };
      }
    }
    return null;
  }

  /** Let it stand there, whatever came above it; or stay at the end. */
  #hold(anchor) {
    if (this.#stick) return this.#toEnd();
    if (!anchor) return undefined;
    for (const child of this.list.children) {
      if (child.dataset.key === anchor.key) this.scroll.scrollTop = child.offsetTop - anchor.offset;
    }
    return undefined;
  }

  #toEnd() {
    this.scroll.scrollTop = this.scroll.scrollHeight;
  }
}
