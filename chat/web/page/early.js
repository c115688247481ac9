/** Knocks at the server while the rest of the page is still being loaded, where a login is kept. */

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
