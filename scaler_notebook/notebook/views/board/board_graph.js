/* The graph of a board: a box for each task, to the right of those whose values it needs. */

import { SVG, h, setAttributes, setRole, setText } from "../dom.js";
import { drawIcon, makeIcon } from "../icons.js";
import { amount } from "../quantities.js";
import { KINDS, shareOf, textOf, wordOf } from "./board_rows.js";

/**
 * @import { Store } from "./board_store.js"
 *
 * @typedef {[from: number, to: number]} Edge
 * @typedef {{x: number, y: number, layer: number, row: number}} Place
 */

const BOX = { height: 34, down: 12, margin: 8 };
const WIDTHS = [112, 168]; // pixels of a box: as wide as there is room for
const MOST_BOXES = 1000;
const MAX_GRAPH_HEIGHT = 420;

/**
 * Where each box is: layers from left to right, within a layer by the middle of what it needs, then of what needs it.
 *
 * @param {number} count of boxes
 * @param {Edge[]} edges
 * @param {number} room pixels from left to right
 */
function layOut(count, edges, room) {
  const lists = () => Array.from({ length: count }, () => /** @type {number[]} */ ([]));
  const [needs, gives] = [lists(), lists()];
  for (const [from, to] of edges) {
    needs[to].push(from);
    gives[from].push(to);
  }
  const layer = /** @type {number[]} */ (Array(count).fill(0));
  const left = needs.map((list) => list.length);
  const queue = left.flatMap((n, i) => (n ? [] : [i]));
  for (const number of queue)
    for (const next of gives[number]) {
      layer[next] = Math.max(layer[next], layer[number] + 1);
      if (!--left[next]) queue.push(next);
    }
  /** @type {number[][]} */
  const layers = [];
  for (let i = 0; i < count; i++) (layers[layer[i]] ??= []).push(i);
  const place = /** @type {number[]} */ (Array(count));
  const settle = (/** @type {number[]} */ list) =>
    list.forEach((number, i) => (place[number] = (i + 0.5) / list.length));
  layers.forEach(settle);
  const byMiddle = (/** @type {number[]} */ list, /** @type {number[][]} */ neighbours) => {
    /** @type {number[]} */
    const middle = [];
    for (const number of list) middle[number] = mean(neighbours[number].map((n) => place[n]), place[number]);
    settle(list.sort((a, b) => middle[a] - middle[b] || a - b));
  };
  for (let sweep = 0; sweep < 2; sweep++) {
    layers.forEach((list) => byMiddle(list, needs));
    [...layers].reverse().forEach((list) => byMiddle(list, gives));
  }
  const across = room / layers.length > WIDTHS[1] + 32 ? 52 : 32;
  const share = (room - 2 * BOX.margin + across) / layers.length - across;
  const wide = Math.round(Math.min(WIDTHS[1], Math.max(WIDTHS[0], share)));
  const tallest = Math.max(0, ...layers.map((list) => list.length));
  const step = BOX.height + BOX.down;
  const boxes = /** @type {Place[]} */ (Array(count));
  layers.forEach((list, x) => {
    const top = BOX.margin + ((tallest - list.length) * step) / 2;
    list.forEach((number, y) => {
      boxes[number] = { x: BOX.margin + x * (wide + across), y: top + y * step, layer: x, row: y };
    });
  });
  const width = 2 * BOX.margin + layers.length * (wide + across) - across;
  return { boxes, layers, wide, width, height: 2 * BOX.margin + tallest * step - BOX.down };
}

/**
 * @param {number[]} values
 * @param {number} otherwise if there are none
 */
const mean = (values, otherwise) =>
  values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : otherwise;

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
    [drawn, room] = [rows.edges, node.clientWidth];
    boxes = [];
    const count = Math.max(0, ...drawn.flat()) + 1;
    if (count > MOST_BOXES) {
      plane.replaceChildren(h("p", "scaler-hint", `${amount(count)} tasks are too many to draw: see the table.`));
      return;
    }
    layout = layOut(count, drawn, room);
    const { boxes: places, wide, width, height } = layout;
    Object.assign(plane.style, { width: `${width}px`, height: `${height}px` });
    node.style.maxHeight = `${MAX_GRAPH_HEIGHT}px`;
    setAttributes(lines, { width, height });
    lines.replaceChildren(...drawn.map(([from, to]) => drawEdge(places[from], places[to], wide)));
    boxes = places.map((place, number) => makeBox(place, number, wide));
    current = Math.min(current, count - 1);
    plane.replaceChildren(lines, ...boxes.map((box) => box.button));
  }

  /**
   * @param {Place} a
   * @param {Place} b
   * @param {number} wide
   */
  function drawEdge(a, b, wide) {
    const [x1, y1, x2, y2] = [a.x + wide, a.y + BOX.height / 2, b.x, b.y + BOX.height / 2];
    const bend = Math.max(14, (x2 - x1) / 2);
    const path = document.createElementNS(SVG, "path");
    setAttributes(path, { d: `M${x1},${y1} C${x1 + bend},${y1} ${x2 - bend},${y2} ${x2},${y2}` });
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
    boxes.forEach((box, number) => {
      const kind = rows.kind[number];
      if (kind === undefined) return;
      const share = shareOf(rows, number);
      const dim = store.look.kind !== null && store.look.kind !== kind;
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
