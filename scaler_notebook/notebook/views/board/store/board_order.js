/* Which rows a table shows, and in which order. */

import { CANCELLED, CANCELLING, DONE, FAILED, KINDS, LOST, QUEUED, RUNNING, queuedFor, ranFor } from "./board_rows.js";

/**
 * @import { Rows, TextColumn } from "./board_rows.js"
 *
 * @typedef {TextColumn | "kind" | "started" | "queued" | "ran" | "cpu"} SortColumn
 * @typedef {{by: SortColumn, descending: boolean}} Sort
 * @typedef {{id: string, fits: (number: number) => boolean}} Only rows that something says of, and the name of that
 * @typedef {{text: string, kind: number | null, only: Only | null, sort: Sort | null}} Selection which rows, in which
 *   order
 */

// A table that nobody sorts, and one that is sorted by state.
const INTEREST = [CANCELLING, RUNNING, FAILED, LOST, QUEUED, CANCELLED, DONE];
const RANKS = KINDS.map((_, kind) => INTEREST.indexOf(kind));
const TEXTS = /** @type {const} */ (["call", "processor", "note"]);

const collator = new Intl.Collator("en", { numeric: true });

/**
 * The rank of each string among all, made anew when there are more.
 *
 * @param {Rows} rows
 */
function ranks(rows) {
  if (rows.ranks?.length !== rows.strings.length) {
    const order = rows.strings.map((_, i) => i).sort((a, b) => collator.compare(rows.strings[a], rows.strings[b]));
    /** @type {number[]} */
    const found = [];
    order.forEach((string, rank) => (found[string] = rank));
    rows.ranks = found;
  }
  return rows.ranks;
}

/**
 * What a column is sorted by; null goes last, whatever the direction.
 *
 * @param {Rows} rows
 * @param {SortColumn} name
 * @param {number} now
 * @returns {(number: number) => number | null}
 */
function sortKey(rows, name, now) {
  switch (name) {
    case "kind":
      return (i) => RANKS[rows.kind[i]];
    case "started":
      return (i) => rows.started[i];
    case "queued":
      return (i) => queuedFor(rows, i, now);
    case "ran":
      return (i) => ranFor(rows, i, now);
    case "cpu":
      return (i) => rows.cpu[i];
    default: {
      const rank = ranks(rows);
      return (i) => (rows.strings[rows[name][i]] ? rank[rows[name][i]] : null);
    }
  }
}

/**
 * What a person looks for stands first: what runs, then what failed; a session's newest tasks before its older ones.
 *
 * @param {Rows} rows
 * @param {number[]} numbers in the order of submission
 */
function byInterest(rows, numbers) {
  if (!rows.newestFirst) {
    /** @type {number[][]} */
    const byRank = INTEREST.map(() => []);
    for (const i of numbers) byRank[RANKS[rows.kind[i]]].push(i);
    return byRank[0].concat(...byRank.slice(1));
  }
  const runs = (/** @type {number} */ i) => rows.kind[i] === RUNNING || rows.kind[i] === CANCELLING;
  const newest = [...numbers].reverse();
  return [...newest.filter(runs), ...newest.filter((i) => !runs(i))];
}

/**
 * Which rows somebody looks for.
 *
 * @param {Rows} rows
 * @param {Omit<Selection, "sort">} selection
 */
export function makeFilter(rows, { text, kind, only }) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const columns = TEXTS.map((name) => rows[name]);
  const has = (/** @type {number} */ i, /** @type {string} */ word) =>
    columns.some((column) => rows.lowered[column[i]].includes(word));
  return (/** @type {number} */ i) =>
    (kind === null || rows.kind[i] === kind) &&
    (!only || only.fits(i)) &&
    (!words.length || words.every((word) => has(i, word)));
}

/**
 * The numbers of the rows that are wanted, in the order that is wanted.
 *
 * @param {Rows} rows
 * @param {Selection} selection
 * @param {number} now
 * @param {Set<number>} [also] rows that are wanted for what is below them
 */
export function arrange(rows, { sort, ...wanted }, now, also = new Set()) {
  const fits = makeFilter(rows, wanted);
  /** @type {number[]} */
  const numbers = [];
  for (let i = 0; i < rows.length; i++) if (fits(i) || also.has(i)) numbers.push(i);
  if (!sort) return byInterest(rows, numbers);
  const [key, way] = [sortKey(rows, sort.by, now), sort.descending ? -1 : 1];
  /** @type {(number | null)[]} */
  const keys = [];
  for (const i of numbers) keys[i] = key(i);
  return numbers.sort((a, b) => {
    const [x, y] = [keys[a], keys[b]];
    if (x === y) return a - b;
    if (x === null) return 1;
    if (y === null) return -1;
    return way * (x - y);
  });
}
