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
  let strings = rows.strings; // those that were looked at; others are another snapshot's
  let looked = 0;
  let name = /** @type {string | null} */ (null);
  /** @type {Arguments} what is the same in all */
  let same = new Map();

  /** Look at the rows that are new. */
  function look() {
    if (strings !== rows.strings) [strings, looked, name] = [rows.strings, 0, null];
    for (; looked < rows.length && (looked === 0 || name !== null); looked++) {
      const known = argumentsOf(rows.strings[rows.call[looked]]);
      const called = known && nameOf(rows, looked);
      if (looked === 0) [name, same] = [called, new Map(known)];
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
  const heading = () => (name !== null && rows.length > 1 ? `${name}(…)` : "");

  return { look, shown, heading, same: () => [...same.values()].join(", ") };
}
