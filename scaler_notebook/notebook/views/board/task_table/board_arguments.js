/* What differs between the calls of a board: if all call one function, the arguments that are not the same in all. */

import { nameOf } from "../summaries/board_calls.js";

/**
 * @import { Rows } from "../store/board_rows.js"
 *
 * @typedef {Map<string, string>} Arguments by place or keyword, as the call shows them
 */

const PART = /(?:'(?:\\.|[^'\\])*'?|"(?:\\.|[^"\\])*"?|[^,'"])+/g; // a text that was cut has no end
const KEYWORD = /^([^\W\d]\w*)=/;

/**
 * The arguments of a call; null if the text is none, e.g. a name.
 *
 * @param {string} call
 * @returns {Arguments | null}
 */
export function argumentsOf(call) {
  const opens = call.indexOf("(");
  if (opens < 0 || !call.endsWith(")")) return null;
  const parts = call.slice(opens + 1, -1).match(PART) ?? [];
  return new Map(
    parts.map((part, place) => {
      const text = part.trim();
      return [KEYWORD.exec(text)?.[1] ?? String(place), text];
    }),
  );
}

/** @param {Rows} rows */
export function makeArguments(rows) {
  let looked = /** @type {Set<number>} */ (new Set());
  let [strings, chosen] = [rows.strings, ""];
  let name = /** @type {string | null} */ (null);
  /** @type {Arguments} what is the same in all */
  let same = new Map();

  /**
   * Look at the rows that are shown, as far as they are new.
   *
   * @param {number[]} numbers
   * @param {string} choice why these are shown: while it is the same, rows that go change nothing
   */
  function look(numbers, choice = "") {
    // Other strings are those of another snapshot.
    if (strings !== rows.strings || chosen !== choice) [strings, chosen, looked] = [rows.strings, choice, new Set()];
    for (const number of numbers) {
      if (looked.has(number)) continue;
      looked.add(number);
      if (looked.size > 1 && name === null) continue;
      const known = argumentsOf(rows.strings[rows.call[number]]);
      const called = known && nameOf(rows, number);
      if (looked.size === 1) [name, same] = [called, new Map(known)];
      else if (called !== name || !known) name = null;
      else for (const [place, text] of same) if (known.get(place) !== text) same.delete(place);
    }
  }

  /**
   * What a row shows of its call.
   *
   * @param {number} number
   */
  function shown(number) {
    const call = rows.strings[rows.call[number]];
    const known = heading() ? argumentsOf(call) : null;
    const differing = known && [...known].filter(([place]) => !same.has(place)).map(([, text]) => text);
    return differing?.length ? differing.join(", ") : call;
  }

  /** The heading above what rows show, e.g. `fit(…)`; empty if rows show the whole call. */
  const heading = () => (name !== null && looked.size > 1 ? `${name}(…)` : "");

  return { look, shown, heading, same: () => [...same.values()].join(", ") };
}
