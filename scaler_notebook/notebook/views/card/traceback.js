/* The traceback of a task that failed. */

import { h } from "../dom.js";
import { withLink } from "../page/cells.js";
import { fill, terminalLines } from "../terminal.js";

/**
 * @import { Row } from "../messages.js"
 * @import { Run } from "../terminal.js"
 */

/**
 * Draw a traceback in an element: the frames of libraries are folded, and each place in the notebook is a link.
 *
 * @param {HTMLElement} node
 * @param {Row} row
 * @param {Element} view that shows it
 */
export function paintTraceback(node, row, view) {
  const lines = terminalLines(row.traceback ?? "");
  const block = (/** @type {Run[][]} */ some) => h("pre", "", ...some.map((line) => drawLine(line, view)));
  let shown = 0;
  node.replaceChildren();
  for (const [from, to, frames] of row.folds) {
    if (from > shown) node.append(block(lines.slice(shown, from)));
    const title = `… ${frames} ${frames === 1 ? "frame" : "frames"} of libraries`;
    node.append(h("details", "scaler-library", h("summary", "", title), block(lines.slice(from, to))));
    shown = to;
  }
  node.append(block(lines.slice(shown)));
}

/**
 * @param {Run[]} line
 * @param {Element} view
 */
function drawLine(line, view) {
  const linked = withLink(line.map((run) => run.text).join(""), view);
  if (linked.length > 1) return h("span", "", ...linked, "\n");
  const node = h("span");
  fill(node, [line, []]);
  return node;
}
