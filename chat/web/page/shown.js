/**
 * What others wrote, made safe to look at: characters that are invisible, or change the order of
 * what follows, are spelled out, as the text door and the terminal client do it.
 */

// The ranges of chat/wire/text_words.py, without tab and line feed, which do no harm in a page.
const UNSAFE =
  /[\0-\x08\x0B-\x1F\x7F-\x9F\xAD\u034F\u061C\u115F\u1160\u17B4\u17B5\u180B-\u180F\u200B-\u200F\u2028-\u202E\u2060-\u206F\u3164\uD800-\uDFFF\uFEFF\uFFA0\uFFF0-\uFFFB\u{13430}-\u{1345F}\u{1BCA0}-\u{1BCA3}\u{1D173}-\u{1D17A}\u{E0000}-\u{E00FF}\u{E01F0}-\u{E0FFF}]/gu;

// Joiners within an emoji, or between letters of the scripts that are written with them.
const JOINED = /(?:\p{Extended_Pictographic}|\p{Emoji_Modifier}|\uFE0F)$/u;
const JOINS = /^\p{Extended_Pictographic}/u;
const WRITTEN_WITH_JOINERS =
  /^[\p{Script=Arabic}\p{Script=Devanagari}\p{Script=Bengali}\p{Script=Tamil}\p{Script=Telugu}\p{Script=Kannada}\p{Script=Malayalam}\p{Script=Sinhala}\p{Script=Gujarati}\p{Script=Gurmukhi}\p{Script=Khmer}]/u;

const LINK = /https?:\/\/[^\s<>"'`]+[^\s<>"'`.,;:!?)\]}]/g;

function spelling(character) {
  const code = character.codePointAt(0);
  const digits = code.toString(16);
  if (code < 0x100) return `\\x${digits.padStart(2, "0")}`;
  return code < 0x10000 ? `\\u${digits.padStart(4, "0")}` : `\\U${digits.padStart(8, "0")}`;
}

function joins(text, at) {
  const code = text.charCodeAt(at);
  if (code !== 0x200c && code !== 0x200d) return false;
  const before = text.slice(Math.max(0, at - 2), at);
  const after = text.slice(at + 1, at + 3);
  if (code === 0x200d && JOINED.test(before) && JOINS.test(after)) return true;
  const last = [...before].pop() ?? "";
  return (WRITTEN_WITH_JOINERS.test(last) || /^\p{M}/u.test(last)) && WRITTEN_WITH_JOINERS.test(after);
}

/** The parts of a text in turn: [text, false], or [spelling, true] for a character spelled out. */
function* parts(text) {
  const clean = text.replaceAll("\r\n", "\n");
  let from = 0;
  for (const { 0: character, index } of clean.matchAll(UNSAFE)) {
    if (joins(clean, index)) continue;
    if (index > from) yield [clean.slice(from, index), false];
    yield [spelling(character), true];
    from = index + character.length;
  }
  if (from < clean.length) yield [clean.slice(from), false];
}

/** The text on one line, for where there is nothing but text: titles, notifications, previews. */
export function line(text) {
  let whole = "";
  for (const [part] of parts(text)) whole += part;
  return whole.replace(/\s+/g, " ").trim();
}

/** The text as nodes: what is spelled out is marked as such, and addresses of pages can be followed. */
export function shown(text) {
  const nodes = document.createDocumentFragment();
  for (const [part, spelled] of parts(text)) {
    if (spelled) {
      const mark = document.createElement("span");
      mark.className = "spelled";
      mark.title = "A character that cannot be seen, spelled out";
      mark.textContent = part;
      nodes.append(mark);
    } else nodes.append(...linked(part));
  }
  return nodes;
}

function* linked(text) {
  let from = 0;
  for (const { 0: address, index } of text.matchAll(LINK)) {
    let url;
    try {
      url = new URL(address);
    } catch {
      continue;
    }
    if (url.username || url.password) continue; // made to deceive: what looks like the host is a name
    const link = document.createElement("a");
    link.href = url.href;
    link.title = url.href;
    link.target = "_blank";
    link.rel = "noopener noreferrer";
    link.textContent = address;
    yield text.slice(from, index);
    yield link;
    from = index + address.length;
  }
  yield text.slice(from);
}

/** The start of a text, with whole characters. */
export const start = (text, length) => text.slice(0, length).replace(/[\uD800-\uDBFF]$/, "");

/** How many bytes the server counts. */
export const bytes = (text) => new TextEncoder().encode(text).length;

/** A name as the server is likely to write it. */
export const tidy = (name) => narrow(name.trim()).normalize("NFC").toLowerCase();
const narrow = (text) =>
  text.replace(/[\uFF01-\uFF5E]/g, (wide) => String.fromCharCode(wide.charCodeAt(0) - 0xfee0));

/** Which of eight colours a name has. */
export function colour(name) {
  let sum = 0;
  for (const character of name) sum = (sum * 31 + character.codePointAt(0)) % 8191;
  return `c${sum % 8}`;
}

/** The letters that stand for a name. */
export function initials(name) {
  const words = line(name)
    .split(/[._\-+@]+/)
    .filter(Boolean);
  const letters = words.length > 1 ? [...words[0]][0] + [...words[1]][0] : [...(words[0] ?? "?")][0];
  return letters.toUpperCase();
}
