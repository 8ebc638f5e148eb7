/* The time that a board's tasks still take. */

import assert from "node:assert/strict";
import test from "node:test";

import { tally } from "../../scaler_notebook/notebook/views/board/store/board_rows.js";
import { summarizeCalls } from "../../scaler_notebook/notebook/views/board/summaries/board_calls.js";
import { timeLeft } from "../../scaler_notebook/notebook/views/board/summaries/board_pace.js";
import { done, rowsOf } from "./board_messages.js";

const NOW = 100_000;
const left = (rows) => timeLeft(rows, tally(rows, NOW), summarizeCalls(rows, NOW), NOW);
const running = (started, progress) => ({ call: "fit(9)", kind: "running", started, progress });

test("when nothing waits, the last of those that run tells by its progress", () => {
  const rows = rowsOf([...done("fit", Array(50).fill(99_000)), running(80_000, [1, 4]), running(90_000, [1, 2])]);
  assert.equal(left(rows), 60_000);
});

test("what reports no progress takes as long as its like", () => {
  assert.equal(left(rowsOf([...done("fit", [30_000, 30_000, 30_000]), running(90_000)])), 20_000);
});

test("what takes longer than its like, and does not say how long, leaves nobody a guess", () => {
  assert.equal(left(rowsOf([...done("fit", Array(50).fill(100)), running(40_000)])), null);
  assert.equal(left(rowsOf([running(40_000)])), null);
});

test("while tasks wait, the pace of the last stretch goes on", () => {
  const ended = Array.from({ length: 10 }, (_, i) => ({ kind: "done", started: 0, ended: NOW - i * 1000 }));
  const waiting = Array(20).fill({ kind: "queued" });
  assert.equal(Math.round(left(rowsOf([...ended, ...waiting]))), Math.round((20 * NOW) / 3 / 10));
});

test("before any has ended, what runs says how long each takes", () => {
  const rows = rowsOf([running(50_000, [1, 2]), running(50_000, [1, 2]), { kind: "queued" }, { kind: "queued" }]);
  assert.equal(left(rows), 150_000);
});

test("when all have ended, nothing is left", () => {
  assert.equal(left(rowsOf(done("fit", [5]))), null);
});
