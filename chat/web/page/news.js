/** How news reaches somebody: title, icon, a spoken word, and a notification of the desktop. */

import { $ } from "./dom.js";
import { wish } from "./keep.js";
import { line, start } from "./shown.js";
import { count, why } from "./words.js";

/** From so many at a time on, they are told of together. */
const MANY = 3;
/** Where a picture is: beside this file. */
const beside = (name) => new URL(name, import.meta.url).href;
const ICON = beside("icon.svg");
const ICON_NEW = beside("icon-new.svg");

/** Say something to those who do not see the page. */
export function announce(text) {
  const said = document.createElement("p");
  said.textContent = text;
  $("announce").append(said);
  setTimeout(() => said.remove(), 5000);
}

let timer = 0;

/** Say something in passing. */
export function toast(text) {
  $("toast").textContent = text;
  clearTimeout(timer);
  timer = setTimeout(() => ($("toast").textContent = ""), 6000);
}

/** Show in the tab how many messages are unread. */
export function mark(unread, where) {
  document.title = `${unread ? `(${unread}) ` : ""}${where ? `${line(where)} – ` : ""}chat`;
  const icon = unread ? ICON_NEW : ICON;
  if ($("favicon").href !== icon) $("favicon").href = icon;
}

/**
 * Tell of messages that have just come.
 * @param {import("./mailbox.js").Message[]} messages
 * @param {(message: import("./mailbox.js").Message) => void} open called when one is chosen
 */
export function tell(messages, open) {
  if (!messages.length) return;
  const last = messages[messages.length - 1];
  if (messages.length > MANY) {
    const people = new Set(messages.map(({ peer }) => peer));
    const text = people.size === 1 ? `from ${line(last.peer)}` : `from ${count(people.size, "person", "people")}`;
    announce(`${count(messages.length, "new message")} ${text}`);
    notify(last, `${count(messages.length, "new message")}`, text, open);
    return;
  }
  for (const message of messages) {
    const title = message.returned ? `Came back from ${line(message.peer)}` : line(message.peer);
    const text = message.returned
      ? why(message.returned)
      : line(start([message.subject, message.body].filter(Boolean).join(" – "), 300));
    announce(`${message.returned ? "" : "New message from "}${title}: ${text}`);
    notify(message, title, text, open);
  }
}

function notify(message, title, body, open) {
  if (!document.hidden && document.hasFocus()) return;
  if (!wish("notify") || window.Notification?.permission !== "granted") return;
  try {
    const note = new Notification(title, {
      body: start(body, 200),
      tag: `chat ${message.peer}`,
      icon: ICON,
    });
    note.onclick = () => {
      window.focus();
      open(message);
      note.close();
    };
  } catch {
    // Some browsers on phones allow it to installed pages only.
  }
}
