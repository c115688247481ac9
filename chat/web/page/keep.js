/**
 * What the browser keeps: the login, what is not sent yet, drafts, and how far one has read.
 *
 * Everything is under the page's own address, so that several servers below one host do not mix.
 * Where a browser keeps nothing (a private window may not), it lasts as long as the page.
 */

const HERE = `chat:${location.pathname.replace(/[^/]*$/, "")}:`;

/** A Storage that is there, or what looks like one. */
function storage(name) {
  try {
    const found = window[name];
    found.getItem(HERE); // where it is forbidden, one or the other fails
    return found;
  } catch {
    return new Proxy(
      {
        getItem: (key) => memory.get(key) ?? null,
        setItem: (key, value) => memory.set(key, value),
        removeItem: (key) => memory.delete(key),
      },
      {
        ownKeys: () => [...memory.keys()],
        getOwnPropertyDescriptor: () => ({ enumerable: true, configurable: true }),
      },
    );
  }
}

const memory = new Map();
const lasting = storage("localStorage");
const passing = storage("sessionStorage");

function read(store, key) {
  try {
    return JSON.parse(store.getItem(HERE + key));
  } catch {
    return null; // somebody else's, or of another version
  }
}

const write = (store, key, value) => store.setItem(HERE + key, JSON.stringify(value));
const forget = (store, key) => store.removeItem(HERE + key);

/** The key of something of an account; no name is the beginning of another one's key. */
const of = (me, what, name = "") => `${what}:${encodeURIComponent(me)}:${name}`;

/** The keys of what is kept, of those that begin so. */
function* kept(beginning) {
  const whole = HERE + beginning;
  for (const key of Object.keys(lasting)) if (key.startsWith(whole)) yield key.slice(HERE.length);
}

/** What the tabs with the same storage tell each other by, where the browser has that. */
export const channel = () => (window.BroadcastChannel ? new BroadcastChannel(HERE) : null);

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

export function forgetLogin() {
  if (read(passing, "login")) forget(passing, "login");
  else forget(lasting, "login");
}

// --- what is not sent yet: one entry each, so that two tabs do not undo each other's ---

export const outgoing = (me) => [...kept(of(me, "out"))].map((key) => read(lasting, key)).filter(Boolean);
/** @throws when there is no room for it. */
export const keepOutgoing = (me, entry) => write(lasting, of(me, "out", entry.ref), entry);
export const isOutgoing = (me, ref) => read(lasting, of(me, "out", ref)) !== null;
export const forgetOutgoing = (me, ref) => forget(lasting, of(me, "out", ref));
export const onOutgoing = (me, then, signal) => onChange(of(me, "out"), then, signal);

/**
 * Do this while no other tab does anything with the same message that is not sent yet. Only pages with a secure
 * address have such locks (https, and this machine); without them it is simply done.
 * @param {(free: boolean) => Promise<T>|T} act `free`: false if another tab has it and it was not to be waited for
 * @returns {Promise<T>}
 * @template T
 */
export function alone(me, ref, wait, act) {
  if (!navigator.locks) return Promise.resolve(act(true));
  return navigator.locks.request(HERE + of(me, "out", ref), { ifAvailable: !wait }, (lock) => act(lock !== null));
}

// --- what is being written ---

export const draft = (me, peer) => read(lasting, of(me, "draft", peer)) ?? { body: "", subject: null };
export const drafted = (me) => [...kept(of(me, "draft"))].map((key) => key.slice(of(me, "draft").length));
export function keepDraft(me, peer, draft) {
  try {
    if (draft.body || draft.subject) write(lasting, of(me, "draft", peer), draft);
    else forget(lasting, of(me, "draft", peer));
  } catch {
    // No room: it is still in the window.
  }
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
export function keepSeen(me, { base, names, back }) {
  try {
    write(lasting, of(me, "seen"), { base, names: Object.fromEntries(names), back: Object.fromEntries(back) });
  } catch {
    // No room: it is counted as unread again.
  }
}
export const onSeen = (me, then, signal) => onChange(of(me, "seen"), then, signal);

// --- how one likes it ---

export const wish = (name) => read(lasting, `wish:${name}`);
export function keepWish(name, value) {
  try {
    write(lasting, `wish:${name}`, value);
  } catch {
    // It lasts until the page is left.
  }
}

/** Forget everything of this account but how far it has read. */
export function leave(me) {
  for (const key of [...kept(of(me, "out")), ...kept(of(me, "draft"))]) forget(lasting, key);
}

/** Forget everything of this account. */
export function erase(me) {
  leave(me);
  forget(lasting, of(me, "seen"));
}
