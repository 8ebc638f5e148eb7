/* What the rows of a board show of their calls. */

import assert from "node:assert/strict";
import test from "node:test";

import { argumentsOf, makeArguments } from "../../scaler_notebook/notebook/views/board/task_table/board_arguments.js";
import { rowsOf } from "./board_messages.js";

function shownOf(calls) {
  const rows = rowsOf(calls.map((call) => ({ call })));
  const found = makeArguments(rows);
  found.look([...calls.keys()]);
  return [found.heading(), ...calls.map((_, i) => found.shown(i))];
}

test("arguments are told apart, whatever their texts contain", () => {
  assert.deepEqual([...(argumentsOf("fit(DataFrame, 'a, b)', k=\"it's, so\", z=(1+2j))") ?? [])], [
    ["0", "DataFrame"], ["1", "'a, b)'"], ["k", 'k="it\'s, so"'], ["z", "z=(1+2j)"],
  ]);
  assert.equal(argumentsOf("model 7"), null);
  assert.equal(argumentsOf("fit('a text that was cu…)")?.get("0"), "'a text that was cu…");
});

test("rows show what differs", () => {
  assert.deepEqual(shownOf(["fit(X, 1, tol=0.1)", "fit(X, 2, tol=0.1)"]), ["fit(…)", "1", "2"]);
  const some = ["fit(X, alpha=1)", "fit(X)", "fit(X, alpha=2)"];
  assert.deepEqual(shownOf(some), ["fit(…)", "alpha=1", "fit(X)", "alpha=2"]);
});

test("rows show their calls where these are of several functions, all alike, or alone", () => {
  for (const calls of [["fit(1)", "load(2)"], ["f()", "f()"], ["f(1)"], ["model 1", "model 2"], ["f(1)", "f × 100"]])
    assert.deepEqual(shownOf(calls).slice(1), calls);
});

test("rows that come later are looked at, too", () => {
  const rows = rowsOf([{ call: "fit(1)" }, { call: "fit(2)" }]);
  const found = makeArguments(rows);
  found.look([0, 1]);
  assert.equal(found.heading(), "fit(…)");
  Object.assign(rows, rowsOf([{ call: "fit(1)" }, { call: "load(2)" }]));
  found.look([0, 1]);
  assert.equal(found.heading(), "");
});

test("rows that are not shown do not count, and those that have gone meanwhile go on counting", () => {
  const rows = rowsOf(["fit(X, 1)", "load(7)", "fit(X, 2)", "fit(Y, 2)"].map((call) => ({ call })));
  const found = makeArguments(rows);
  found.look([0, 1, 2, 3]);
  assert.equal(found.heading(), "");
  found.look([0, 2], "only fit");
  assert.deepEqual([found.heading(), found.shown(0), found.same()], ["fit(…)", "1", "X"]);
  found.look([2, 3], "only fit");
  assert.deepEqual([found.shown(3), found.same()], ["Y, 2", ""]);
  found.look([1], "only load");
  assert.deepEqual([found.heading(), found.shown(1)], ["", "load(7)"]);
});
