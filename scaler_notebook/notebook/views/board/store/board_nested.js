/* The tasks that a board's tasks have submitted: rows below those of their tasks, by numbers of their own. */

import { makeFilter } from "./board_order.js";
import { makeRows, takeRows } from "./board_rows.js";

/**
 * @import { NestedMessage } from "../../messages.js"
 * @import { Selection } from "./board_order.js"
 * @import { Rows } from "./board_rows.js"
 * @import { Look } from "./board_store.js"
 *
 * @typedef {object} Below where nested rows belong
 * @property {number[]} below the row of the board
 * @property {(number | null)[]} parent the nested row that has submitted it; null if the board's row has
 * @property {Map<number, number>} omitted by row of the board, how many more there are
 *
 * @typedef {Rows & Below} Nested
 */

const FEW = 5; // that are shown below their task unless somebody folds them

/** In the order of a table, a nested row is a number below zero; the same function leads back. */
export const otherNumber = (/** @type {number} */ number) => -1 - number;

/** @returns {Nested} */
export const makeNested = () => ({ ...makeRows(), below: [], parent: [], omitted: new Map() });

/** @param {Nested} nested */
export function forgetNested(nested) {
  Object.assign(nested, makeNested());
}

/**
 * @param {Nested} nested
 * @param {NestedMessage} message
 * @param {Rows} rows that have its texts
 */
export function takeNested(nested, { numbers, columns, below, parent, omitted }, rows) {
  takeRows(nested, { strings: [], columns, numbers, progress: [] });
  const { strings, lowered, gists, names, epoch } = rows;
  Object.assign(nested, { strings, lowered, gists, names, epoch });
  numbers.forEach((number, i) => {
    nested.below[number] = below[i];
    nested.parent[number] = parent[i];
  });
  for (const [number, count] of omitted) nested.omitted.set(number, count);
}

/**
 * How many tasks are below each row of the board that has any.
 *
 * @param {Nested} nested
 */
export function countBelow(nested) {
  const counts = new Map(nested.omitted);
  for (let i = 0; i < nested.length; i++) counts.set(nested.below[i], (counts.get(nested.below[i]) ?? 0) + 1);
  return counts;
}

/**
 * How deep a nested row is below the board's: 1 for what a task has submitted itself.
 *
 * @param {Nested} nested
 * @param {number} number
 */
export function depthOf(nested, number) {
  let depth = 1;
  for (let above = nested.parent[number]; above !== null; above = nested.parent[above]) depth++;
  return depth;
}

/**
 * Are the tasks below a row shown? Few are, until somebody folds them.
 *
 * @param {Look} look
 * @param {number} number
 * @param {number} count of tasks below it
 */
export const isUnfolded = (look, number, count) => look.folds.get(number) ?? count <= FEW;

/**
 * Rows of the board below which is what somebody has typed; they are shown with it.
 *
 * @param {Nested} nested
 * @param {Selection} selection
 * @returns {Set<number>}
 */
export function aboveWhatFits(nested, { text }) {
  if (!text || !nested.length) return new Set();
  const fits = makeFilter(nested, { text, kind: null, only: null });
  return new Set(nested.below.filter((_, number) => fits(number)));
}

/**
 * An order of rows with the nested rows that are shown, each behind what has submitted it.
 *
 * @param {Nested} nested
 * @param {number[]} order
 * @param {Look} look
 */
export function withNested(nested, order, look) {
  if (!nested.length || look.only) return order;
  const counts = countBelow(nested);
  const fits = makeFilter(nested, look);
  const searching = Boolean(look.text) || look.kind !== null;
  /** @type {Map<number, number[]>} by row, or by the other number of a nested row */
  const children = new Map();
  for (let i = 0; i < nested.length; i++) {
    const [parent, below] = [nested.parent[i], nested.below[i]];
    const above = parent === null ? below : otherNumber(parent);
    const list = children.get(above);
    if (list) list.push(otherNumber(i));
    else children.set(above, [otherNumber(i)]);
  }
  /** @type {number[]} */
  const whole = [];
  const visit = (/** @type {number} */ number) => {
    if (number >= 0 || !searching || fits(otherNumber(number))) whole.push(number);
    if (number >= 0 && !searching && !isUnfolded(look, number, counts.get(number) ?? 0)) return;
    children.get(number)?.forEach(visit);
  };
  order.forEach(visit);
  return whole;
}
