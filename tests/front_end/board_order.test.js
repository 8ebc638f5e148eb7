/* The order of a board's rows. */

import assert from "node:assert/strict";
import test from "node:test";

import { arrange } from "../../scaler_notebook/notebook/views/board/store/board_order.js";
import { rowsOf } from "./board_messages.js";

const ALL = { text: "", kind: null, only: null, sort: null };
const KINDS = ["done", "queued", "failed", "running", "cancelled", "failed", "running", "queued"];

test("what runs stands first, then what failed, then what waits", () => {
  const rows = rowsOf(KINDS.map((kind) => ({ kind })));
  assert.deepEqual(arrange(rows, ALL, 0), [3, 6, 2, 5, 1, 7, 4, 0]);
});

test("a session's newest tasks stand first, behind what runs", () => {
  const rows = rowsOf(KINDS.map((kind) => ({ kind })));
  rows.newestFirst = true;
  assert.deepEqual(arrange(rows, ALL, 0), [6, 3, 7, 5, 4, 2, 1, 0]);
});

test("a sort is a person's: by the time it ran, what has none last", () => {
  const rows = rowsOf([{}, { started: 0, ended: 5, kind: "done" }, { started: 0, ended: 9, kind: "done" }]);
  for (const [descending, order] of [[false, [1, 2, 0]], [true, [2, 1, 0]]])
    assert.deepEqual(arrange(rows, { ...ALL, sort: { by: "ran", descending } }, 0), order);
});
