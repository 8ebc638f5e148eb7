/* The icons of a task's states. */

import { SVG, setAttributes } from "./dom.js";

/** @import { Kind } from "./messages.js" */

/**
 * Strokes in a 16 × 16 box; badges.py has the same ones for saved notebooks.
 *
 * @type {Record<Kind, string>}
 */
export const ICONS = {
  queued: "M8 2a6 6 0 1 0 0 12a6 6 0 1 0 0-12M8 4.8V8l2.2 1.5",
  running: "M8 2a6 6 0 1 0 6 6",
  cancelling: "M8 2a6 6 0 1 0 0 12a6 6 0 1 0 0-12M6.4 6.4h3.2v3.2H6.4z",
  done: "M8 2a6 6 0 1 0 0 12a6 6 0 1 0 0-12M5.4 8.2l1.8 1.8 3.4-3.8",
  failed: "M8 2a6 6 0 1 0 0 12a6 6 0 1 0 0-12M6 6l4 4M10 6l-4 4",
  cancelled: "M8 2a6 6 0 1 0 0 12a6 6 0 1 0 0-12M3.8 3.8l8.4 8.4",
  lost: "M8 2a6 6 0 1 0 0 12a6 6 0 1 0 0-12M8 4.8V8.6M8 10.6v.6",
};

/** An icon without strokes yet. */
export function makeIcon() {
  const icon = document.createElementNS(SVG, "svg");
  icon.append(document.createElementNS(SVG, "path"));
  setAttributes(icon, { class: "scaler-icon", viewBox: "0 0 16 16", "aria-hidden": "true" });
  return icon;
}

/**
 * @param {Element} icon
 * @param {Kind} kind
 */
export function drawIcon(icon, kind) {
  icon.firstElementChild?.setAttribute("d", ICONS[kind] ?? ICONS.queued);
}
