/** What a person is told, in words: moments, and what became of a message. */

import { line } from "./shown.js";

const CLOCK = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const WEEKDAY = new Intl.DateTimeFormat(undefined, { weekday: "short" });
const DATE = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const FULL_DATE = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const WITH_YEAR = new Intl.DateTimeFormat(undefined, { dateStyle: "long" });
const EXACT = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

/** The hour and minute of a moment. */
export const clock = (time) => CLOCK.format(time);
/** A moment, to the second. */
export const exact = (time) => EXACT.format(time);

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
  return ago > 0 && ago < 300 ? FULL_DATE.format(time) : WITH_YEAR.format(time);
}

/** A moment as short as it can be said. */
export function brief(time) {
  const ago = daysAgo(time);
  if (ago === 0) return clock(time);
  if (ago === 1) return "Yesterday";
  if (ago > 0 && ago < 7) return WEEKDAY.format(time);
  return ago > 0 && ago < 300 ? DATE.format(time) : new Date(time).toISOString().slice(0, 10);
}

/** So many of something. */
export const count = (number, one, many = `${one}s`) => `${number.toLocaleString()} ${number === 1 ? one : many}`;

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
