/* The rows of a board, by column, and what is computed of all of them. */

/** @import { Kind, Progress, RowsMessage } from "../messages.js" */

/**
 * Rows by column; `call`, `processor` and `note` are numbers of strings, times are milliseconds since `epoch`.
 *
 * @typedef {object} Rows
 * @property {number} length
 * @property {string} title
 * @property {number} epoch seconds
 * @property {string[]} strings
 * @property {string[]} lowered the same in lower case
 * @property {string[]} gists of the strings that somebody has asked for, by number
 * @property {number[]} [ranks] of each string among all
 * @property {Map<number, Progress>} progress
 * @property {[from: number, to: number][]} edges
 * @property {number[]} call
 * @property {number[]} kind
 * @property {number[]} processor
 * @property {number[]} submitted
 * @property {(number | null)[]} started
 * @property {(number | null)[]} ended null while it is not over
 * @property {number[]} note
 * @property {number[]} flags
 * @property {number[]} tries how often the call was tried: the row shows the newest try
 *
 * @typedef {"call" | "processor" | "note"} TextColumn
 * @typedef {TextColumn | "kind" | "started" | "time"} SortColumn
 * @typedef {{by: SortColumn, descending: boolean}} Sort
 * @typedef {{id: string, fits: (number: number) => boolean}} Only rows that something says of, and the name of that
 * @typedef {{text: string, kind: number | null, only: Only | null, sort: Sort | null}} Selection which rows, in which
 *   order
 * @typedef {ReturnType<typeof tally>} Tally
 */

/** @type {Kind[]} in the order of table.py */
export const KINDS = ["queued", "running", "cancelling", "done", "failed", "cancelled", "lost"];
export const QUEUED = 0;
export const RUNNING = 1;
export const CANCELLING = 2;
export const DONE = 3;
export const FAILED = 4;
export const CANCELLED = 5;
export const LOST = 6;

export const REFUSED = 1; // flags

// In the order of feed.py.
const COLUMNS = /** @type {const} */ ([
  "call", "kind", "processor", "submitted", "started", "ended", "note", "flags", "tries",
]);
const TEXTS = /** @type {const} */ (["call", "processor", "note"]);

/** @param {number} kind */
export const wordOf = (kind) => (kind === CANCELLING ? "cancelling…" : KINDS[kind]);

// Of the counts, and of a table that is sorted by state.
export const STORY = [DONE, FAILED, CANCELLED, LOST, CANCELLING, RUNNING, QUEUED];
const INTEREST = [FAILED, LOST, CANCELLING, RUNNING, QUEUED, CANCELLED, DONE];

/** @param {number} kind */
export const ended = (kind) => kind >= DONE;

/** @param {number} kind of a task that can be submitted again */
export const retriable = (kind) => kind >= FAILED;

/** @returns {Rows} */
export function makeRows() {
  return {
    length: 0,
    title: "",
    epoch: 0,
    strings: [],
    lowered: [],
    gists: [],
    progress: new Map(),
    edges: [],
    call: [],
    kind: [],
    processor: [],
    submitted: [],
    started: [],
    ended: [],
    note: [],
    flags: [],
    tries: [],
  };
}

/**
 * Take in a message.
 *
 * @param {Rows} rows
 * @param {RowsMessage} message
 */
export function takeRows(rows, { whole, title, epoch, edges, strings, columns, numbers, progress }) {
  if (whole) Object.assign(rows, makeRows(), { title, epoch, edges: edges ?? [] });
  for (const text of strings) {
    rows.strings.push(text);
    rows.lowered.push(text.toLowerCase());
  }
  COLUMNS.forEach((name, c) => {
    const column = /** @type {(number | null)[]} */ (rows[name]);
    const values = columns[c] ?? [];
    for (let i = 0; i < values.length; i++) column[numbers ? numbers[i] : i] = values[i];
  });
  rows.length = rows.kind.length;
  for (const [number, done, total, note] of progress) rows.progress.set(number, { done, total, note });
}

/**
 * The kernel has ended, and with it what was unfinished.
 *
 * @param {Rows} rows
 * @param {number} now milliseconds since the epoch of the rows
 */
export function loseRows(rows, now) {
  for (let i = 0; i < rows.length; i++) {
    if (ended(rows.kind[i])) continue;
    rows.kind[i] = LOST;
    rows.ended[i] = now;
  }
}

/**
 * @param {Rows} rows
 * @param {TextColumn} name
 * @param {number} number
 */
export const textOf = (rows, name, number) => rows.strings[rows[name][number]];

const NUMBERS = /\d+(?:[.,]\d+)*/g;

/**
 * What a string says, whatever its numbers: errors with one gist are of one kind.
 *
 * @param {Rows} rows
 * @param {number} string
 */
export const gistOf = (rows, string) => (rows.gists[string] ??= rows.strings[string].replace(NUMBERS, "…"));

/**
 * When a task ended, or `now` if it has not.
 *
 * @param {Rows} rows
 * @param {number} number
 * @param {number} now
 */
export const endOf = (rows, number, now) => (ended(rows.kind[number]) ? rows.ended[number] ?? now : now);

/**
 * Milliseconds that a task has run, or null.
 *
 * @param {Rows} rows
 * @param {number} number
 * @param {number} now
 */
export function ranFor(rows, number, now) {
  const started = rows.started[number];
  return started === null ? null : Math.max(0, endOf(rows, number, now) - started);
}

/**
 * The part of a task that is done, from 0 to 1; null if that is not known, or if it has ended.
 *
 * @param {Rows} rows
 * @param {number} number
 */
export function shareOf(rows, number) {
  const progress = ended(rows.kind[number]) ? undefined : rows.progress.get(number);
  return progress?.total && progress.total > 0 ? Math.min(1, Math.max(0, progress.done / progress.total)) : null;
}

/**
 * Counts by kind, and the pace.
 *
 * @param {Rows} rows
 * @param {number} now milliseconds since the epoch of the rows
 */
export function tally(rows, now) {
  const counts = KINDS.map(() => 0);
  let [refused, first, last] = [0, Infinity, -Infinity];
  for (let i = 0; i < rows.length; i++) {
    const kind = rows.kind[i];
    counts[kind]++;
    if (rows.flags[i] & REFUSED && kind === RUNNING) refused++;
    if (rows.submitted[i] < first) first = rows.submitted[i];
    last = Math.max(last, rows.ended[i] ?? -Infinity);
  }
  const unfinished = counts[QUEUED] + counts[RUNNING] + counts[CANCELLING];
  const elapsed = rows.length ? (unfinished ? now : last) - first : 0;
  const left = unfinished ? timeLeft(rows, unfinished, now, elapsed) : null;
  return { counts, refused, unfinished, elapsed, left };
}

/**
 * Milliseconds until all have ended at the pace of the last stretch; null if nobody can know.
 *
 * @param {Rows} rows
 * @param {number} unfinished
 * @param {number} now
 * @param {number} elapsed
 */
function timeLeft(rows, unfinished, now, elapsed) {
  const stretch = Math.min(elapsed, Math.max(5000, Math.min(60000, elapsed / 3)));
  let completed = 0;
  for (let i = 0; i < rows.length; i++) {
    const kind = rows.kind[i];
    if ((kind === DONE || kind === FAILED) && (rows.ended[i] ?? 0) > now - stretch) completed++;
  }
  return completed < 3 || elapsed < 1000 ? null : (unfinished * stretch) / completed;
}

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
      return (i) => INTEREST.indexOf(rows.kind[i]);
    case "started":
      return (i) => rows.started[i];
    case "time":
      return (i) => ranFor(rows, i, now);
    default: {
      const rank = ranks(rows);
      return (i) => (rows.strings[rows[name][i]] ? rank[rows[name][i]] : null);
    }
  }
}

/**
 * The numbers of the rows that are wanted, in the order that is wanted.
 *
 * @param {Rows} rows
 * @param {Selection} selection
 * @param {number} now
 */
export function arrange(rows, { text, kind, only, sort }, now) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  /** @type {number[]} */
  const numbers = [];
  for (let i = 0; i < rows.length; i++) {
    if ((kind !== null && rows.kind[i] !== kind) || only?.fits(i) === false) continue;
    const fits = (/** @type {string} */ word) => TEXTS.some((name) => rows.lowered[rows[name][i]].includes(word));
    if (words.length && !words.every(fits)) continue;
    numbers.push(i);
  }
  if (sort) {
    const [key, way] = [sortKey(rows, sort.by, now), sort.descending ? -1 : 1];
    /** @type {(number | null)[]} */
    const keys = [];
    for (const i of numbers) keys[i] = key(i);
    numbers.sort((a, b) => {
      const [x, y] = [keys[a], keys[b]];
      if (x === y) return a - b;
      if (x === null) return 1;
      if (y === null) return -1;
      return way * (x - y);
    });
  }
  return numbers;
}
