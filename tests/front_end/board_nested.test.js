/* The rows of tasks that a board's tasks have submitted. */

import assert from "node:assert/strict";
import test from "node:test";

import {
  aboveWhatFits, depthOf, makeNested, otherNumber, takeNested, withNested,
} from "../../scaler_notebook/notebook/views/board/store/board_nested.js";
import { arrange } from "../../scaler_notebook/notebook/views/board/store/board_order.js";
import { columnsOf, rowsOf } from "./board_messages.js";

const ALL = { text: "", kind: null, only: null, sort: null };
const [a, b, c, d] = [0, 1, 2, 3].map(otherNumber);

/**
 * Two rows; below the first are a and b, and c below a; below the second is d.
 *
 * @param {Record<string, unknown>[]} described the nested rows
 */
function family(described) {
  const rows = rowsOf([{ call: "top(0)" }, { call: "top(1)" }]);
  const nested = makeNested();
  const message = { numbers: [0, 1, 2, 3], below: [0, 0, 0, 1], parent: [null, null, 0, null], omitted: [] };
  takeNested(nested, { ...message, columns: columnsOf(described, rows) }, rows);
  return { rows, nested };
}

const CALLS = ["a()", "b()", "inner()", "d()"].map((call) => ({ call }));
const folds = new Map();

test("each stands behind what has submitted it, however deep", () => {
  const { nested } = family(CALLS);
  assert.deepEqual(withNested(nested, [1, 0], { ...ALL, folds }), [1, d, 0, a, c, b]);
  assert.deepEqual([0, 1, 2, 3].map((number) => depthOf(nested, number)), [1, 1, 2, 1]);
});

test("what is folded is not shown, and many are folded unless somebody wants to see them", () => {
  const { nested } = family(CALLS);
  assert.deepEqual(withNested(nested, [0, 1], { ...ALL, folds: new Map([[0, false]]) }), [0, 1, d]);
  nested.omitted.set(0, 100);
  assert.deepEqual(withNested(nested, [0, 1], { ...ALL, folds }), [0, 1, d]);
  assert.deepEqual(withNested(nested, [0], { ...ALL, folds: new Map([[0, true]]) }), [0, a, c, b]);
});

test("a search finds nested rows, and shows them with the task that they are below", () => {
  const { rows, nested } = family(CALLS);
  const look = { ...ALL, text: "inner", folds: new Map([[0, false]]) };
  const tops = arrange(rows, look, 0, aboveWhatFits(nested, look));
  assert.deepEqual(withNested(nested, tops, look), [0, c]);
});

test("where only what failed is looked for, what is below is left out", () => {
  const { nested } = family(CALLS);
  assert.deepEqual(withNested(nested, [0, 1], { ...ALL, only: { id: "x", fits: () => true }, folds }), [0, 1]);
});
