/* What a task writes: its parts, as they come, and what a terminal makes of it. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { joined } from "../../scaler_notebook/notebook/views/card/log.js";
import { terminalLines } from "../../scaler_notebook/notebook/views/terminal.js";

const part = (from, text, rewrites = 0) => ({ from, text, rewrites });

test("a part that continues a text is its end, from where it begins", () => {
  assert.deepEqual(joined(null, part(3, "def")), part(3, "def"));
  assert.deepEqual(joined(part(3, "def"), part(6, "ghi")), part(3, "defghi"));
  assert.deepEqual(joined(part(3, "def"), part(4, "EFG")), part(3, "dEFG"));
});

test("a text that was cleared, or does not reach so far, is replaced", () => {
  assert.deepEqual(joined(part(0, "old text"), part(8, "more", 1)), part(8, "more", 1));
  assert.deepEqual(joined(part(0, "old"), part(0, "new")), part(0, "new"));
  assert.deepEqual(joined(part(0, "old"), part(9, "new")), part(9, "new"));
});

test("where a part begins is counted as Python counts", () => {
  assert.deepEqual(joined(part(0, "🚀🚀"), part(2, "x")), part(0, "🚀🚀x"));
  assert.deepEqual(joined(part(0, "🚀🚀x"), part(1, "y")), part(0, "🚀y"));
});

// test_rendering has the static form read the same table.
const TABLE = new URL("../support/notebooks/terminal_colours.json", import.meta.url);

for (const { name, text, lines } of JSON.parse(readFileSync(TABLE, "utf-8")))
  test(name, () => {
    const runs = terminalLines(text).map((line) => line.map((run) => [run.text, run.bold, run.colour]));
    assert.deepEqual(runs, lines);
  });
