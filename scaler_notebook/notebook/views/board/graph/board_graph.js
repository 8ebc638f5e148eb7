/* The graph of a board: a box for each task, to the right of those whose values it needs. */

import { SVG, h, setAttributes, setRole, setText } from "../../dom.js";
import { drawIcon, makeIcon } from "../../icons.js";
import { amount } from "../../quantities.js";
import { makeFilter } from "../store/board_order.js";
import { KINDS, shareOf, textOf, wordOf } from "../store/board_rows.js";
import { BOX, curve, layOut } from "./board_layout.js";

/**
 * @import { Store } from "../store/board_store.js"
 * @import { Edge, Place } from "./board_layout.js"
 */

const MAX_BOXES = 1000;
const MAX_GRAPH_HEIGHT = 420;

/**
 * @param {Store} store
 * @param {{open: (number: number) => void}} act what a click on a box does
 */
export function makeGraph(store, act) {
  const { rows } = store;
  const lines = document.createElementNS(SVG, "svg");
  setAttributes(lines, { class: "scaler-edges", "aria-hidden": "true" });
  const plane = setRole(h("div", "scaler-plane"), "group", { "aria-label": "tasks, each behind those that it needs" });
  const node = h("div", "scaler-graph", plane);
  /** @type {Edge[] | null} */
  let drawn = null;
  /** @type {ReturnType<typeof layOut> | null} */
  let layout = null;
  /** @type {ReturnType<typeof makeBox>[]} */
  let boxes = [];
  let [room, current] = [0, 0];

  function build() {
    const focused = plane.contains(document.activeElement);
    [drawn, room] = [rows.edges, node.clientWidth];
    boxes = [];
    const count = Math.max(0, ...drawn.flat()) + 1;
    if (count > MAX_BOXES) {
      plane.replaceChildren(h("p", "scaler-hint", `${amount(count)} tasks are too many to draw: see the table.`));
      return;
    }
    layout = layOut(count, drawn, room);
    const { boxes: places, wide, width, height } = layout;
    Object.assign(plane.style, { width: `${width}px`, height: `${height}px` });
    node.style.maxHeight = `${MAX_GRAPH_HEIGHT}px`;
    setAttributes(lines, { width, height });
    lines.replaceChildren(...layout.paths.map((path) => drawEdge(curve(path, wide))));
    boxes = places.map((place, number) => makeBox(place, number, wide));
    current = Math.min(current, count - 1);
    plane.replaceChildren(lines, ...boxes.map((box) => box.button));
    if (focused) boxes[current].button.focus({ preventScroll: true });
  }

  /** @param {string} d */
  function drawEdge(d) {
    const path = document.createElementNS(SVG, "path");
    setAttributes(path, { d });
    return path;
  }

  /**
   * @param {Place} place
   * @param {number} number
   * @param {number} wide
   */
  function makeBox({ x, y }, number, wide) {
    const icon = makeIcon();
    const [name, call] = [h("span", "scaler-node-name"), h("span", "scaler-node-call")];
    const done = h("i", "scaler-node-done");
    const button = h("button", "scaler-node", icon, h("span", "scaler-node-text", name, call), done);
    button.type = "button";
    Object.assign(button.style, { left: `${x}px`, top: `${y}px`, width: `${wide}px`, height: `${BOX.height}px` });
    button.onclick = () => {
      focusOn(number, false);
      act.open(number);
    };
    button.onfocus = () => (current = number);
    return { button, icon, name, call, done, seen: "" };
  }

  function paint() {
    if (!node.clientWidth) return;
    if (drawn !== rows.edges || room !== node.clientWidth) build();
    const fits = makeFilter(rows, store.look);
    /** @type {boolean[]} */
    const dims = [];
    boxes.forEach((box, number) => {
      const kind = rows.kind[number];
      if (kind === undefined) return;
      const share = shareOf(rows, number);
      const dim = (dims[number] = !fits(number));
      const [open, reached] = [store.look.open === number, number === current];
      const seen = [kind, share, dim, rows.note[number], rows.call[number], open, reached].join(" ");
      if (box.seen === seen) return;
      box.seen = seen;
      const call = textOf(rows, "call", number);
      const at = call.indexOf(" = ");
      const note = textOf(rows, "note", number);
      setText(box.name, at < 0 ? call : call.slice(0, at));
      setText(box.call, at < 0 ? "" : call.slice(at + 3));
      drawIcon(box.icon, KINDS[kind]);
      box.button.dataset.kind = KINDS[kind];
      box.button.title = [call, [wordOf(kind), note].filter(Boolean).join(": ")].join("\n");
      box.button.setAttribute("aria-label", `${call}: ${[wordOf(kind), note].filter(Boolean).join(", ")}`);
      box.button.setAttribute("aria-pressed", String(open));
      box.button.tabIndex = reached ? 0 : -1;
      box.button.classList.toggle("scaler-dim", dim);
      box.done.hidden = share === null;
      box.done.style.width = `${100 * (share ?? 0)}%`;
    });
    drawn?.forEach(([from, to], i) => lines.children[i]?.classList.toggle("scaler-dim", dims[from] || dims[to]));
  }

  /** @param {number} number */
  function focusOn(number, move = true) {
    current = number;
    paint();
    if (move) boxes[number].button.focus();
  }

  node.onkeydown = (event) => {
    const here = layout?.boxes[current];
    if (!layout || !here || !boxes.length) return;
    const { boxes: places, layers } = layout;
    const distance = (/** @type {number} */ number) => Math.abs(places[number].y - here.y);
    const nearest = (/** @type {number} */ layer) =>
      layers[layer]?.reduce((best, number) => (distance(number) < distance(best) ? number : best));
    /** @type {Record<string, number | undefined>} */
    const goals = {
      ArrowUp: layers[here.layer][here.row - 1],
      ArrowDown: layers[here.layer][here.row + 1],
      ArrowLeft: nearest(here.layer - 1),
      ArrowRight: nearest(here.layer + 1),
      Home: layers[0][0],
      End: layers.at(-1)?.at(-1),
    };
    if (!(event.key in goals)) return;
    const goal = goals[event.key];
    if (goal !== undefined) focusOn(goal);
    event.preventDefault();
    event.stopPropagation();
  };

  return { node, paint };
}
