/* The straggler of a board: what still runs, and for much longer than its like did, is named. */

import { h, setText } from "../../dom.js";
import { amount } from "../../quantities.js";
import { findStragglers } from "./board_calls.js";

/**
 * @import { Only } from "../store/board_order.js"
 * @import { Store } from "../store/board_store.js"
 * @import { CallSummary, Straggling } from "./board_calls.js"
 */

const ID = "stragglers";

/**
 * `1 of 61 runs 100 times longer than the others`.
 *
 * @param {Straggling} straggling
 * @param {boolean} alone is there one function only?
 */
export function stragglerWords({ numbers, name, among, times }, alone) {
  const [n, all] = [amount(numbers.length), amount(among)];
  const longer = amount(Number(times.toPrecision(2)));
  const who = `${n} of ${all}${alone ? "" : ` ${name}`}`;
  return `${who} ${numbers.length === 1 ? "runs" : "run"} ${longer} times longer than the others`;
}

/**
 * @param {Store} store
 * @param {{show: (only: Only | null) => void}} act shows rows alone, or all of them
 */
export function makeStraggler(store, act) {
  const { rows, look } = store;
  const node = h("button", "scaler-finding scaler-straggler");
  node.type = "button";
  /** @type {Straggling | null} */
  let straggling = null;

  node.onclick = () => {
    const numbers = new Set(straggling?.numbers);
    act.show(look.only?.id === ID ? null : { id: ID, fits: (number) => numbers.has(number) });
  };

  /** @param {CallSummary[]} summaries */
  function paint(summaries) {
    straggling = findStragglers(rows, summaries, store.now());
    const shown = look.only?.id === ID;
    node.hidden = !straggling && !shown;
    node.setAttribute("aria-pressed", String(shown));
    setText(node, straggling ? stragglerWords(straggling, summaries.length === 1) : "none runs much longer any more");
  }

  return { node, paint };
}
