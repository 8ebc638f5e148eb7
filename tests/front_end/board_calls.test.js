/* The calls of a board by function, and stragglers among them. */

import assert from "node:assert/strict";
import test from "node:test";

import {
  findStragglers, nameOf, summarizeCalls,
} from "../../scaler_notebook/notebook/views/board/summaries/board_calls.js";
import { stragglerWords } from "../../scaler_notebook/notebook/views/board/summaries/board_straggler.js";
import { done, rowsOf } from "./board_messages.js";

const NOW = 100_000;
const found = (rows) => findStragglers(rows, summarizeCalls(rows, NOW), NOW);
const running = (call, started = 0) => ({ call, kind: "running", started });

test("a row calls its function, also from a graph, or is called as it was named", () => {
  const calls = ["fit(3, 'a(b')", "Model.fit(X)", "<lambda>()", "rows = clean(raw)", "model 7, fold 3", "fit × 100"];
  const rows = rowsOf(calls.map((call) => ({ call })));
  assert.deepEqual(
    calls.map((_, i) => nameOf(rows, i)),
    ["fit", "Model.fit", "<lambda>", "clean", "model …, fold …", "fit × …"],
  );
});

test("functions have counts, the mean of what is done, and the longest of all", () => {
  const fits = [...done("fit", [100, 300]), { call: "fit(9)" }, running("fit(8)", 99_000)];
  const rows = rowsOf([...fits, ...done("load", [5])]);
  const [fit, load] = summarizeCalls(rows, NOW);
  assert.deepEqual([fit.name, fit.count, fit.done, fit.mean, fit.longest, fit.longestRow], ["fit", 4, 2, 200, 1000, 3]);
  assert.deepEqual([load.name, load.count, load.mean], ["load", 1, 5]);
});

test("what runs for much longer than its like is named", () => {
  const rows = rowsOf([...done("fit", Array(60).fill(1000)), running("fit(60)")]);
  const straggling = found(rows);
  assert.deepEqual(straggling.numbers, [60]);
  assert.equal(stragglerWords(straggling, true), "1 of 61 runs 100 times longer than the others");
});

test("a function is named where there are several", () => {
  const rows = rowsOf([...done("fit", Array(5).fill(1000)), running("fit(5)"), running("fit(6)", 2000)]);
  assert.equal(stragglerWords(found(rows), false), "2 of 7 fit run 98 times longer than the others");
});

test("nothing straggles while too few are done, among others as long, or of another function", () => {
  assert.equal(found(rowsOf([...done("fit", Array(4).fill(10)), running("fit(4)")])), null);
  assert.equal(found(rowsOf([...done("fit", [10, 10, 10, 10, 10, 50_000]), running("fit(6)")])), null);
  assert.equal(found(rowsOf([...done("load", Array(60).fill(10)), running("fit(60)")])), null);
  assert.equal(found(rowsOf([...done("fit", Array(60).fill(1)), running("fit(60)", NOW - 500)])), null);
});
