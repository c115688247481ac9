/** The views before the login: log in, create an account, choose a new password. */

import { $, ask, el } from "./dom.js";
import { logIn, Made, recover, signUp, Taken, Unknown } from "./entrance.js";
import { Gone } from "./line.js";
import { bytes, line, tidy } from "./shown.js";
import { count, sorry } from "./words.js";

const FORMS = { "log-in": "login-form", "sign-up": "sign-up-form", forgotten: "forgotten-form" };

/** The limits of the protocol for names and passwords, in bytes. */
const NAME = 64;
const PASSWORD = [8, 1024];

export class Door {
  #waits = new Map();
  #invited = false; // it is said that somebody is

  /**
   * @param {(entered: {line: object, welcome: object, stay: boolean, password: string, codes?: string[]}) => void}
   *   entered called when somebody is logged in
   */
  constructor(entered) {
    this.entered = entered;
    $("door-host").textContent = `Messages on ${location.host}`;
    this.#form("login-form", (fields) => this.#logIn(fields));
    this.#form("sign-up-form", ({ name, password, invite }) => signUp(name, password, invite));
    this.#form("forgotten-form", ({ name, code, password }) => recover(name, code, password));
    const form = $("sign-up-form");
    form.show.onchange = () => (form.password.type = form.show.checked ? "text" : "password");
  }

  /**
   * Show one of the views.
   * @param {string} which "log-in", "sign-up" or "forgotten"
   * @param {{notice?: string, name?: string, invite?: string, focus?: boolean}} [more]
   */
  show(which, { notice, name, invite, focus = true } = {}) {
    for (const [view, id] of Object.entries(FORMS)) $(id).hidden = view !== which;
    const form = $(FORMS[which]);
    document.title = `${form.querySelector("h2").textContent} – chat`;
    this.say(form, "");
    if (name !== undefined) form.name.value = name;
    if (this.#invited && which !== "sign-up") notice ??= "";
    this.#invited = invite !== undefined;
    if (this.#invited) {
      form.invite.value = invite;
      notice = `You are invited to ${location.host}. Choose a name and a password.`;
    }
    if (notice !== undefined) this.notice(notice);
    if (focus) (form.name.value ? form.password : form.name).focus();
  }

  /** Say something above the forms. */
  notice(text) {
    $("door-notice").textContent = text;
    $("door-notice").hidden = !text;
  }

  /** Say what was wrong in a form. */
  say(form, text) {
    form.querySelector(".wrong").textContent = text;
  }

  #form(id, enter) {
    const form = $(id);
    form.noValidate = true;
    form.onsubmit = async (event) => {
      event.preventDefault();
      const button = form.querySelector("button.primary");
      if (button.getAttribute("aria-disabled")) return;
      const field = (name) => form.elements.namedItem(name)?.value ?? "";
      const fields = {
        name: field("name").trim(),
        password: field("password"),
        invite: field("invite").trim(),
        code: field("code").trim(),
      };
      const fault = this.#fault(form, fields);
      this.say(form, fault ?? "");
      if (fault) return;
      button.setAttribute("aria-disabled", "true");
      button.classList.add("busy");
      try {
        const entered = await enter(fields);
        const stay = form.stay.checked;
        this.notice("");
        form.reset();
        if (form.show) form.password.type = "password";
        this.entered({ ...entered, stay, password: fields.password });
      } catch (error) {
        if (error instanceof Made) this.#made(form, error);
        else this.#refused(form, fields, error);
      } finally {
        button.classList.remove("busy");
        if (!this.#waits.has(form)) button.removeAttribute("aria-disabled");
      }
    };
  }

  /** What is wrong with what was typed, as far as can be known without the server. */
  #fault(form, { name, password, code }) {
    const blame = (field, text) => {
      field.focus();
      return text;
    };
    if (!name) return blame(form.name, "Type your name.");
    if (bytes(name) > NAME)
      return blame(form.name, `A name has at most ${NAME} bytes; this one has ${bytes(name)}.`);
    if (form.code && !code) return blame(form.code, "Type one of your recovery codes.");
    if (!password) return blame(form.password, "Type the password.");
    if (form.id !== "login-form") {
      const size = bytes(password);
      if (size < PASSWORD[0])
        return blame(
          form.password,
          `A password has at least ${PASSWORD[0]} characters; this one has ${[...password].length}.`,
        );
      if (size > PASSWORD[1])
        return blame(form.password, `A password has at most ${PASSWORD[1]} bytes; this one has ${size}.`);
    }
    return null;
  }

  async #logIn({ name, password }) {
    try {
      return await logIn(name, password);
    } catch (error) {
      if (!(error instanceof Unknown)) throw error;
      const create = await ask(
        `There is no account ${line(name)}`,
        `Was the name typed right? If you are new here, you can create the account ${line(tidy(name))} now.`,
        "Create an account",
      );
      if (create) {
        const form = $("sign-up-form");
        form.password.value = password;
        location.hash = "sign-up";
        this.show("sign-up", { name });
      }
      throw error;
    }
  }

  /** The account is there; then the connection broke, or the server had too much to do. */
  #made(form, { username, codes }) {
    form.reset();
    form.password.type = "password";
    history.replaceState(null, "", "#log-in");
    const notice = `The account ${line(username)} is there now: log in.`;
    this.show("log-in", { notice, name: username });
    showCodes(codes, username);
  }

  #refused(form, { name, invite }, error) {
    if (error instanceof Unknown) this.say(form, `There is no account ${line(name)}.`);
    else if (error instanceof Taken) {
      const taken = `The name ${line(name)} is taken`;
      this.say(
        form,
        invite
          ? `${taken}. Choose another one.`
          : `${taken}, or this server wants an invitation from whoever signs up. Choose another name, or give the code.`,
      );
      form.name.focus();
    } else if (error instanceof Gone)
      this.say(form, "The server cannot be reached. Is the network there? Try again.");
    else if (error.code === "slow-down") this.#countDown(form, error);
    else {
      this.say(form, sorry(error));
      if (error.code === "wrong-password") form.password.select();
      if (error.code === "wrong-invite") form.invite.focus();
      if (error.code === "wrong-recovery") form.code.focus();
    }
  }

  /** Whoever is too fast is told how long to wait, and can go on then. */
  #countDown(form, error) {
    const until = Date.now() + (error.seconds ?? 1) * 1000;
    const button = form.querySelector("button.primary");
    clearInterval(this.#waits.get(form));
    const wrong = form.querySelector(".wrong");
    const ticking = el("span", { "aria-hidden": "true" });
    const tick = () => {
      const left = Math.ceil((until - Date.now()) / 1000);
      const text = `${sorry(error)} Try again in ${count(left, "second")}.`;
      // Spoken once, and not with every second.
      if (!ticking.isConnected) wrong.replaceChildren(ticking, el("span.sr", {}, text));
      if (left > 0) ticking.textContent = text;
      else {
        clearInterval(this.#waits.get(form));
        this.#waits.delete(form);
        button.removeAttribute("aria-disabled");
        this.say(form, "You can try again now.");
      }
    };
    button.setAttribute("aria-disabled", "true");
    this.#waits.set(form, setInterval(tick, 1000));
    tick();
  }
}

/** Show recovery codes, until somebody says that they are kept. */
export function showCodes(codes, name) {
  const dialog = $("codes");
  const text = codes.join("\n");
  const done = (said) => ($("codes-done").textContent = said);
  done("");
  $("codes-list").replaceChildren(...codes.map((code) => el("li", {}, el("code", { textContent: code }))));
  $("codes-copy").onclick = () =>
    copy(text).then((copied) => done(copied ? "Copied." : "Not allowed here: mark the codes and copy them."));
  $("codes-save").onclick = () => {
    const page = `Recovery codes of ${name} at ${location.host}\n\n${text}\n`;
    const link = el("a", {
      href: URL.createObjectURL(new Blob([page], { type: "text/plain" })),
      download: `chat-recovery-codes-${name}.txt`,
    });
    link.click();
    URL.revokeObjectURL(link.href);
    done("Saved.");
  };
  // They are not shown again: they are there until somebody says so.
  const stay = (event) => event.preventDefault();
  dialog.oncancel = stay;
  dialog.onkeydown = (event) => event.key === "Escape" && stay(event); // which cancels in the end, if pressed often
  addEventListener("beforeunload", stay);
  dialog.onclose = () => removeEventListener("beforeunload", stay);
  dialog.showModal();
}

/** Put a text on the clipboard. @returns {Promise<boolean>} whether that was allowed */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
