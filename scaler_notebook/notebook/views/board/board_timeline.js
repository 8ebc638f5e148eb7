/* The time line of a board: a lane for each process that runs at a time, a bar for each task. Continues board_table.js. */

const AXIS_HEIGHT = 18;
const LABEL_WIDTH = 58;
const MAX_LINE_HEIGHT = 300;
const NEAR = 3; // pixels beside a bar that still mean it

/**
 * Who ran where: `[{processes, tasks}]`, the tasks of a lane in the order of their start. A process that takes the
 * place of one that was ended goes on in its lane, so that there are as many lanes as tasks that ran at a time.
 */
function makeLanes(rows, now) {
  const started = [];
  for (let i = 0; i < rows.length; i++) if (rows.started[i] !== null) started.push(i);
  started.sort((a, b) => rows.started[a] - rows.started[b]);
  const processes = new Map();
  for (const number of started) {
    const name = textOf(rows, "processor", number);
    const key = name || `task ${number}`; // where it ran is not known: on its own
    const until = ended(rows.kind[number]) ? rows.ended[number] : now;
    const process = processes.get(key);
    if (process) {
      process.tasks.push(number);
      process.until = Math.max(process.until, until);
    } else processes.set(key, { name, from: rows.started[number], until, tasks: [number] });
  }
  const lanes = [];
  for (const process of processes.values()) {
    let lane = lanes.find((lane) => lane.until <= process.from);
    if (!lane) lanes.push((lane = { processes: [], tasks: [] }));
    lane.processes.push(process);
    lane.tasks = lane.tasks.concat(process.tasks);
    lane.until = process.until;
  }
  return lanes;
}

/** Round steps of an axis of so many milliseconds. */
function stepOf(span, count) {
  const least = span / count;
  const rounds = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 3e4, 6e4, 12e4, 3e5, 6e5, 18e5, 36e5];
  return rounds.find((step) => step >= least) ?? Math.ceil(least / 36e5) * 36e5;
}

function sinceText(milliseconds, step) {
  if (step < 1000) return `${+(milliseconds / 1000).toFixed(3)} s`;
  const s = Math.round(milliseconds / 1000);
  if (s < 60 || step < 1000) return `${s} s`;
  const two = (n) => String(n).padStart(2, "0");
  return s < 3600 ? `${Math.floor(s / 60)}:${two(s % 60)}` : `${Math.floor(s / 3600)}:${two(Math.floor((s % 3600) / 60))} h`;
}

/** `act.open(number)` is what a click on a bar does. */
function makeTimeline(store, act) {
  const { rows } = store;
  const canvas = setRole(h("canvas", "scaler-canvas"), "img", { tabindex: 0 });
  const tip = h("div", "scaler-tip");
  const whole = Object.assign(h("button", "scaler-button scaler-whole", "Whole time"), { type: "button" });
  const hint = h("span", "scaler-hint", "drag to look closer");
  const node = h("div", "scaler-timeline", canvas, tip, h("div", "scaler-legend", hint, whole));
  const probes = KINDS.map((kind) => Object.assign(h("i", "scaler-probe")), 0);
  KINDS.forEach((kind, i) => (probes[i].dataset.kind = kind));
  node.append(...probes);
  let [lanes, zoom, drag, geometry] = [[], null, null, null];

  function range() {
    if (zoom) return zoom;
    let [from, to] = [Infinity, -Infinity];
    for (const lane of lanes) {
      from = Math.min(from, rows.started[lane.tasks[0]]);
      to = Math.max(to, lane.until);
    }
    return from < to ? [from, to] : [0, 1000];
  }

  function paint() {
    lanes = makeLanes(rows, store.now());
    const width = node.clientWidth;
    if (!width) return;
    const laneHeight = Math.max(2, Math.min(20, Math.floor(MAX_LINE_HEIGHT / Math.max(1, lanes.length))));
    const height = Math.max(1, lanes.length) * laneHeight + AXIS_HEIGHT;
    const scale = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      Object.assign(canvas, { width: Math.round(width * scale), height: Math.round(height * scale) });
      canvas.style.height = `${height}px`;
    }
    const [from, to] = range();
    const pixels = (width - LABEL_WIDTH - 8) / (to - from);
    geometry = { laneHeight, from, to, pixels, x: (at) => LABEL_WIDTH + (at - from) * pixels };
    const context = canvas.getContext("2d");
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    paintAxis(context, width, height);
    paintBars(context, width);
    if (drag) {
      context.fillStyle = getComputedStyle(node).color;
      context.globalAlpha = 0.15;
      context.fillRect(Math.min(drag.from, drag.to), 0, Math.abs(drag.to - drag.from), height - AXIS_HEIGHT);
      context.globalAlpha = 1;
    }
    whole.hidden = !zoom;
    hint.hidden = Boolean(zoom) || !lanes.length;
    const processes = lanes.reduce((sum, lane) => sum + lane.processes.length, 0);
    const said = `time line: ${rows.length} tasks on ${processes} ${processes === 1 ? "process" : "processes"}`;
    canvas.setAttribute("aria-label", `${said}, ${lanes.length} at a time`);
  }

  function paintAxis(context, width, height) {
    const { from, to, x, laneHeight } = geometry;
    const step = stepOf(to - from, Math.max(2, width / 110));
    const zero = Math.min(...lanes.map((lane) => rows.started[lane.tasks[0]]));
    const style = getComputedStyle(node);
    context.fillStyle = context.strokeStyle = style.color;
    context.font = `11px ${style.fontFamily}`;
    context.textBaseline = "middle";
    for (let at = Math.ceil((from - zero) / step) * step; zero + at <= to; at += step) {
      context.globalAlpha = 0.12;
      context.fillRect(Math.round(x(zero + at)), 0, 1, height - AXIS_HEIGHT);
      context.globalAlpha = 0.7;
      context.textAlign = x(zero + at) > width - 24 ? "right" : at === 0 ? "left" : "center";
      context.fillText(sinceText(at, step), x(zero + at), height - AXIS_HEIGHT / 2 + 1);
    }
    context.textAlign = "right";
    lanes.forEach((lane, i) => {
      const y = i * laneHeight;
      context.globalAlpha = 0.06;
      if (i % 2 === 0) context.fillRect(LABEL_WIDTH, y, width - LABEL_WIDTH, laneHeight);
      context.globalAlpha = 0.7;
      const name = lane.processes.at(-1).name;
      if (laneHeight >= 11) context.fillText(name, LABEL_WIDTH - 6, y + laneHeight / 2 + 1);
    });
    context.globalAlpha = 1;
  }

  function paintBars(context, width) {
    const { from, to, x, laneHeight } = geometry;
    const now = store.now();
    const gap = laneHeight > 6 ? 2 : laneHeight > 3 ? 1 : 0;
    const colours = probes.map((probe) => getComputedStyle(probe).color);
    context.save();
    context.beginPath();
    context.rect(LABEL_WIDTH, 0, width - LABEL_WIDTH, lanes.length * laneHeight);
    context.clip();
    KINDS.forEach((_, kind) => {
      context.fillStyle = colours[kind];
      lanes.forEach((lane, i) => {
        for (const number of lane.tasks) {
          if (rows.kind[number] !== kind) continue;
          const [start, end] = [rows.started[number], ended(kind) ? rows.ended[number] : now];
          if (end < from || start > to) continue;
          const [left, right] = [x(start), x(end)];
          const { open, kind: wanted } = store.look;
          context.globalAlpha = number === open ? 1 : wanted !== null && wanted !== kind ? 0.15 : 0.78;
          const size = right - left;
          context.fillRect(left, i * laneHeight + gap / 2, Math.max(1, size > 3 ? size - 1 : size), laneHeight - gap);
        }
      });
    });
    context.restore();
  }

  /** The task at a place on the canvas, or null. */
  function taskAt(event) {
    if (!geometry) return null;
    const box = canvas.getBoundingClientRect();
    const [left, top] = [event.clientX - box.left, event.clientY - box.top];
    const lane = lanes[Math.floor(top / geometry.laneHeight)];
    if (!lane || left < LABEL_WIDTH) return null;
    const at = geometry.from + (left - LABEL_WIDTH) / geometry.pixels;
    const now = store.now();
    let [best, distance] = [null, NEAR / geometry.pixels];
    for (const number of lane.tasks) {
      const [start, end] = [rows.started[number], ended(rows.kind[number]) ? rows.ended[number] : now];
      const away = Math.max(start - at, at - end, 0);
      if (away <= distance) [best, distance] = [number, away];
    }
    return best;
  }

  function point(event) {
    const box = canvas.getBoundingClientRect();
    if (drag) {
      drag.to = Math.min(box.width - 8, Math.max(LABEL_WIDTH, event.clientX - box.left));
      tip.hidden = true;
      paint();
      return;
    }
    const number = taskAt(event);
    canvas.style.cursor = number === null ? "default" : "pointer";
    tip.hidden = number === null;
    if (number === null) return;
    const kind = rows.kind[number];
    const ran = duration(ranFor(rows, number, store.now()) / 1000, ended(kind));
    const process = textOf(rows, "processor", number);
    const facts = [wordOf(kind), ran, process && `process ${process}`, textOf(rows, "note", number)];
    tip.replaceChildren(h("code", "", textOf(rows, "call", number)), h("div", "", facts.filter(Boolean).join(" · ")));
    const left = Math.min(event.clientX - box.left + 12, box.width - tip.offsetWidth - 4);
    const below = event.clientY - box.top + 16;
    Object.assign(tip.style, { left: `${Math.max(0, left)}px`, top: `${below}px` });
  }

  function zoomTo(from, to) {
    zoom = to - from > 1 ? [from, to] : zoom;
    paint();
  }

  canvas.onpointerdown = (event) => {
    const left = event.clientX - canvas.getBoundingClientRect().left;
    if (event.button || left < LABEL_WIDTH) return;
    drag = { from: left, to: left };
    canvas.setPointerCapture(event.pointerId);
  };
  canvas.onpointermove = point;
  canvas.onpointerleave = () => (tip.hidden = true);
  canvas.onpointerup = (event) => {
    const dragged = drag;
    drag = null;
    if (!dragged) return;
    const [a, b] = [Math.min(dragged.from, dragged.to), Math.max(dragged.from, dragged.to)];
    if (b - a > 4) {
      const at = (left) => geometry.from + (left - LABEL_WIDTH) / geometry.pixels;
      zoomTo(at(a), at(b));
    } else {
      const number = taskAt(event);
      if (number !== null) act.open(number);
      paint();
    }
  };
  canvas.onpointercancel = () => (drag = null);
  canvas.ondblclick = whole.onclick = () => {
    zoom = null;
    paint();
  };
  canvas.onkeydown = (event) => {
    const [from, to] = range();
    const [span, middle] = [to - from, (from + to) / 2];
    const moves = {
      ArrowLeft: () => zoomTo(from - span / 5, to - span / 5),
      ArrowRight: () => zoomTo(from + span / 5, to + span / 5),
      "+": () => zoomTo(middle - span / 4, middle + span / 4),
      "-": () => zoomTo(middle - span, middle + span),
      0: whole.onclick,
    };
    if (!(event.key in moves)) return;
    moves[event.key]();
    event.preventDefault();
    event.stopPropagation();
  };
  tip.hidden = true;

  return { node, paint };
}
