/**
 * What the browser keeps: the login, what is not sent yet, drafts, and how far one has read.
 *
 * Everything is under the page's own address, so that several servers below one host do not mix.
 * What a browser does not keep (it is not allowed to, or has no room) lasts as long as the page, and
 * whoever leaves the page with something unsent is asked first.
 */

const HERE = `chat:${location.pathname.replace(/[^/]*$/, "")}:`;

/** What a browser keeps that keeps nothing. */
const NOTHING = {
  getItem: () => null,
  setItem() {
    throw new Error("Nothing is kept here.");
  },
  removeItem() {},
};

/** A Storage of the browser, and beside it what that does not take. */
function storage(name) {
  let kept = NOTHING;
  try {
    window[name].getItem(HERE); // where it is forbidden, one or the other fails
    kept = window[name];
  } catch {
    // Then it is not.
  }
  return { kept, beside: new Map() };
}

const lasting = storage("localStorage");
const passing = storage("sessionStorage");

function read({ kept, beside }, key) {
  try {
    return JSON.parse(beside.get(HERE + key) ?? kept.getItem(HERE + key));
  } catch {
    return null; // somebody else's, or of another version
  }
}

/** Keep something. @returns {boolean} whether it is kept for longer than the page */
function write({ kept, beside }, key, value) {
  const text = JSON.stringify(value);
  try {
    kept.setItem(HERE + key, text);
    beside.delete(HERE + key);
  } catch {
    beside.set(HERE + key, text);
  }
  guard();
  return !beside.has(HERE + key);
}

function forget({ kept, beside }, key) {
  kept.removeItem(HERE + key);
  beside.delete(HERE + key);
  guard();
}

// What another tab has said since is newer than what is kept in this one only.
addEventListener("storage", ({ key }) => key && lasting.beside.delete(key));

/** Whoever leaves the page with something that is written and kept nowhere else is asked first. */
function guard() {
  const risky = [...lasting.beside.keys()].some((key) => /^(out|draft):/.test(key.slice(HERE.length)));
  (risky ? addEventListener : removeEventListener)("beforeunload", stay);
}

const stay = (event) => event.preventDefault();

/** The key of something of an account; no name is the beginning of another one's key. */
const of = (me, what, name = "") => `${what}:${encodeURIComponent(me)}:${name}`;

/** The keys of what is kept, of those that begin so. */
function* kept(beginning) {
  const whole = HERE + beginning;
  for (const key of new Set([...Object.keys(lasting.kept), ...lasting.beside.keys()]))
    if (key.startsWith(whole)) yield key.slice(HERE.length);
}

/** What the tabs with the same storage tell each other by, where the browser has that and allows it. */
export function channel() {
  try {
    return new BroadcastChannel(HERE);
  } catch {
    return null;
  }
}

/** Call this when another tab changes something whose key begins so. */
function onChange(beginning, then, signal) {
  const whole = HERE + beginning;
  // No key: everything was cleared.
  addEventListener("storage", ({ key }) => (key?.startsWith(whole) ?? true) && then(), { signal });
}

/**
 * Who is logged in here, and the token that proves it.
 * @typedef {{name: string, token?: string, renew?: number, stay: boolean}} Login
 */

/** @returns {Login|null} */
export const login = () => read(passing, "login") ?? read(lasting, "login");

/** @param {Login} login */
export function keepLogin(login) {
  write(login.stay ? lasting : passing, "login", login);
  if (login.stay) forget(passing, "login");
}

/** Somebody is not logged in here any more; in another tab somebody else may be. */
export function forgetLogin(me) {
  const store = read(passing, "login") ? passing : lasting;
  if (read(store, "login")?.name === me) forget(store, "login");
}

// --- what is not sent yet: one entry each, so that two tabs do not undo each other's ---

export const outgoing = (me) => [...kept(of(me, "out"))].map((key) => read(lasting, key)).filter(Boolean);
/** @returns {boolean} whether it is kept for longer than the page */
export const keepOutgoing = (me, entry) => write(lasting, of(me, "out", entry.ref), entry);
export const isOutgoing = (me, ref) => read(lasting, of(me, "out", ref)) !== null;
export const forgetOutgoing = (me, ref) => forget(lasting, of(me, "out", ref));
export const onOutgoing = (me, then, signal) => onChange(of(me, "out"), then, signal);

/**
 * Do this while no other tab does anything with the same message that is not sent yet. Only pages with a secure
 * address have such locks (https, and this machine), and only where something may be kept; without them it is simply
 * done.
 * @param {(free: boolean) => Promise<T>|T} act `free`: false if another tab has it and it was not to be waited for
 * @returns {Promise<T>}
 * @template T
 */
export async function alone(me, ref, wait, act) {
  let free = null;
  const asked = navigator.locks?.request(HERE + of(me, "out", ref), { ifAvailable: !wait }, (lock) => {
    free = lock !== null;
    return act(free);
  });
  try {
    if (asked) return await asked;
  } catch (error) {
    if (free !== null) throw error;
  }
  return act(true);
}

// --- what is being written ---

export const draft = (me, peer) => read(lasting, of(me, "draft", peer)) ?? { body: "", subject: null };
export const drafted = (me) => [...kept(of(me, "draft"))].map((key) => key.slice(of(me, "draft").length));
export function keepDraft(me, peer, draft) {
  if (draft.body || draft.subject) write(lasting, of(me, "draft", peer), draft);
  else forget(lasting, of(me, "draft", peer));
}

// --- how far one has read ---

/**
 * `base`: everything up to this id was there before this browser; `names`: the last id seen of each;
 * `back`: the ids of messages that came back and were not looked at.
 * @returns {{base: number|null, names: Map<string, number>, back: Map<string, number[]>}}
 */
export function seen(me) {
  const { base = null, names = {}, back = {} } = read(lasting, of(me, "seen")) ?? {};
  // Somebody may be called "constructor": what such a thing is in an object is not what was put there.
  return { base, names: new Map(Object.entries(names)), back: new Map(Object.entries(back)) };
}
export const keepSeen = (me, { base, names, back }) =>
  write(lasting, of(me, "seen"), { base, names: Object.fromEntries(names), back: Object.fromEntries(back) });
export const onSeen = (me, then, signal) => onChange(of(me, "seen"), then, signal);

// --- how one likes it ---

export const wish = (name) => read(lasting, `wish:${name}`);
export const keepWish = (name, value) => write(lasting, `wish:${name}`, value);

/** Forget everything of this account but how far it has read. */
export function leave(me) {
  for (const key of [...kept(of(me, "out")), ...kept(of(me, "draft"))]) forget(lasting, key);
}

/** Forget everything of this account. */
export function erase(me) {
  leave(me);
  forget(lasting, of(me, "seen"));
}
