/* What the views of a board share. */

import assert from "node:assert/strict";
import test from "node:test";

import { loseKernel, makeStore, takeMessage } from "../../scaler_notebook/notebook/views/board/store/board_store.js";
import { takeRows } from "../../scaler_notebook/notebook/views/board/store/board_rows.js";
import { columnsOf, rowsOf } from "./board_messages.js";

/** A store, and what takes a message in, with so many rows of a kind behind those that are known. */
function makeBoard() {
  const store = makeStore();
  let seq = 0;
  const take = (kind, count, answer = null) => {
    const { rows } = store;
    const numbers = Array.from({ length: count }, (_, i) => rows.length + i);
    const texts = { strings: [...rows.strings], lowered: [...rows.lowered] };
    const columns = columnsOf(numbers.map(() => ({ kind })), texts);
    const strings = texts.strings.slice(rows.strings.length);
    const about = seq ? { numbers } : { whole: true, epoch: 0, edges: [] };
    const message = { seq: ++seq, now: 0, title: "", strings, columns, progress: [], details: [], answer, ...about };
    assert.ok(takeMessage(store, message));
  };
  return { store, take };
}

test("Undo has what Cancel all has met on its way, and nothing that came later", () => {
  const { store, take } = makeBoard();
  take("running", 2);
  store.undo = { numbers: [0, 1], known: 2, until: Infinity };
  take("cancelling", 1);
  take("cancelled", 1, { number: 1, text: "4 tasks asked to stop" });
  take("cancelled", 1, { number: 2, text: "1 task asked to stop" });
  assert.deepEqual(store.undo.numbers, [0, 1, 2, 3]);
});

test("a kernel that has ended leaves nothing to undo", () => {
  const { store, take } = makeBoard();
  take("running", 1);
  store.undo = { numbers: [0], known: 1, until: Infinity };
  loseKernel(store);
  assert.equal(store.undo, null);
});

test("a row that is tried again has no progress of the try before", () => {
  const rows = rowsOf([{ kind: "running", progress: [34, 100] }, { kind: "running", progress: [1, 2] }]);
  const columns = columnsOf([{ kind: "queued" }], rows);
  takeRows(rows, { strings: [], columns, progress: [], numbers: [0] });
  assert.equal(rows.progress.has(0), false);
  assert.equal(rows.progress.get(1).done, 1);
});
