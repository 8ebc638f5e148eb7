/* The time line of a board: a lane for each process that runs at a time, a bar for each task. */

import { h, setRole, setText } from "../../dom.js";
import { amount, duration, twoDigits } from "../../quantities.js";
import { KINDS, endOf, ended, ranFor, textOf, wordOf } from "../store/board_rows.js";
import { makeLanes, startOf } from "./board_lanes.js";
import { loadOf, mostOf, paintLoad } from "./board_load.js";

/**
 * @import { Store } from "../store/board_store.js"
 * @import { Lane } from "./board_lanes.js"
 * @import { Load } from "./board_load.js"
 *
 * @typedef {object} Geometry where the time from `from` to `to` is drawn
 * @property {number} laneHeight
 * @property {number} from
 * @property {number} to
 * @property {number} pixels of a millisecond
 * @property {(at: number) => number} x
 */

const AXIS_HEIGHT = 18;
const LABEL_WIDTH = 58;
const MARGIN = 8; // pixels to the right
const MAX_LINE_HEIGHT = 300;
const LOAD_HEIGHT = 48;
const LOAD_GAP = 6; // pixels above and below it
const LEAST_NAMED = 11; // pixels of a lane whose process can be named beside it
const NEAR = 3; // pixels beside a bar that still mean it

/**
 * The step of an axis, round.
 *
 * @param {number} span milliseconds of the axis
 * @param {number} count of its steps, at most
 */
function stepOf(span, count) {
  const least = span / count;
  const rounds = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 3e4, 6e4, 12e4, 3e5, 6e5, 18e5, 36e5];
  return rounds.find((step) => step >= least) ?? Math.ceil(least / 36e5) * 36e5;
}

/**
 * @param {number} milliseconds
 * @param {number} step of the axis
 */
function sinceText(milliseconds, step) {
  if (step < 1000) return `${+(milliseconds / 1000).toFixed(3)} s`;
  const s = Math.round(milliseconds / 1000);
  if (s < 60) return `${s} s`;
  const [minutes, hours] = [Math.floor(s / 60), Math.floor(s / 3600)];
  return s < 3600 ? `${minutes}:${twoDigits(s % 60)}` : `${hours}:${twoDigits(minutes % 60)} h`;
}

/** @param {string} kind */
function makeProbe(kind) {
  const probe = h("i", "scaler-probe");
  probe.dataset.kind = kind;
  return probe;
}

/**
 * @param {Store} store
 * @param {{open: (number: number) => void}} act what a click on a bar does
 */
export function makeTimeline(store, act) {
  const { rows } = store;
  const canvas = setRole(h("canvas", "scaler-canvas"), "img", { tabindex: 0 });
  const tip = h("div", "scaler-tip");
  const whole = Object.assign(h("button", "scaler-button scaler-whole", "Whole time"), {
    type: /** @type {const} */ ("button"),
  });
  const hint = h("span", "scaler-hint");
  const node = h("div", "scaler-timeline", canvas, tip, h("div", "scaler-legend", hint, whole));
  const probes = KINDS.map(makeProbe);
  node.append(...probes);
  /** @type {Lane[]} */
  let lanes = [];
  /** @type {[from: number, to: number] | null} */
  let zoom = null;
  /** @type {{from: number, to: number} | null} */
  let drag = null; // pixels
  /** @type {Geometry | null} */
  let geometry = null;
  /** @type {Load | null} where lanes are too many to be named */
  let load = null;

  /** @returns {[from: number, to: number]} */
  function range() {
    if (zoom) return zoom;
    let [from, to] = [Infinity, -Infinity];
    for (const lane of lanes) {
      from = Math.min(from, startOf(rows, lane.tasks[0]));
      to = Math.max(to, lane.until);
    }
    return from < to ? [from, to] : [0, 1000];
  }

  function paint() {
    lanes = makeLanes(rows, store.now());
    const width = node.clientWidth;
    if (!width) return;
    const laneHeight = Math.max(2, Math.min(20, Math.floor(MAX_LINE_HEIGHT / Math.max(1, lanes.length))));
    const named = laneHeight >= LEAST_NAMED;
    const bars = Math.max(1, lanes.length) * laneHeight;
    const height = bars + (named ? 0 : LOAD_HEIGHT + 2 * LOAD_GAP) + AXIS_HEIGHT;
    const scale = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      Object.assign(canvas, { width: Math.round(width * scale), height: Math.round(height * scale) });
      canvas.style.height = `${height}px`;
    }
    const [from, to] = range();
    const pixels = (width - LABEL_WIDTH - MARGIN) / (to - from);
    load = named ? null : loadOf(rows, store.now(), [from, to], Math.max(1, Math.floor(width - LABEL_WIDTH - MARGIN)));
    const x = (/** @type {number} */ at) => LABEL_WIDTH + (at - from) * pixels;
    const drawn = { laneHeight, from, to, pixels, x };
    geometry = drawn;
    const context = canvas.getContext("2d");
    if (!context) return;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    paintAxis(context, drawn, width, height);
    const colours = probes.map((probe) => getComputedStyle(probe).color);
    paintBars(context, drawn, width, colours);
    if (load) {
      const place = { left: LABEL_WIDTH, top: bars + LOAD_GAP, height: LOAD_HEIGHT };
      paintLoad(context, load, place, { colours, text: getComputedStyle(node).color });
    }
    if (drag) {
      context.fillStyle = getComputedStyle(node).color;
      context.globalAlpha = 0.15;
      context.fillRect(Math.min(drag.from, drag.to), 0, Math.abs(drag.to - drag.from), height - AXIS_HEIGHT);
      context.globalAlpha = 1;
    }
    whole.hidden = !zoom;
    hint.hidden = !lanes.length || (Boolean(zoom) && named);
    const unnamed = `${amount(lanes.length)} lanes: as many tasks as ran at a time; point at a bar to see its process`;
    setText(hint, [named ? "" : unnamed, zoom ? "" : "drag to look closer"].filter(Boolean).join(" · "));
    const processes = lanes.reduce((sum, lane) => sum + lane.processes.length, 0);
    const places = `${amount(processes)} ${processes === 1 ? "process" : "processes"}`;
    const said = `time line: ${amount(rows.length)} tasks on ${places}`;
    const waited = load ? `, at most ${amount(Math.round(mostOf(load.queued)))} queued` : "";
    canvas.setAttribute("aria-label", `${said}, ${amount(lanes.length)} at a time${waited}`);
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {Geometry} drawn
   * @param {number} width
   * @param {number} height
   */
  function paintAxis(context, { from, to, x, laneHeight }, width, height) {
    const step = stepOf(to - from, Math.max(2, width / 110));
    const zero = Math.min(...lanes.map((lane) => startOf(rows, lane.tasks[0])));
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
      const name = lane.processes.at(-1)?.name ?? "";
      if (laneHeight >= LEAST_NAMED) context.fillText(name, LABEL_WIDTH - 6, y + laneHeight / 2 + 1);
    });
    context.globalAlpha = 1;
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {Geometry} drawn
   * @param {number} width
   * @param {string[]} colours by kind
   */
  function paintBars(context, { from, to, x, laneHeight }, width, colours) {
    const now = store.now();
    const gap = laneHeight > 6 ? 2 : laneHeight > 3 ? 1 : 0;
    context.save();
    context.beginPath();
    context.rect(LABEL_WIDTH, 0, width - LABEL_WIDTH, lanes.length * laneHeight);
    context.clip();
    KINDS.forEach((_, kind) => {
      context.fillStyle = colours[kind];
      lanes.forEach((lane, i) => {
        for (const number of lane.tasks) {
          if (rows.kind[number] !== kind) continue;
          const [start, end] = [startOf(rows, number), endOf(rows, number, now)];
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

  /**
   * The task at a place on the canvas, or null.
   *
   * @param {MouseEvent} event
   */
  function taskAt(event) {
    if (!geometry) return null;
    const box = canvas.getBoundingClientRect();
    const [left, top] = [event.clientX - box.left, event.clientY - box.top];
    const lane = lanes[Math.floor(top / geometry.laneHeight)];
    if (!lane || left < LABEL_WIDTH) return null;
    const at = geometry.from + (left - LABEL_WIDTH) / geometry.pixels;
    const now = store.now();
    /** @type {number | null} */
    let best = null;
    let distance = NEAR / geometry.pixels;
    for (const number of lane.tasks) {
      const [start, end] = [startOf(rows, number), endOf(rows, number, now)];
      const away = Math.max(start - at, at - end, 0);
      if (away <= distance) [best, distance] = [number, away];
    }
    return best;
  }

  /** @param {PointerEvent} event */
  function point(event) {
    const box = canvas.getBoundingClientRect();
    if (drag) {
      drag.to = Math.min(box.width - MARGIN, Math.max(LABEL_WIDTH, event.clientX - box.left));
      tip.hidden = true;
      paint();
      return;
    }
    const number = taskAt(event);
    const counts = loadAt(event);
    canvas.style.cursor = number === null ? "default" : "pointer";
    tip.hidden = number === null && counts === null;
    if (number !== null) tip.replaceChildren(...factsOf(number));
    else if (counts !== null) tip.replaceChildren(counts);
    else return;
    const left = Math.min(event.clientX - box.left + 12, box.width - tip.offsetWidth - 4);
    const below = event.clientY - box.top + 16;
    Object.assign(tip.style, { left: `${Math.max(0, left)}px`, top: `${below}px` });
  }

  /** @param {number} number */
  function factsOf(number) {
    const kind = rows.kind[number];
    const ran = duration((ranFor(rows, number, store.now()) ?? 0) / 1000, ended(kind));
    const process = textOf(rows, "processor", number);
    const facts = [wordOf(kind), ran, process && `process ${process}`, textOf(rows, "note", number)];
    return [h("code", "", textOf(rows, "call", number)), h("div", "", facts.filter(Boolean).join(" · "))];
  }

  /**
   * How many ran and waited at the time to which the pointer points, below the lanes; null elsewhere.
   *
   * @param {MouseEvent} event
   */
  function loadAt(event) {
    const box = canvas.getBoundingClientRect();
    const place = Math.floor(event.clientX - box.left - LABEL_WIDTH);
    const below = event.clientY - box.top > lanes.length * (geometry?.laneHeight ?? 0);
    if (!load || !below || place < 0 || place >= load.running.length) return null;
    return `${amount(Math.round(load.running[place]))} ran, ${amount(Math.round(load.queued[place]))} queued`;
  }

  /**
   * @param {number} from
   * @param {number} to
   */
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
  canvas.onpointerleave = () => {
    tip.hidden = true;
  };
  canvas.onpointerup = (event) => {
    const dragged = drag;
    drag = null;
    if (!dragged || !geometry) return;
    const { from, pixels } = geometry;
    const [a, b] = [Math.min(dragged.from, dragged.to), Math.max(dragged.from, dragged.to)];
    if (b - a > 4) {
      const at = (/** @type {number} */ left) => from + (left - LABEL_WIDTH) / pixels;
      zoomTo(at(a), at(b));
    } else {
      const number = taskAt(event);
      if (number !== null) act.open(number);
      paint();
    }
  };
  canvas.onpointercancel = () => {
    drag = null;
  };
  function showWhole() {
    zoom = null;
    paint();
  }
  canvas.ondblclick = whole.onclick = showWhole;
  canvas.onkeydown = (event) => {
    const [from, to] = range();
    const [span, middle] = [to - from, (from + to) / 2];
    /** @type {Record<string, () => void>} */
    const moves = {
      ArrowLeft: () => zoomTo(from - span / 5, to - span / 5),
      ArrowRight: () => zoomTo(from + span / 5, to + span / 5),
      "+": () => zoomTo(middle - span / 4, middle + span / 4),
      "-": () => zoomTo(middle - span, middle + span),
      0: showWhole,
    };
    if (!(event.key in moves)) return;
    moves[event.key]();
    event.preventDefault();
    event.stopPropagation();
  };
  tip.hidden = true;

  return { node, paint };
}
