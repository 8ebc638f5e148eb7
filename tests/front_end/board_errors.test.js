/* The errors of a board by kind. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { arrange } from "../../scaler_notebook/notebook/views/board/store/board_order.js";
import { errorKinds, onlyError } from "../../scaler_notebook/notebook/views/board/summaries/board_errors.js";
import { rowsOf } from "./board_messages.js";

const NAN = "ValueError: Input contains NaN";
const failed = (note) => ({ kind: "failed", note });

test("errors with the same words are one kind, the most frequent first", () => {
  const rows = rowsOf([failed("OSError: no disk"), failed(NAN), { kind: "done" }, failed(NAN)]);
  assert.deepEqual(
    errorKinds(rows).map(({ words, count }) => [words, count]),
    [[NAN, 2], ["OSError: no disk", 1]],
  );
});

test("errors that differ in numbers alone are one kind, too", () => {
  const rows = rowsOf([7, 77, 1.5].map((n) => failed(`ValueError: model ${n} does not converge`)));
  assert.deepEqual(
    errorKinds(rows).map(({ words, count }) => [words, count]),
    [["ValueError: model … does not converge", 3]],
  );
});

const cases = JSON.parse(readFileSync(new URL("../support/notebooks/error_gists.json", import.meta.url), "utf-8"));
for (const { name, errors, gist } of cases)
  test(`${name} are told by their gist, as in test_boards.py`, () => {
    const kinds = errorKinds(rowsOf([...errors, ...errors].map(failed)));
    assert.deepEqual(kinds.map((kind) => [kind.gist, kind.count]), [[gist, 2 * errors.length]]);
  });

test("what was cancelled is no error, and what was lost is one", () => {
  const rows = rowsOf([{ kind: "cancelled", note: "stopped" }, { kind: "lost", note: "the engine is gone" }]);
  assert.deepEqual(errorKinds(rows).map(({ words }) => words), ["the engine is gone"]);
});

test("a kind shows its rows alone", () => {
  const rows = rowsOf([failed("E: 1"), failed(NAN), failed("E: 2"), { kind: "done", note: "E: 3" }]);
  const only = onlyError(rows, errorKinds(rows)[0].gist);
  assert.deepEqual(arrange(rows, { text: "", kind: null, only, sort: null }, 0), [0, 2]);
});
