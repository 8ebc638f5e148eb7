/* The graph of a board: a box for each task, to the right of those whose values it needs. Continues board_timeline.js. */

const BOX = { height: 34, down: 12, margin: 8 };
const WIDTHS = [112, 168]; // pixels of a box: as wide as there is room for
const MOST_BOXES = 1000;
const MAX_GRAPH_HEIGHT = 420;

/** Where each box is: layers from left to right, within a layer by the middle of what it needs, then of what needs it. */
function layOut(count, edges, room) {
  const [needs, gives] = [Array.from({ length: count }, () => []), Array.from({ length: count }, () => [])];
  for (const [from, to] of edges) {
    needs[to].push(from);
    gives[from].push(to);
  }
  const [layer, left] = [Array(count).fill(0), needs.map((list) => list.length)];
  const queue = left.flatMap((n, i) => (n ? [] : [i]));
  for (const number of queue)
    for (const next of gives[number]) {
      layer[next] = Math.max(layer[next], layer[number] + 1);
      if (!--left[next]) queue.push(next);
    }
  const layers = [];
  for (let i = 0; i < count; i++) (layers[layer[i]] ??= []).push(i);
  const place = Array(count);
  const settle = (list) => list.forEach((number, i) => (place[number] = (i + 0.5) / list.length));
  layers.forEach(settle);
  const byMiddle = (list, neighbours) => {
    const middle = new Map(list.map((number) => [number, mean(neighbours[number].map((n) => place[n]), place[number])]));
    settle(list.sort((a, b) => middle.get(a) - middle.get(b) || a - b));
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
  const boxes = Array(count);
  layers.forEach((list, x) => {
    const top = BOX.margin + ((tallest - list.length) * step) / 2;
    list.forEach((number, y) => {
      boxes[number] = { x: BOX.margin + x * (wide + across), y: top + y * step, layer: x, row: y };
    });
  });
  const width = 2 * BOX.margin + layers.length * (wide + across) - across;
  return { boxes, layers, wide, width, height: 2 * BOX.margin + tallest * step - BOX.down };
}

const mean = (values, otherwise) => (values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : otherwise);

/** `act.open(number)` is what a click on a box does. */
function makeGraph(store, act) {
  const { rows } = store;
  const lines = document.createElementNS(SVG, "svg");
  setAttributes(lines, { class: "scaler-edges", "aria-hidden": "true" });
  const plane = setRole(h("div", "scaler-plane"), "group", { "aria-label": "tasks, each behind those that it needs" });
  const node = h("div", "scaler-graph", plane);
  let [drawn, room, layout, boxes, current] = [null, 0, null, [], 0];

  function build() {
    [drawn, room] = [rows.edges, node.clientWidth];
    boxes = [];
    const count = Math.max(0, ...drawn.flat()) + 1;
    if (count > MOST_BOXES) {
      plane.replaceChildren(h("p", "scaler-hint", `${amount(count)} tasks are too many to draw: see the table.`));
      return;
    }
    layout = layOut(count, drawn, room);
    Object.assign(plane.style, { width: `${layout.width}px`, height: `${layout.height}px` });
    node.style.maxHeight = `${MAX_GRAPH_HEIGHT}px`;
    setAttributes(lines, { width: layout.width, height: layout.height });
    lines.replaceChildren(...drawn.map(drawEdge));
    boxes = layout.boxes.map(makeBox);
    current = Math.min(current, count - 1);
    plane.replaceChildren(lines, ...boxes.map((box) => box.button));
  }

  function drawEdge([from, to]) {
    const [a, b] = [layout.boxes[from], layout.boxes[to]];
    const [x1, y1, x2, y2] = [a.x + layout.wide, a.y + BOX.height / 2, b.x, b.y + BOX.height / 2];
    const bend = Math.max(14, (x2 - x1) / 2);
    const path = document.createElementNS(SVG, "path");
    setAttributes(path, { d: `M${x1},${y1} C${x1 + bend},${y1} ${x2 - bend},${y2} ${x2},${y2}` });
    return path;
  }

  function makeBox({ x, y }, number) {
    const icon = document.createElementNS(SVG, "svg");
    icon.append(document.createElementNS(SVG, "path"));
    setAttributes(icon, { class: "scaler-icon", viewBox: "0 0 16 16", "aria-hidden": "true" });
    const [name, call] = [h("span", "scaler-node-name"), h("span", "scaler-node-call")];
    const done = h("i", "scaler-node-done");
    const button = Object.assign(h("button", "scaler-node", icon, h("span", "scaler-node-text", name, call), done), { type: "button" });
    Object.assign(button.style, { left: `${x}px`, top: `${y}px`, width: `${layout.wide}px`, height: `${BOX.height}px` });
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
      const progress = ended(kind) ? null : rows.progress.get(number);
      const share = progress?.total > 0 ? Math.min(100, (100 * progress.done) / progress.total) : null;
      const dim = store.look.kind !== null && store.look.kind !== kind;
      const seen = `${kind} ${share} ${dim} ${rows.note[number]} ${rows.call[number]} ${store.look.open === number} ${number === current}`;
      if (box.seen === seen) return;
      box.seen = seen;
      const call = textOf(rows, "call", number);
      const at = call.indexOf(" = ");
      const note = textOf(rows, "note", number);
      setText(box.name, at < 0 ? call : call.slice(0, at));
      setText(box.call, at < 0 ? "" : call.slice(at + 3));
      box.icon.firstChild.setAttribute("d", ICONS[KINDS[kind]]);
      box.button.dataset.kind = KINDS[kind];
      box.button.title = [call, [wordOf(kind), note].filter(Boolean).join(": ")].join("\n");
      box.button.setAttribute("aria-label", `${call}: ${[wordOf(kind), note].filter(Boolean).join(", ")}`);
      box.button.setAttribute("aria-pressed", store.look.open === number);
      box.button.tabIndex = number === current ? 0 : -1;
      box.button.classList.toggle("scaler-dim", dim);
      box.done.hidden = share === null;
      box.done.style.width = `${share ?? 0}%`;
    });
  }

  function focusOn(number, move = true) {
    current = number;
    paint();
    if (move) boxes[number].button.focus();
  }

  node.onkeydown = (event) => {
    const here = layout?.boxes[current];
    if (!here || !boxes.length) return;
    const column = (layer) => layout.layers[layer];
    const nearest = (layer) =>
      column(layer)?.reduce((best, number) =>
        Math.abs(layout.boxes[number].y - here.y) < Math.abs(layout.boxes[best].y - here.y) ? number : best);
    const goals = {
      ArrowUp: column(here.layer)[here.row - 1],
      ArrowDown: column(here.layer)[here.row + 1],
      ArrowLeft: nearest(here.layer - 1),
      ArrowRight: nearest(here.layer + 1),
      Home: column(0)[0],
      End: layout.layers.at(-1).at(-1),
    };
    if (!(event.key in goals)) return;
    if (goals[event.key] !== undefined) focusOn(goals[event.key]);
    event.preventDefault();
    event.stopPropagation();
  };

  return { node, paint };
}
