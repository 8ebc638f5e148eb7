/* The tasks of a board by function, or by name: how many, how they ended, and how long they took. */

import { h, setChildren, setText } from "../../dom.js";
import { amount, duration } from "../../quantities.js";
import { STORY, ended, wordOf } from "../store/board_rows.js";
import { nameOf } from "./board_calls.js";

/**
 * @import { Only } from "../store/board_order.js"
 * @import { Store } from "../store/board_store.js"
 * @import { CallSummary } from "./board_calls.js"
 *
 * @typedef {object} FunctionActions
 * @property {(only: Only) => void} show rows of one function alone
 * @property {(number: number) => void} open
 */

const MAX_FUNCTIONS = 200;
const HEADINGS = ["Function or name", "Tasks", "Mean", "Longest", "States"];

/**
 * @param {Store} store
 * @param {FunctionActions} act
 */
export function makeFunctions(store, act) {
  const { rows } = store;
  const headings = HEADINGS.map((title) => Object.assign(h("th", "", title), { scope: "col" }));
  const body = h("tbody");
  const left = h("div", "scaler-hint");
  const table = h("table", "scaler-function-table", h("thead", "", h("tr", "", ...headings)), body);
  const node = h("div", "scaler-functions", table, left);
  /** @type {Map<string, ReturnType<typeof makeLine>>} by function or name, so that a link goes on meaning the same */
  let lines = new Map();

  function makeLine() {
    const [name, longest] = [h("button", "scaler-link"), h("button", "scaler-link")];
    name.type = longest.type = "button";
    const [tasks, mean, states] = [h("td", "scaler-number"), h("td", "scaler-number"), h("td")];
    const line = h("tr", "", h("td", "scaler-name", name), tasks, mean, h("td", "scaler-number", longest), states);
    return { line, name, tasks, mean, longest, states };
  }

  /** @param {CallSummary[]} summaries */
  function paint(summaries) {
    const shown = summaries.slice(0, MAX_FUNCTIONS);
    lines = new Map(shown.map(({ name }) => [name, lines.get(name) ?? makeLine()]));
    setChildren(body, [...lines.values()].map(({ line }) => line));
    [...lines.values()].forEach((line, i) => paintLine(line, shown[i]));
    setText(left, summaries.length > shown.length ? `${amount(summaries.length - shown.length)} more` : "");
  }

  /**
   * @param {ReturnType<typeof makeLine>} line
   * @param {CallSummary} summary
   */
  function paintLine(line, { name, count, counts, done, mean, longest, longestRow }) {
    setText(line.name, name);
    line.name.title = "show only these";
    line.name.onclick = () => act.show({ id: `call ${name}`, fits: (number) => nameOf(rows, number) === name });
    setText(line.tasks, amount(count));
    setText(line.mean, done ? duration(mean / 1000, true) : "");
    line.longest.hidden = longestRow === null;
    if (longestRow !== null) {
      setText(line.longest, duration(longest / 1000, ended(rows.kind[longestRow])));
      line.longest.title = rows.strings[rows.call[longestRow]];
      line.longest.onclick = () => act.open(longestRow);
    }
    const states = STORY.filter((kind) => counts[kind]).map((kind) => `${amount(counts[kind])} ${wordOf(kind)}`);
    setText(line.states, states.join(" · "));
  }

  return { node, paint };
}
