/** Knocks at the server before the rest of the page runs, where a login is kept. */

import { comeBack } from "./entrance.js";
import { login } from "./keep.js";

const kept = login();
let coming = kept?.token ? comeBack(kept.name, kept.token) : null;
coming?.catch(() => {}); // whoever takes it is told

/** What came of it, for the first who asks. @returns {ReturnType<comeBack>|null} */
export function early() {
  const taken = coming;
  coming = null;
  return taken;
}
