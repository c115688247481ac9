/** The settings: this device, the password, recovery codes, who is blocked, and leaving. */

import { showCodes } from "./door.js";
import { $, ask, busy, el } from "./dom.js";
import { drafted, keepWish, outgoing, wish } from "./keep.js";
import { Gone } from "./line.js";
import { line } from "./shown.js";
import { count, sorry } from "./words.js";

/** Look as was last chosen here. */
export function dress() {
  const theme = wish("theme");
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

export class Settings {
  /** @param {import("./app.js").App} app */
  constructor(app) {
    this.app = app;
    for (const choice of document.getElementsByName("theme")) {
      choice.checked = choice.value === (wish("theme") ?? "");
      choice.onchange = () => {
        keepWish("theme", choice.value);
        dress();
      };
    }
    $("notify").onchange = () => this.#notify();
    $("log-out").onclick = () => this.#leave(false);
    $("log-out-all").onclick = () => this.#leave(true);
    this.#form("password-form", ({ old, new: fresh }) => this.#changePassword(old.value, fresh.value));
    this.#form("recovery-form", async ({ password }) => {
      const { codes } = await app.session.ask({ keyword: "recovery", password: password.value });
      showCodes(codes, app.mailbox.me);
    });
    this.#form("delete-form", async ({ password }) => {
      await app.session.ask({ keyword: "delete-account", password: password.value });
      app.erased();
    });
  }

  open() {
    const { me } = this.app.mailbox;
    $("settings-name").textContent = $("delete-name").textContent = line(me);
    $("password-form").username.value = me;
    for (const form of document.querySelectorAll(".settings form")) {
      form.reset();
      for (const said of form.querySelectorAll(".wrong, .right")) said.textContent = "";
    }
    this.#drawNotify();
    this.drawBlocked();
  }

  /** Ask the server while there is a connection. */
  async drawBlocked(change = { keyword: "blocks" }) {
    if (!this.app.session) return;
    try {
      const { usernames } = await this.app.session.ask(change);
      $("blocked-none").hidden = usernames.length > 0;
      $("blocked").replaceChildren(
        ...usernames.map((name) =>
          el(
            "li",
            {},
            el("bdi", {}, line(name)),
            el(
              "button",
              {
                type: "button",
                "aria-label": `Unblock ${line(name)}`,
                onclick: () => this.drawBlocked({ keyword: "unblock", username: name }),
              },
              "Unblock",
            ),
          ),
        ),
      );
    } catch (error) {
      if (!(error instanceof Gone)) this.app.toast(sorry(error));
    }
  }

  #form(id, act) {
    const form = $(id);
    const wrong = form.querySelector(".wrong");
    form.noValidate = true;
    form.onsubmit = async (event) => {
      event.preventDefault();
      const button = form.querySelector("button");
      for (const said of form.querySelectorAll(".wrong, .right")) said.textContent = "";
      const empty = [...form.elements].find((field) => field.required && !field.value);
      if (empty) {
        wrong.textContent = "Type the password.";
        empty.focus();
        return;
      }
      if (!this.app.session) {
        wrong.textContent = "There is no connection: try again when there is.";
        return;
      }
      try {
        if (await busy(button, () => act(form.elements))) form.reset();
      } catch (error) {
        const wait = error.seconds ? ` Try again in ${count(error.seconds, "second")}.` : "";
        wrong.textContent =
          error instanceof Gone ? "The connection was lost: try again when it is back." : sorry(error) + wait;
      }
    };
  }

  async #changePassword(password, fresh) {
    const { app } = this;
    await app.session.ask({ keyword: "change-password", password, new: fresh });
    app.link.password = fresh;
    await app.link.renewNow();
    $("password-form").querySelector(".right").textContent =
      "The new password is in force. Other devices that are connected now go on until you log out on all devices; " +
      "the next time they connect, they need it.";
  }

  async #leave(all) {
    const { app } = this;
    const lost = this.#unfinished();
    if (lost && !(await ask("Log out?", lost, "Throw away and log out", true))) return;
    try {
      await app.session?.ask({ keyword: "logout", all });
    } catch {
      // Without a connection the token ends by itself.
    }
    app.leave(
      app.session || !all
        ? "You are logged out."
        : "You are logged out here. There was no connection: other devices still are logged in.",
    );
  }

  /** What would be thrown away by logging out, of this tab and others, in a sentence; or nothing. */
  #unfinished() {
    const { me } = this.app.mailbox;
    const unsent = outgoing(me).length;
    const drafts = drafted(me);
    const lost = [];
    if (unsent) lost.push(`${count(unsent, "message")} that you wrote ${unsent === 1 ? "is" : "are"} not sent yet.`);
    if (drafts.length) {
      const others = drafts.length > 3 ? ` and ${drafts.length - 3} more` : "";
      const to = drafts.slice(0, 3).map(line).join(", ");
      lost.push(`${lost.length ? "And what" : "What"} you were writing to ${to}${others} is not finished.`);
    }
    return lost.length ? `${lost.join(" ")} It would be thrown away.` : "";
  }

  // --- notifications ---

  async #notify() {
    const box = $("notify");
    if (box.checked && window.Notification && Notification.permission === "default")
      await Notification.requestPermission();
    keepWish("notify", box.checked && window.Notification?.permission === "granted");
    this.#drawNotify(box.checked);
  }

  #drawNotify(asked = false) {
    const permission = window.Notification?.permission;
    $("notify").checked = wish("notify") === true && permission === "granted";
    let hint = "";
    if (!window.isSecureContext || !window.Notification)
      hint = "This browser allows that only to encrypted pages.";
    else if (permission === "denied" && asked)
      hint = "The browser does not allow it: change that in its settings for this page.";
    $("notify-hint").textContent = hint;
  }
}
