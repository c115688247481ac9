/** Making and changing elements. Text is only ever set as text, never as markup. */

/** The element of the page with this id. */
export const $ = (id) => document.getElementById(id);

/**
 * A new element.
 * @param {string} spec its name and classes, such as "li" or "span.fate.waiting"
 * @param {Object<string, any>} [props] properties; names with a hyphen, and role, are attributes
 * @param {...(Node|string|null|undefined)} kids
 */
export function el(spec, props = {}, ...kids) {
  const [name, ...classes] = spec.split(".");
  const node = document.createElement(name);
  if (classes.length) node.className = classes.join(" ");
  for (const [key, value] of Object.entries(props)) {
    if (value == null) continue;
    if (key.includes("-") || key === "role") node.setAttribute(key, value);
    else node[key] = value;
  }
  node.append(...kids.filter((kid) => kid != null));
  return node;
}

/** One of the pictures that index.html defines; the words beside it say the same. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

/**
 * Make the children of `parent` those of these items, in order, touching only what has changed.
 * @template T
 * @param {Element} parent
 * @param {T[]} items
 * @param {(item: T) => string} key the same for what is the same thing
 * @param {(item: T) => string} version another one when it is to be drawn anew
 * @param {(item: T) => HTMLElement} make
 */
export function sync(parent, items, key, version, make) {
  const old = new Map();
  for (const child of parent.children) old.set(child.dataset.key, child);
  let at = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    const drawn = version(item);
    let node = old.get(name);
    old.delete(name);
    if (!node || node.dataset.version !== drawn) {
      const fresh = make(item);
      fresh.dataset.key = name;
      fresh.dataset.version = drawn;
      if (node) {
        if (node === at) at = fresh;
        replace(node, fresh);
      }
      node = fresh;
    }
    if (node === at) at = at.nextElementSibling;
    else parent.insertBefore(node, at);
  }
  for (const node of old.values()) node.remove();
}

/** Put one element in the place of another, and the focus on what it was on. */
function replace(node, fresh) {
  const focused = node.contains(document.activeElement) ? document.activeElement : null;
  const act = focused?.dataset.act;
  node.replaceWith(fresh);
  if (focused) (fresh.querySelector(`[data-act="${act}"]`) ?? fresh).focus({ preventScroll: true });
}

/** Do what a button is for, once at a time; the focus stays on it. @returns {Promise<boolean>} whether it was done */
export async function busy(button, act) {
  if (button.getAttribute("aria-disabled")) return false;
  button.setAttribute("aria-disabled", "true");
  button.classList.add("busy");
  try {
    await act();
  } finally {
    button.classList.remove("busy");
    button.removeAttribute("aria-disabled");
  }
  return true;
}

/**
 * Ask something that can be declined, in a dialog.
 * @param {string} [no] what declining is called
 * @returns {Promise<boolean>}
 */
export function ask(title, text, yes, danger = false, no = "Cancel") {
  const dialog = $("ask");
  $("ask-title").textContent = title;
  $("ask-text").textContent = text;
  $("ask-no").textContent = no;
  $("ask-yes").textContent = yes;
  $("ask-yes").className = danger ? "danger" : "primary";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(dialog.returnValue === "yes");
  });
}

/** Whether a key is one for the input method, which puts letters together; Safari says so by a number only. */
export const composes = (event) => event.isComposing || event.keyCode === 229;

/** Do this when the next frame has been painted, however often this is called before. */
export function afterwards(act) {
  let due = false;
  const now = () => {
    due = false;
    act();
  };
  return () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => setTimeout(now));
  };
}

/** Draw soon, however often this is called before: with the next frame, and in a hidden tab without one. */
export function soon(draw) {
  let due = false;
  const now = () => {
    try {
      if (due) draw();
    } finally {
      due = false; // and if that failed, something else may be drawn
    }
  };
  return () => {
    if (due) return;
    due = true;
    if (document.hidden) setTimeout(now, 50);
    else {
      requestAnimationFrame(now);
      setTimeout(now, 250); // a window that nobody sees gets no frames
    }
  };
}
