/* Rows as the kernel sends them, for tests. */

import { KINDS, makeRows, takeRows } from "../../scaler_notebook/notebook/views/board/store/board_rows.js";

/**
 * Rows of a board, each described by what matters.
 *
 * @param {Record<string, unknown>[]} described columns by name, texts as they are
 */
export function rowsOf(described) {
  const rows = makeRows();
  const columns = columnsOf(described, rows);
  const progress = described.flatMap(({ progress: [done, total] = [] }, i) =>
    total === undefined ? [] : [[i, done, total, ""]],
  );
  const { strings } = rows;
  takeRows(rows, { whole: true, title: "", epoch: 0, strings, columns, progress, edges: [] });
  return rows;
}

/**
 * The columns of rows that are described in this way.
 *
 * @param {Record<string, unknown>[]} described
 * @param {{strings: string[], lowered: string[]}} texts of the board, to which theirs are added
 */
export function columnsOf(described, { strings, lowered }) {
  const numberOf = (text) => {
    if (!strings.includes(text)) lowered[strings.push(text) - 1] = text.toLowerCase();
    return strings.indexOf(text);
  };
  const columns = [[], [], [], [], [], [], [], [], [], []];
  for (const { call = "f()", kind = "queued", processor = "", note = "", ...more } of described) {
    const { submitted = 0, started = null, ended = null, flags = 0, tries = 1, cpu = null } = more;
    const values = [call, kind, processor, submitted, started, ended, note, flags, tries, cpu];
    values.forEach((value, c) =>
      columns[c].push(c === 1 ? KINDS.indexOf(value) : [0, 2, 6].includes(c) ? numberOf(value) : value),
    );
  }
  return columns;
}

/**
 * Tasks of one function that are done, as many as there are times.
 *
 * @param {string} name
 * @param {number[]} times milliseconds
 */
export const done = (name, times) =>
  times.map((ran, i) => ({ call: `${name}(${i})`, kind: "done", started: 0, ended: ran }));
