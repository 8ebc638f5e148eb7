/* The layout of a board's graph: layers of boxes from left to right, and edges that run around boxes. */

/**
 * @typedef {[from: number, to: number]} Edge
 * @typedef {{x: number, y: number, layer: number, row: number}} Place
 * @typedef {{x: number, y: number}} Point
 */

export const BOX = { height: 34, down: 12, margin: 8 };
const WIDTHS = [112, 168]; // pixels of a box: as wide as there is room for
const LANE = 16; // pixels of an edge that passes a layer
const MAX_PASSES = 5000; // where edges pass layers; beyond, they go straight through

/**
 * How deep each task is below those that it needs.
 *
 * @param {number} count of tasks
 * @param {Edge[]} edges
 */
function layersOf(count, edges) {
  const { needs, gives } = neighboursOf(count, edges);
  const layer = /** @type {number[]} */ (Array(count).fill(0));
  const left = needs.map((list) => list.length);
  const queue = left.flatMap((n, i) => (n ? [] : [i]));
  for (const number of queue)
    for (const next of gives[number]) {
      layer[next] = Math.max(layer[next], layer[number] + 1);
      if (!--left[next]) queue.push(next);
    }
  return layer;
}

/**
 * @param {number} count
 * @param {Edge[]} edges
 */
function neighboursOf(count, edges) {
  const lists = () => Array.from({ length: count }, () => /** @type {number[]} */ ([]));
  const [needs, gives] = [lists(), lists()];
  for (const [from, to] of edges) {
    needs[to].push(from);
    gives[from].push(to);
  }
  return { needs, gives };
}

/**
 * The way of each edge: its tasks, and between them a number beyond all tasks' for each layer that it passes.
 *
 * @param {Edge[]} edges
 * @param {number[]} layer of each task; those of the numbers beyond are added
 */
function waysOf(edges, layer) {
  const passes = edges.reduce((sum, [from, to]) => sum + layer[to] - layer[from] - 1, 0);
  return edges.map(([from, to]) => {
    const way = [from];
    if (passes <= MAX_PASSES)
      for (let x = layer[from] + 1; x < layer[to]; x++) way.push(layer.push(x) - 1);
    return [...way, to];
  });
}

/**
 * Within a layer everything stands by the middle of what is before it, then of what is behind it.
 *
 * @param {number[]} layer of everything
 * @param {number[][]} ways
 */
function orderLayers(layer, ways) {
  const steps = ways.flatMap((way) => way.slice(1).map((to, i) => /** @type {Edge} */ ([way[i], to])));
  const { needs, gives } = neighboursOf(layer.length, steps);
  /** @type {number[][]} */
  const layers = [];
  layer.forEach((x, number) => (layers[x] ??= []).push(number));
  const place = /** @type {number[]} */ (Array(layer.length));
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
  return layers;
}

/**
 * Where each box is, and where each edge runs.
 *
 * @param {number} count of boxes
 * @param {Edge[]} edges
 * @param {number} room pixels from left to right
 */
export function layOut(count, edges, room) {
  const layer = layersOf(count, edges);
  const ways = waysOf(edges, layer);
  const ordered = orderLayers(layer, ways);
  const across = room / ordered.length > WIDTHS[1] + 32 ? 52 : 32;
  const share = (room - 2 * BOX.margin + across) / ordered.length - across;
  const wide = Math.round(Math.min(WIDTHS[1], Math.max(WIDTHS[0], share)));
  const heightOf = (/** @type {number} */ number) => (number < count ? BOX.height + BOX.down : LANE);
  const heights = ordered.map((list) => list.reduce((sum, number) => sum + heightOf(number), 0));
  const tallest = Math.max(BOX.height + BOX.down, ...heights);
  const boxes = /** @type {Place[]} */ (Array(count));
  /** @type {Point[]} the middle of the left edge of everything */
  const doors = [];
  ordered.forEach((list, x) => {
    let y = BOX.margin + (tallest - heights[x]) / 2;
    const left = BOX.margin + x * (wide + across);
    let row = 0;
    for (const number of list) {
      const isBox = number < count;
      if (isBox) boxes[number] = { x: left, y, layer: x, row: row++ };
      doors[number] = { x: left, y: y + (isBox ? BOX.height : LANE) / 2 };
      y += heightOf(number);
    }
  });
  const layers = ordered.map((list) => list.filter((number) => number < count));
  const width = 2 * BOX.margin + ordered.length * (wide + across) - across;
  const paths = ways.map((way) => way.map((number) => doors[number]));
  return { boxes, layers, paths, wide, width, height: 2 * BOX.margin + tallest - BOX.down };
}

/**
 * @param {number[]} values
 * @param {number} otherwise if there are none
 */
const mean = (values, otherwise) =>
  values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : otherwise;

/**
 * The form of an edge, as SVG has it: curves between layers, straight past the boxes of one.
 *
 * @param {Point[]} path
 * @param {number} wide pixels of a box
 */
export function curve(path, wide) {
  let text = `M${path[0].x + wide},${path[0].y}`;
  for (let i = 1; i < path.length; i++) {
    const [x1, x2] = [path[i - 1].x + wide, path[i].x];
    const bend = Math.max(14, (x2 - x1) / 2);
    text += ` C${x1 + bend},${path[i - 1].y} ${x2 - bend},${path[i].y} ${x2},${path[i].y}`;
    if (i < path.length - 1) text += ` h${wide}`;
  }
  return text;
}
