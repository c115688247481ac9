/** The ways in: each is a conversation with the server on a line of its own, up to the welcome. */

import { Gone, Line, Refused } from "./line.js";

/** There is no account of this name, and it can be had. */
export class Unknown extends Error {}
/** The name cannot be had: it is taken, or only those who are invited may sign up. */
export class Taken extends Error {}

/** The account was made, but could not be entered. */
export class Made extends Error {
  constructor({ username, recovery = [] }) {
    super(username);
    this.username = username;
    this.codes = recovery;
  }
}

/** Do this on a new line, which is hung up when it comes to nothing. */
async function on(conversation) {
  const line = new Line();
  try {
    await prompt(line, "version");
    await prompt(line, "username");
    return await conversation(line);
  } catch (error) {
    line.hangUp();
    throw error;
  }
}

/** The next frame, which is one of these. */
async function prompt(line, ...words) {
  const frame = await line.next();
  if (words.includes(frame.keyword)) return frame;
  if (frame.keyword === "failed") throw new Refused(frame);
  throw new Gone();
}

const answer = (line, field, value, more) => line.say("login", { field, value, ...more });

/**
 * Log in.
 * @returns {Promise<{line: Line, welcome: {username: string, waiting: number}}>}
 * @throws {Unknown} there is no such account
 */
export function logIn(name, password) {
  return on(async (line) => {
    answer(line, "username", name);
    if ((await prompt(line, "password", "new-password")).keyword === "new-password") throw new Unknown();
    answer(line, "password", password);
    return { line, welcome: await prompt(line, "welcome") };
  });
}

/** Log in again, by what was given to this browser. */
export function comeBack(name, token) {
  return on(async (line) => {
    answer(line, "username", name);
    answer(line, "token", token); // at once: a token never makes an account
    await prompt(line, "password", "new-password");
    return { line, welcome: await prompt(line, "welcome") };
  });
}

/**
 * Make an account and log in.
 * @returns {Promise<{line: Line, welcome: object, codes: string[]}>}
 * @throws {Taken|Made}
 */
export function signUp(name, password, invite) {
  return on(async (line) => {
    if (invite) {
      answer(line, "invite", invite);
      await prompt(line, "username");
    }
    answer(line, "username", name);
    if ((await prompt(line, "password", "new-password")).keyword === "password") throw new Taken();
    answer(line, "password", password, { codes: true });
    const created = await prompt(line, "created");
    try {
      await prompt(line, "username");
      answer(line, "username", created.username);
      await prompt(line, "password");
      answer(line, "password", password);
      return { line, welcome: await prompt(line, "welcome"), codes: created.recovery ?? [] };
    } catch {
      throw new Made(created);
    }
  });
}

/** Choose a new password by a recovery code, and log in with it. */
export function recover(name, code, password) {
  return on(async (line) => {
    answer(line, "username", name);
    await prompt(line, "password", "new-password");
    answer(line, "recovery", code);
    await prompt(line, "new-password");
    answer(line, "password", password);
    await prompt(line, "password-changed");
    await prompt(line, "username");
    answer(line, "username", name);
    await prompt(line, "password");
    answer(line, "password", password);
    return { line, welcome: await prompt(line, "welcome") };
  });
}
