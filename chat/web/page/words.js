/** What a person is told, in words: moments, and what became of a message. */

import { line } from "./shown.js";

/** Writes moments in one way; what that takes is made when it is first needed, for it takes a browser long. */
function format(options) {
  let made = null;
  return (time) => (made ??= new Intl.DateTimeFormat(undefined, options)).format(time);
}

/** The hour and minute of a moment. */
export const clock = format({ timeStyle: "short" });
/** A moment, to the second. */
export const exact = format({ dateStyle: "full", timeStyle: "medium" });
const weekday = format({ weekday: "short" });
const date = format({ day: "numeric", month: "short" });
const fullDate = format({ weekday: "long", day: "numeric", month: "long" });
const withYear = format({ dateStyle: "long" });

/** What names the day of a moment, for comparing. */
export function dayOf(time) {
  const date = new Date(time);
  return `${date.getFullYear()}-${date.getMonth() + 1}-${date.getDate()}`;
}

function daysAgo(time) {
  const midnight = (moment) => new Date(moment).setHours(0, 0, 0, 0);
  return Math.round((midnight(Date.now()) - midnight(time)) / 86400000);
}

/** The day of a moment, as a heading. */
export function day(time) {
  const ago = daysAgo(time);
  if (ago === 0) return "Today";
  if (ago === 1) return "Yesterday";
  return ago > 0 && ago < 300 ? fullDate(time) : withYear(time);
}

/** A moment as short as it can be said. */
export function brief(time) {
  const ago = daysAgo(time);
  if (ago === 0) return clock(time);
  if (ago === 1) return "Yesterday";
  if (ago > 0 && ago < 7) return weekday(time);
  return ago > 0 && ago < 300 ? date(time) : new Date(time).toISOString().slice(0, 10);
}

/** So many of something. */
export const count = (number, one, many = `${one}s`) =>
  `${number < 1000 ? number : number.toLocaleString()} ${number === 1 ? one : many}`;

/**
 * What became of a message that I wrote: a word, its meaning, and the picture for it.
 * @returns {{word: string, title: string, kind: string}}
 */
export function fate(message) {
  const to = line(message.peer);
  switch (message.state) {
    case "kept":
      return {
        word: "Not sent yet",
        title: "Kept in this browser, and sent when the server is there",
        kind: "kept",
      };
    case "sending":
      return { word: "Sending…", title: "On its way to the server", kind: "kept" };
    case "refused":
      return { word: "Not sent", title: "The server did not take it", kind: "returned" };
    case "delivered": {
      const at = message.deliveredAt;
      const when = at && dayOf(at) === dayOf(message.time) ? clock(at) : at && `${brief(at)}, ${clock(at)}`;
      return {
        word: when ? `Delivered ${when}` : "Delivered",
        title: at ? `${to} got it: ${exact(at)}` : `${to} got it`,
        kind: "delivered",
      };
    }
    case "returned":
    case "dead":
      return { word: "Came back", title: "It was not delivered", kind: "returned" };
    case "recalled":
      return { word: "Recalled", title: `You took it back before ${to} got it`, kind: "recalled" };
    default:
      return { word: "Waiting", title: `On the server; ${to} has not got it yet`, kind: "waiting" };
  }
}

/** Why a message could not be taken back. */
export function late({ state, peer }) {
  if (state === "delivered") return `Too late: ${line(peer)} has got it.`;
  if (state === "recalled") return "It was taken back already.";
  return state === "returned" ? "It came back already." : "It cannot be taken back.";
}

const WHY = {
  "unknown-recipient": "There is no account of that name here.",
  "account-deleted": "This account was deleted before it got the message.",
  blocked: "This person does not take messages from you.",
  expired: "Nobody collected it in time.",
  "mailbox-full": "Too many messages wait in that mailbox.",
};

/** Why a message came back. */
export const why = (returned) => line(returned.note || WHY[returned.code] || returned.code);

/** What to say about an error: the server's own words, where it has said any. */
export function sorry(error) {
  if (!error.reason) return "The server cannot be reached. Try again.";
  return line(error.reason);
}
