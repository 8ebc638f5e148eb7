/* How many tasks of a board ran, and how many waited, over time: below a time line whose lanes are too many to read. */

import { amount } from "../../quantities.js";
import { RUNNING, endOf } from "../store/board_rows.js";

/**
 * @import { Rows } from "../store/board_rows.js"
 *
 * @typedef {object} Load means of equal stretches of time
 * @property {Float64Array} running
 * @property {Float64Array} queued
 *
 * @typedef {object} LoadPlace where it is drawn, in pixels
 * @property {number} left
 * @property {number} top
 * @property {number} height
 */

/**
 * How many tasks ran, and waited for their start, in each of some equal stretches.
 *
 * @param {Rows} rows
 * @param {number} now milliseconds since the epoch of the rows
 * @param {[from: number, to: number]} range milliseconds
 * @param {number} stretches how many
 * @returns {Load}
 */
export function loadOf(rows, now, [from, to], stretches) {
  const [running, queued] = [makeMeans(stretches), makeMeans(stretches)];
  const wide = (to - from) / stretches;
  const at = (/** @type {number} */ time) => Math.min(stretches, Math.max(0, (time - from) / wide));
  for (let i = 0; i < rows.length; i++) {
    const [started, end] = [rows.started[i], endOf(rows, i, now)];
    queued.add(at(rows.submitted[i]), at(started ?? end));
    if (started !== null) running.add(at(started), at(end));
  }
  return { running: running.means(), queued: queued.means() };
}

/** @param {number} stretches */
function makeMeans(stretches) {
  const parts = new Float64Array(stretches + 1); // of what begins or ends within a stretch
  const steps = new Float64Array(stretches + 2); // where what goes on for whole stretches begins, and is over

  /**
   * @param {number} start in stretches
   * @param {number} end
   */
  function add(start, end) {
    if (end <= start) return;
    const [first, last] = [Math.floor(start), Math.floor(end)];
    if (first === last) {
      parts[first] += end - start;
      return;
    }
    parts[first] += first + 1 - start;
    parts[last] += end - last;
    steps[first + 1]++;
    steps[last]--;
  }

  function means() {
    const found = new Float64Array(stretches);
    let going = 0;
    for (let i = 0; i < stretches; i++) {
      going += steps[i];
      found[i] = going + parts[i];
    }
    return found;
  }

  return { add, means };
}

/** @param {Float64Array} values */
const roundly = (values) => amount(Math.round(mostOf(values)));

/** @param {Float64Array} values */
export const mostOf = (values) => values.reduce((most, value) => Math.max(most, value), 0);

/**
 * What ran as an area, what waited as a line, each as high as its most.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {Load} load a stretch for each pixel
 * @param {LoadPlace} place
 * @param {{colours: string[], text: string}} look by kind, and of text
 */
export function paintLoad(context, { running, queued }, { left, top, height }, { colours, text }) {
  const y = (/** @type {Float64Array} */ values) => {
    const most = mostOf(values) || 1;
    return (/** @type {number} */ i) => top + height - (values[i] / most) * height;
  };
  const [runningAt, queuedAt] = [y(running), y(queued)];
  context.save();
  context.fillStyle = colours[RUNNING];
  context.globalAlpha = 0.35;
  for (let i = 0; i < running.length; i++) context.fillRect(left + i, runningAt(i), 1, top + height - runningAt(i));
  context.globalAlpha = 0.85;
  context.strokeStyle = context.fillStyle = text;
  context.lineWidth = 1.5;
  context.beginPath();
  for (let i = 0; i < queued.length; i++) context.lineTo(left + i + 0.5, queuedAt(i));
  context.stroke();
  context.globalAlpha = 0.7;
  context.textAlign = "right";
  context.textBaseline = "middle";
  const words = ["— queued", `to ${roundly(queued)}`, "■ ran", `to ${roundly(running)}`];
  words.forEach((each, i) => context.fillText(each, left - 6, top + (i + 0.5) * (height / words.length)));
  context.restore();
}
