/** The list of conversations, and what a search finds. */

import { $, busy, el, icon, sync } from "./dom.js";
import { drafted, draft as keptDraft } from "./keep.js";
import { Gone } from "./line.js";
import { START } from "./mailbox.js";
import { colour, initials, line, start } from "./shown.js";
import { brief, count, fate, sorry, why } from "./words.js";

/** So many rows are drawn, and more as they are asked for. */
const ROWS = 60;
const FOUND = 20;
/** So many rows can be seen at once. */
const FIRST = 30;

/** Where a conversation is, as a link. */
export const whereTo = (name, at) => `#to=${encodeURIComponent(name)}${at ? `&at=${at}` : ""}`;

export class People {
  #rows = ROWS;
  #asked = 0;
  #found = null;
  #timer = 0;

  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.app = app;
    this.current = "";
    $("search").onsubmit = (event) => {
      event.preventDefault();
      this.#search();
    };
    $("query").oninput = () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#search(), 200);
      this.draw();
    };
    const hint = () => ($("search-hint").hidden = document.activeElement !== $("query"));
    $("query").onfocus = hint;
    $("query").onblur = () => setTimeout(hint, 300); // what is being clicked below must not move away
    $("found-more").onclick = () => this.#search(true);
    $("people-more").onclick = () => this.#more();
    $("lists").onscroll = ({ target }) => {
      if (
        target.scrollTop + target.clientHeight > target.scrollHeight - 200 &&
        this.#rows < this.app.mailbox.people.size
      ) {
        this.#rows += ROWS;
        this.draw();
      }
    };
    $("lists").onclick = ({ target }) => {
      // The address stays what it is, so nobody is told of it: what it leads to may be out of sight.
      if (target.closest("a.person")?.hash === location.hash) app.again();
    };
    $("lists").onkeydown = $("query").onkeydown = (event) => this.#key(event);
  }

  /** Begin anew, for another account. */
  reset() {
    clearTimeout(this.#timer);
    this.#rows = ROWS;
    this.#found = null;
    $("query").value = "";
    $("people").replaceChildren();
  }

  get query() {
    return $("query").value.trim();
  }

  /** Forget the search. @returns {boolean} whether there was one */
  clear() {
    if (!$("query").value) return false;
    $("query").value = "";
    this.#search();
    return true;
  }

  /** Those to show, the latest first. */
  listed() {
    const { mailbox, outbox } = this.app;
    const times = new Map();
    for (const person of mailbox.people.values()) times.set(person.name, mailbox.newest(person)?.time ?? 0);
    for (const { peer, at } of outbox.entries) times.set(peer, Math.max(times.get(peer) ?? 0, at));
    const wanted = this.query.toLowerCase();
    return [...times]
      .filter(([name]) => !wanted || name.includes(wanted))
      .sort((one, other) => other[1] - one[1] || (one[0] < other[0] ? -1 : 1))
      .map(([name]) => name);
  }

  draw() {
    const { mailbox, loader } = this.app;
    if (!mailbox) return;
    const all = this.listed();
    const names = all.slice(0, this.#rows);
    const drafts = drafted(mailbox.me);
    const drawn = $("people").children.length > 0;
    const rows = names.map((name) => this.#row(name, name !== this.current && drafts.includes(name)));
    sync(
      $("people"),
      rows,
      (row) => row.name,
      (row) => JSON.stringify(row),
      (row) => this.#make(row),
    );
    // The last wanted is the first read: of many, those at the top.
    const previews = names.slice(0, drawn ? names.length : FIRST).map((name) => mailbox.newest(mailbox.person(name)));
    loader.want(previews.filter((message) => message && message.subject == null && message.start == null).reverse());
    $("people-none").hidden = all.length > 0 || !loader.ready || Boolean(this.query);
    $("people-more").hidden = !loader.more || Boolean(this.query);
    $("found-section").hidden = !this.query || Boolean($("search-wrong").textContent);
  }

  /** Offer those whom one has written with before, where a name is asked for. */
  suggest() {
    $("known").replaceChildren(
      ...this.listed()
        .slice(0, ROWS)
        .map((value) => el("option", { value })),
    );
  }

  /** What a row says; two that say the same are drawn alike. */
  #row(name, draft) {
    const { mailbox, outbox } = this.app;
    const person = mailbox.person(name);
    const waiting = outbox.to(name);
    const message = waiting.length
      ? {
          ...waiting[waiting.length - 1],
          mine: true,
          state: outbox.state(waiting[waiting.length - 1]),
          time: waiting[waiting.length - 1].at,
        }
      : mailbox.newest(person);
    const kind = message?.mine ? fate({ ...message, peer: name }).kind : "";
    let text = line(start(message?.subject || message?.start || message?.body || "", START));
    if (message?.returned) text = `Came back: ${why(message.returned)}`;
    else if (message?.state === "recalled") text = "You took a message back";
    const current = name === this.current;
    if (draft) {
      const { subject, body } = keptDraft(mailbox.me, name);
      text = line(start(subject || body, START));
    }
    const when = message ? brief(message.time) : "";
    return {
      name,
      unread: person.unread,
      time: message?.time,
      when,
      text,
      kind,
      mine: Boolean(message?.mine),
      draft,
      current,
    };
  }

  #make({ name, unread, time, when, text, kind, mine, draft, current }) {
    const me = name === this.app.mailbox.me;
    return el(
      "li",
      {},
      el(
        "a.person",
        { href: whereTo(name), "aria-current": current ? "page" : null, "data-act": "open" },
        el(`span.avatar.${colour(name)}`, { "aria-hidden": "true" }, initials(name)),
        el(
          "span.grow",
          {},
          el(
            "span.first",
            {},
            el("bdi.name", {}, line(name)),
            me ? el("small", {}, " you") : null,
            time ? el("time", { dateTime: new Date(time).toISOString() }, when) : null,
          ),
          el(
            "span.second",
            {},
            kind && !draft
              ? el(
                  `span.mark.${kind}`,
                  {},
                  icon(kind),
                  el("span.sr", {}, `${fate({ state: kind, peer: name }).word}: `),
                )
              : null,
            el(
              "span.preview",
              { dir: "auto", elementTiming: "preview" },
              draft ? el("span.draft", {}, "Draft: ") : mine || !text ? null : el("span.sr", {}, "They wrote: "),
              text,
            ),
            unread
              ? el("span.badge", {}, unread > 999 ? "999+" : String(unread), el("span.sr", {}, " unread"))
              : null,
          ),
        ),
      ),
    );
  }

  async #more() {
    try {
      await busy($("people-more"), () => this.app.loader.lookThrough(10000));
    } catch (error) {
      this.app.toast(error instanceof Gone ? "There is no connection: try again when there is." : sorry(error));
    }
  }

  /** Put the focus on somebody's row. */
  focus(name) {
    const row = [...$("people").children].find((each) => each.dataset.key === name);
    row?.querySelector("a").focus();
  }

  // --- searching ---

  async #search(older = false) {
    clearTimeout(this.#timer);
    const query = this.query;
    const asked = ++this.#asked;
    $("search-wrong").textContent = "";
    if (!older) this.#found = null;
    this.draw();
    this.#drawFound();
    if (!query) return;
    const { session } = this.app;
    if (!session) {
      $("found-none").textContent = "No connection: only names are searched now.";
      return;
    }
    const before = older ? this.#found.messages[this.#found.messages.length - 1].id : 0;
    try {
      const found = await session.ask({ keyword: "search", query, before, limit: FOUND });
      if (asked !== this.#asked) return;
      for (const entry of found.messages) this.app.mailbox.take(entry);
      const messages = [...(older ? this.#found.messages : []), ...found.messages];
      this.#found = { messages, more: found.more, incomplete: found.incomplete };
      this.#drawFound();
    } catch (error) {
      if (asked !== this.#asked) return;
      if (error instanceof Gone) $("found-none").textContent = "The connection was lost. Search again.";
      else {
        $("search-wrong").textContent = sorry(error);
        $("found-none").textContent = "";
        this.draw();
      }
    }
  }

  #drawFound() {
    const found = this.#found;
    const none = !found ? (this.query ? "Searching…" : "") : found.messages.length ? "" : "Nothing found.";
    const rest = found?.incomplete ? " Older messages are not in the index yet." : "";
    $("found-none").textContent = none + rest;
    $("found-more").hidden = !found?.more;
    sync(
      $("found"),
      found?.messages ?? [],
      (entry) => `${entry.id}`,
      () => "",
      (entry) => this.#hit(entry),
    );
    if (found?.messages.length)
      this.app.announce(`${count(found.messages.length, "message")} found${found.more ? ", and more" : ""}`);
  }

  #hit(entry) {
    const { peer, mine, time } = this.app.mailbox.messages.get(entry.id) ?? this.app.mailbox.take(entry);
    return el(
      "li",
      {},
      el(
        "a.person.hit",
        { href: whereTo(peer, entry.id) },
        el(`span.avatar.${colour(peer)}`, { "aria-hidden": "true" }, initials(peer)),
        el(
          "span.grow",
          {},
          el(
            "span.first",
            {},
            el("bdi.name", {}, mine ? `You to ${line(peer)}` : line(peer)),
            el("time", { dateTime: new Date(time).toISOString() }, brief(time)),
          ),
          entry.subject ? el("span.preview.strong", { dir: "auto" }, line(entry.subject)) : null,
          el("span.excerpt", { dir: "auto" }, line(entry.excerpt ?? "")),
        ),
      ),
    );
  }

  /** Up and down walk through the rows. */
  #key(event) {
    if (event.key === "Escape" && this.clear()) {
      $("query").focus();
      event.stopPropagation();
    }
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    const rows = [...$("lists").querySelectorAll("a.person")].filter((row) => row.offsetParent);
    const at = rows.indexOf(document.activeElement);
    const next = event.key === "ArrowDown" ? rows[at + 1] : (rows[at - 1] ?? $("query"));
    if (next) next.focus();
    event.preventDefault();
  }
}
