/* The calls of a board by what is called: a function, or the name that a task was given. */

import { CANCELLING, DONE, KINDS, RUNNING, gistOf, ranFor } from "../store/board_rows.js";

/**
 * @import { Rows } from "../store/board_rows.js"
 *
 * @typedef {object} CallSummary the tasks that call one function
 * @property {string} name
 * @property {number} count
 * @property {number[]} counts by kind
 * @property {number} done how many have a value and a time
 * @property {number} mean milliseconds that these ran; 0 for none
 * @property {number} most milliseconds that one of these ran
 * @property {number} longest milliseconds that any ran, so far
 * @property {number | null} longestRow who that is
 *
 * @typedef {object} Straggling tasks that run much longer than others of their function did
 * @property {number[]} numbers
 * @property {string} name of the function
 * @property {number} among how many tasks
 * @property {number} times the time of the others, the least of them
 */

const CALL = /^(?:[^()=]+ = )?([^()\s]+)\(/; // with its key, in a graph
const ENOUGH_DONE = 5; // to say what is usual
const MUCH_LONGER = 10; // times the mean
const BEYOND_LONGEST = 3; // times the longest
const LEAST_MS = 2000;

/**
 * What a row calls. Names that differ in numbers alone, as `model 7`, are one.
 *
 * @param {Rows} rows
 * @param {number} number
 */
export function nameOf(rows, number) {
  const string = rows.call[number];
  return (rows.names[string] ??= CALL.exec(rows.strings[string])?.[1] ?? gistOf(rows, string));
}

/**
 * The tasks of each function, in the order in which they came.
 *
 * @param {Rows} rows
 * @param {number} now milliseconds since the epoch of the rows
 * @returns {CallSummary[]}
 */
export function summarizeCalls(rows, now) {
  /** @type {Map<string, CallSummary>} */
  const found = new Map();
  for (let i = 0; i < rows.length; i++) {
    const name = nameOf(rows, i);
    let summary = found.get(name);
    if (!summary) {
      const counts = KINDS.map(() => 0);
      summary = { name, count: 0, counts, done: 0, mean: 0, most: 0, longest: 0, longestRow: null };
      found.set(name, summary);
    }
    const kind = rows.kind[i];
    summary.count++;
    summary.counts[kind]++;
    const ran = ranFor(rows, i, now);
    if (ran === null) continue;
    if (kind === DONE) {
      summary.mean += (ran - summary.mean) / ++summary.done;
      summary.most = Math.max(summary.most, ran);
    }
    if (summary.longestRow === null || ran > summary.longest) [summary.longest, summary.longestRow] = [ran, i];
  }
  return [...found.values()];
}

/**
 * The tasks that still run, and for much longer than those of their function that are done; null for none.
 *
 * @param {Rows} rows
 * @param {CallSummary[]} summaries
 * @param {number} now milliseconds since the epoch of the rows
 * @returns {Straggling | null}
 */
export function findStragglers(rows, summaries, now) {
  const usual = new Map(summaries.filter(({ done }) => done >= ENOUGH_DONE).map((each) => [each.name, each]));
  if (!usual.size) return null;
  /** @type {Map<string, Straggling>} */
  const found = new Map();
  for (let i = 0; i < rows.length; i++) {
    if (rows.kind[i] !== RUNNING && rows.kind[i] !== CANCELLING) continue;
    const [name, ran] = [nameOf(rows, i), ranFor(rows, i, now) ?? 0];
    const summary = usual.get(name);
    if (!summary) continue;
    const times = ran / Math.max(1, summary.mean);
    if (ran < LEAST_MS || times < MUCH_LONGER || ran < BEYOND_LONGEST * summary.most) continue;
    const straggling = found.get(name) ?? { numbers: [], name, among: summary.done, times };
    straggling.numbers.push(i);
    straggling.among++;
    straggling.times = Math.min(straggling.times, times);
    found.set(name, straggling);
  }
  return [...found.values()].sort((a, b) => b.times - a.times)[0] ?? null;
}
