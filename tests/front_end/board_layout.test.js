/* Where the boxes and the edges of a board's graph are. */

import assert from "node:assert/strict";
import test from "node:test";

import { BOX, curve, layOut } from "../../scaler_notebook/notebook/views/board/graph/board_layout.js";

test("a task is to the right of those that it needs", () => {
  const { boxes, layers } = layOut(4, [[0, 1], [1, 3], [2, 3]], 700);
  assert.deepEqual(boxes.map(({ layer }) => layer), [0, 1, 0, 2]);
  assert.deepEqual(layers, [[0, 2], [1], [3]]);
});

test("an edge runs around the boxes of the layers that it passes", () => {
  const edges = [[0, 1], [1, 2], [2, 3], [0, 3], [0, 2]];
  const { boxes, paths, wide } = layOut(4, edges, 700);
  edges.forEach(([from, to], i) => {
    const path = paths[i];
    assert.equal(path.length, boxes[to].layer - boxes[from].layer + 1);
    for (const passed of path.slice(1, -1))
      for (const box of boxes) assert.ok(box.x !== passed.x || passed.y < box.y || passed.y > box.y + BOX.height);
    assert.ok(curve(path, wide).endsWith(`${boxes[to].x},${boxes[to].y + BOX.height / 2}`));
  });
});

test("everything is within the plane, and boxes are apart", () => {
  const { boxes, width, height, wide } = layOut(30, Array.from({ length: 29 }, (_, i) => [i % 5, i + 1]), 700);
  boxes.forEach((box, i) => {
    assert.ok(box.x >= 0 && box.y >= 0 && box.x + wide <= width && box.y + BOX.height <= height);
    for (const other of boxes.slice(i + 1)) assert.ok(other.x !== box.x || Math.abs(other.y - box.y) >= BOX.height);
  });
});
