/* Elements of the document, made and changed in few words. */

export const SVG = "http://www.w3.org/2000/svg";

/**
 * An element with its class and what is in it.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {string} className
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, className = "", ...children) {
  const node = document.createElement(tag);
  node.className = className;
  node.append(...children);
  return node;
}

/**
 * @param {string} name its class, beside that of all buttons
 * @param {string} title
 */
export const button = (name, title) =>
  Object.assign(h("button", `scaler-button ${name}`), { type: /** @type {const} */ ("button"), title });

/**
 * @param {Element} node
 * @param {Record<string, string | number | boolean>} attributes
 */
export function setAttributes(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
}

/**
 * The node itself, with its role.
 *
 * @template {Element} Node
 * @param {Node} node
 * @param {string} role
 * @param {Record<string, string | number | boolean>} attributes
 */
export function setRole(node, role, attributes = {}) {
  setAttributes(node, { role, ...attributes });
  return node;
}

/**
 * Sets only what differs, so that ticks cost nothing and a selection in the text survives.
 *
 * @param {Node} node
 * @param {string} text
 */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Have an element contain these and nothing else. What stays keeps the keyboard's focus, and what somebody presses.
 *
 * @param {Element} node
 * @param {Element[]} children
 */
export function setChildren(node, children) {
  const focused = /** @type {HTMLElement | null} */ (document.activeElement);
  const wanted = new Set(children);
  for (const child of [...node.children]) if (!wanted.has(child)) child.remove();
  for (const [i, child] of children.entries())
    if (node.children[i] !== child) node.insertBefore(child, node.children[i] ?? null);
  if (focused !== document.activeElement && node.contains(focused)) focused?.focus({ preventScroll: true });
}

/**
 * Have an element fade out at its lower edge where there is more of it, and be reached by the keyboard then.
 *
 * @param {HTMLElement} node
 */
export function showWhereItGoesOn(node) {
  const look = () => {
    const hidden = node.scrollHeight - node.clientHeight;
    node.classList.toggle("scaler-goes-on", node.scrollTop < hidden - 4); // pixels that show nothing
    if (hidden > 4 || node.scrollWidth > node.clientWidth) node.tabIndex = 0;
  };
  node.addEventListener("scroll", look);
  node.addEventListener("load", look, true); // a picture in it has come
  const observer = new ResizeObserver(look);
  new MutationObserver(() => {
    observer.disconnect();
    for (const child of [node, ...node.children]) observer.observe(child);
  }).observe(node, { childList: true });
}

/**
 * What is pressed in a view is the view's: an `x` on a button would cut the notebook's cell. Ctrl-S still saves.
 *
 * @param {HTMLElement} root
 */
export function keepKeys(root) {
  root.addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey) event.stopPropagation();
  });
}

/**
 * Keep the keyboard's focus in a view when what has it is disabled or hidden: it goes to the nearest element around
 * that can have it, where browsers would give it to the page.
 *
 * @param {HTMLElement} root of the view
 */
export function keepFocus(root) {
  const unusable = ":disabled, [hidden]";

  /** @param {EventTarget | null} focused what has the focus, or has just lost it to the page */
  function keep(focused) {
    if (!(focused instanceof HTMLElement) || focused === root || !root.contains(focused)) return;
    if (!focused.closest(unusable)) return;
    let around = focused;
    do around = around.parentElement ?? root;
    while (around !== root && (!around.hasAttribute("tabindex") || around.closest(unusable)));
    if (!around.hasAttribute("tabindex")) {
      around.tabIndex = -1; // until then a click beside the buttons leaves the focus where it is
      const leave = () =>
        queueMicrotask(() => {
          // Moved in the page, which puts it back; or another window has the focus.
          if (!root.isConnected || document.activeElement === root) return;
          root.removeAttribute("tabindex");
          root.removeEventListener("blur", leave);
        });
      root.addEventListener("blur", leave);
    }
    around.focus({ preventScroll: true });
  }

  // A browser takes the focus away when it lays out the page, or not at all.
  const observer = new MutationObserver(() => keep(document.activeElement));
  observer.observe(root, { subtree: true, attributeFilter: ["disabled", "hidden"] });
  root.addEventListener("focusout", ({ target, relatedTarget }) => {
    if (!relatedTarget) queueMicrotask(() => document.activeElement === document.body && keep(target));
  });
}

/**
 * Put a text on the clipboard, also in a page that came without encryption.
 *
 * @param {string} text
 */
export async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const box = Object.assign(h("textarea"), { value: text });
  const focused = /** @type {HTMLElement | null} */ (document.activeElement);
  document.body.append(box);
  box.select();
  const copied = document.execCommand("copy");
  box.remove();
  focused?.focus({ preventScroll: true });
  if (!copied) throw new Error("this page may not use the clipboard");
}
