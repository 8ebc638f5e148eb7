/* What a row of a table says of the tasks below it, and what folds them away. */

import { h, setText } from "../../dom.js";
import { amount } from "../../quantities.js";
import { countBelow, depthOf, isUnfolded, otherNumber } from "../store/board_nested.js";

/** @import { Store } from "../store/board_store.js" */

const INDENT = 14; // pixels for each task above
const PADDING = 6;

/** @returns {HTMLButtonElement} */
export const makeFold = () =>
  Object.assign(h("button", "scaler-fold"), { type: /** @type {const} */ ("button"), tabIndex: -1 });

/**
 * @param {Store} store
 * @param {() => void} changed called when rows are folded, or shown
 */
export function makeFolds({ nested, look }, changed) {
  let counts = countBelow(nested);
  const isOpen = (/** @type {number} */ entry) => isUnfolded(look, entry, counts.get(entry) ?? 0);

  /** @param {number} entry of the order */
  function turn(entry, unfolded = !isOpen(entry)) {
    look.folds.set(entry, unfolded);
    changed();
  }

  /**
   * @param {{node: HTMLElement, fold: HTMLElement, cell: HTMLElement}} parts of a row
   * @param {number} entry of the order: what the row shows
   */
  function paint({ node, fold, cell }, entry) {
    const depth = entry < 0 ? depthOf(nested, otherNumber(entry)) : 0;
    const count = counts.get(entry) ?? 0;
    const omitted = nested.omitted.get(entry);
    const words = `${amount(count)} that it has submitted${omitted ? `, ${amount(omitted)} of them not listed` : ""}`;
    cell.style.paddingLeft = depth ? `${PADDING + depth * INDENT}px` : "";
    fold.hidden = !count;
    setText(fold, count ? `${isOpen(entry) ? "▾" : "▸"} ${amount(count)}` : "");
    fold.title = count ? words : "";
    fold.setAttribute("aria-label", `${isOpen(entry) ? "fold" : "show"} ${words}`);
    setOrRemove(node, "aria-level", nested.length ? String(depth + 1) : null);
    setOrRemove(node, "aria-expanded", count ? String(isOpen(entry)) : null);
  }

  return {
    /** Count anew. */
    look: () => (counts = countBelow(nested)),
    has: (/** @type {number} */ entry) => counts.has(entry),
    isOpen,
    turn,
    paint,
  };
}

/**
 * @param {Element} node
 * @param {string} name
 * @param {string | null} value null for none
 */
function setOrRemove(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else node.setAttribute(name, value);
}
