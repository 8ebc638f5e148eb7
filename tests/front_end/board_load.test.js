/* How many tasks ran, and waited, over time. */

import assert from "node:assert/strict";
import test from "node:test";

import { loadOf, mostOf } from "../../scaler_notebook/notebook/views/board/timeline/board_load.js";
import { rowsOf } from "./board_messages.js";

const listed = ({ running, queued }) => ({ running: [...running], queued: [...queued] });

test("what runs and what waits is counted by stretches, each by its share of them", () => {
  const rows = rowsOf([
    { kind: "done", submitted: 0, started: 0, ended: 15 },
    { kind: "running", submitted: 0, started: 15 },
    { kind: "queued", submitted: 10 },
    { kind: "cancelled", submitted: 0, ended: 5 },
  ]);
  const load = loadOf(rows, 40, [0, 40], 4);
  assert.deepEqual(listed(load), { running: [1, 1, 1, 1], queued: [1.5, 1.5, 1, 1] });
  assert.equal(mostOf(load.queued), 1.5);
});

test("within a part of the time, what was before and after is cut", () => {
  const rows = rowsOf([{ kind: "done", submitted: 0, started: 10, ended: 30 }, { submitted: 35 }]);
  assert.deepEqual(listed(loadOf(rows, 40, [15, 25], 2)), { running: [1, 1], queued: [0, 0] });
});

test("brief tasks count by the time they take", () => {
  const rows = rowsOf(Array.from({ length: 8 }, (_, i) => ({ kind: "done", started: i, ended: i + 0.5 })));
  assert.deepEqual(listed(loadOf(rows, 8, [0, 8], 1)).running, [0.5]);
});
