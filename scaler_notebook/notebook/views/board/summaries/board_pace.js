/* The time that a board's tasks still take, as far as what is known tells. */

import { DONE, FAILED, QUEUED, RUNNING, ranFor, shareOf } from "../store/board_rows.js";
import { nameOf } from "./board_calls.js";

/**
 * @import { Rows, Tally } from "../store/board_rows.js"
 * @import { CallSummary } from "./board_calls.js"
 */

const ENOUGH = 3; // that have ended, to say how long another takes

/**
 * Milliseconds until all have ended; null if nobody can know.
 *
 * @param {Rows} rows
 * @param {Tally} sums
 * @param {CallSummary[]} summaries
 * @param {number} now milliseconds since the epoch of the rows
 */
export function timeLeft(rows, { counts, unfinished, elapsed }, summaries, now) {
  if (!unfinished) return null;
  const running = [];
  for (let i = 0; i < rows.length; i++) if (rows.kind[i] === RUNNING) running.push(i);
  if (!counts[QUEUED]) return leftOfLast(rows, running, summaries, now);
  return leftAtPace(rows, unfinished, now, elapsed) ?? leftByProgress(rows, running, counts[QUEUED], now);
}

/**
 * The pace of the last stretch goes on.
 *
 * @param {Rows} rows
 * @param {number} unfinished
 * @param {number} now
 * @param {number} elapsed
 */
function leftAtPace(rows, unfinished, now, elapsed) {
  const stretch = Math.min(elapsed, Math.max(5000, Math.min(60000, elapsed / 3)));
  let completed = 0;
  for (let i = 0; i < rows.length; i++) {
    const kind = rows.kind[i];
    if ((kind === DONE || kind === FAILED) && (rows.ended[i] ?? 0) > now - stretch) completed++;
  }
  return completed < ENOUGH || elapsed < 1000 ? null : (unfinished * stretch) / completed;
}

/**
 * What runs says how long it takes; what waits takes as long.
 *
 * @param {Rows} rows
 * @param {number[]} running
 * @param {number} queued how many wait
 * @param {number} now
 */
function leftByProgress(rows, running, queued, now) {
  let [whole, left] = [0, 0];
  for (const i of running) {
    const own = leftByShare(rows, i, now);
    if (own === null) return null;
    whole += own + (ranFor(rows, i, now) ?? 0);
    left += own;
  }
  return running.length ? (left + (queued * whole) / running.length) / running.length : null;
}

/**
 * Nothing waits: all have ended when the last of those that run has.
 *
 * @param {Rows} rows
 * @param {number[]} running
 * @param {CallSummary[]} summaries
 * @param {number} now
 */
function leftOfLast(rows, running, summaries, now) {
  const usual = new Map(summaries.filter(({ done }) => done >= ENOUGH).map(({ name, mean }) => [name, mean]));
  let left = null;
  for (const i of running) {
    const own = leftByShare(rows, i, now) ?? (usual.get(nameOf(rows, i)) ?? 0) - (ranFor(rows, i, now) ?? 0);
    if (own <= 0) return null; // it takes longer than its like, and does not say how long
    left = Math.max(left ?? 0, own);
  }
  return left;
}

/**
 * Milliseconds that a task still takes by its own progress; null if it reports none.
 *
 * @param {Rows} rows
 * @param {number} number
 * @param {number} now
 */
function leftByShare(rows, number, now) {
  const [share, ran] = [shareOf(rows, number), ranFor(rows, number, now)];
  return share && ran !== null ? (ran * (1 - share)) / share : null;
}
