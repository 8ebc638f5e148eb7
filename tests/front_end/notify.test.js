/* A word to who looks elsewhere. */

import assert from "node:assert/strict";
import test from "node:test";

import { tell } from "../../scaler_notebook/notebook/views/page/notify.js";

/** A part of a sound, of a page that may make none: nothing begins, and so nothing ends. */
class Silent {
  static open = 0;
  constructor() {
    Silent.open += this.constructor === Silent;
  }
  connect(next) {
    return next;
  }
  start() {}
  stop() {}
  close() {
    Silent.open--;
  }
}

test("a sound that a page may not make is given up", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const Part = class extends Silent {};
  const document = { hasFocus: () => true };
  Object.assign(globalThis, { document, AudioContext: Silent, OscillatorNode: Part, GainNode: Part });
  Silent.prototype.currentTime = 0;
  tell("fits", "2 done", () => null, true);
  assert.equal(Silent.open, 1);
  context.mock.timers.tick(60_000);
  assert.equal(Silent.open, 0);
});
