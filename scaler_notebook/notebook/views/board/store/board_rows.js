/* The rows of a board, by column, and what is computed of all of them. */

/** @import { Kind, Progress, RowsMessage } from "../../messages.js" */

/**
 * Rows by column; `call`, `processor` and `note` are numbers of strings, times are milliseconds since `epoch`.
 *
 * @typedef {object} Rows
 * @property {number} length
 * @property {string} title
 * @property {boolean} newestFirst
 * @property {number} epoch seconds
 * @property {string[]} strings
 * @property {string[]} lowered the same in lower case
 * @property {string[]} gists of the strings that somebody has asked for, by number
 * @property {string[]} names of what is called, likewise
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
 * @property {(number | null)[]} cpu milliseconds, of a task that has ended
 * @property {number[]} tries how often the call was tried: the row shows the newest try
 *
 * @typedef {"call" | "processor" | "note"} TextColumn
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
  "call", "kind", "processor", "submitted", "started", "ended", "note", "flags", "tries", "cpu",
]);

/** @param {number} kind */
export const wordOf = (kind) => (kind === CANCELLING ? "cancelling…" : KINDS[kind]);

// Of the counts, from left to right.
export const STORY = [DONE, FAILED, CANCELLED, LOST, CANCELLING, RUNNING, QUEUED];

/** @param {number} kind */
export const ended = (kind) => kind >= DONE;

/** @param {number} kind of a task that can be submitted again */
export const retriable = (kind) => kind >= FAILED;

/** @returns {Rows} */
export function makeRows() {
  return {
    length: 0,
    title: "",
    newestFirst: false,
    epoch: 0,
    strings: [],
    lowered: [],
    gists: [],
    names: [],
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
    cpu: [],
  };
}

/**
 * Take in a message.
 *
 * @param {Rows} rows
 * @param {Pick<RowsMessage, "strings" | "columns" | "progress"> & Partial<RowsMessage>} message
 */
export function takeRows(rows, { whole, title, epoch, edges, newest_first, strings, columns, numbers, progress }) {
  if (whole) Object.assign(rows, makeRows(), { title, epoch, edges: edges ?? [], newestFirst: Boolean(newest_first) });
  if (title !== undefined) rows.title = title;
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
  for (const number of numbers ?? []) rows.progress.delete(number); // of an earlier try
  for (const [number, done, total, amount, left, note] of progress)
    rows.progress.set(number, { done, total, amount, left, note });
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

// What may differ between errors of one kind. static_html.py has the same rules; error_gists.json has cases for both.
const VARYING = new RegExp(
  [
    String.raw`(?:\bb|\B)'(?:[^'\n]|\b'\b)*'\B`, // what is quoted; an apostrophe is within a word
    String.raw`(?:\bb|\B)"[^"\n]*"\B`,
    String.raw`\B(?:~|\.\.?)?(?:/[\w.+@%=~-]+){2,}/?`, // paths
    String.raw`\b[a-z]:\\[^\s'":]+`,
    String.raw`\b0x[0-9a-f]+\b`, // addresses
    String.raw`\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b`, // UUIDs
    String.raw`\b(?=[a-f]*\d)[0-9a-f]{8,}\b`, // digests
    String.raw`(?:\B[-+]?\.?)?\d+(?:[.,\u2009]\d+)*(?:e[-+]?\d+)?`,
  ].join("|"),
  "gi",
);

/**
 * What a string says, whatever its numbers, addresses and quoted names: errors with one gist are of one kind.
 *
 * @param {Rows} rows
 * @param {number} string
 */
export const gistOf = (rows, string) => (rows.gists[string] ??= rows.strings[string].replace(VARYING, "…"));

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
 * Milliseconds that a task has waited for its start.
 *
 * @param {Rows} rows
 * @param {number} number
 * @param {number} now
 */
export const queuedFor = (rows, number, now) =>
  Math.max(0, (rows.started[number] ?? endOf(rows, number, now)) - rows.submitted[number]);

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
 * Counts by kind, and for how long it has taken so far.
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
  return { counts, refused, unfinished, elapsed };
}
