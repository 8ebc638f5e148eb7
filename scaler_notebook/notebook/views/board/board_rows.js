/* The rows of a board, by column, and what is computed of all of them. Continues card.js. */

// In the order of board_rows.py, and of boards.py.
const KINDS = ["queued", "running", "cancelling", "done", "failed", "cancelled"];
const COLUMNS = ["call", "kind", "processor", "submitted", "started", "ended", "note", "flags"];
const [QUEUED, RUNNING, CANCELLING, DONE, FAILED, CANCELLED] = KINDS.keys();
const [REFUSED, RETRIED] = [1, 2];

const WORDS = { cancelling: "cancelling…" };
const wordOf = (kind) => WORDS[KINDS[kind]] ?? KINDS[kind];

// Of the counts, and of a table that is sorted by state.
const STORY = [DONE, FAILED, CANCELLED, CANCELLING, RUNNING, QUEUED];
const INTEREST = [FAILED, CANCELLING, RUNNING, QUEUED, CANCELLED, DONE];

const ended = (kind) => kind >= DONE;

function makeRows() {
  const rows = { length: 0, title: "", epoch: 0, strings: [], lowered: [], progress: new Map(), edges: [] };
  for (const name of COLUMNS) rows[name] = [];
  return rows;
}

/** Take in a message; `numbers` says which rows its columns are of, and is missing in a snapshot. */
function takeRows(rows, { whole, title, epoch, edges, strings, columns, numbers, progress }) {
  if (whole) Object.assign(rows, makeRows(), { title, epoch, edges: edges ?? [] });
  for (const text of strings) {
    rows.strings.push(text);
    rows.lowered.push(text.toLowerCase());
  }
  COLUMNS.forEach((name, c) => {
    const [column, values] = [rows[name], columns[c] ?? []];
    for (let i = 0; i < values.length; i++) column[numbers ? numbers[i] : i] = values[i];
  });
  rows.length = rows.kind.length;
  for (const [number, done, total, note] of progress) rows.progress.set(number, { done, total, note });
}

const textOf = (rows, name, number) => rows.strings[rows[name][number]];

/** Milliseconds that a task has run, or null. */
function ranFor(rows, number, now) {
  const started = rows.started[number];
  if (started === null) return null;
  return Math.max(0, (ended(rows.kind[number]) ? rows.ended[number] ?? now : now) - started);
}

/** Counts by kind, and the pace; `now` in milliseconds since the epoch of the rows. */
function tally(rows, now) {
  const counts = KINDS.map(() => 0);
  let [refused, retriable, first, last] = [0, 0, Infinity, -Infinity];
  for (let i = 0; i < rows.length; i++) {
    const kind = rows.kind[i];
    counts[kind]++;
    if (rows.flags[i] & REFUSED && kind === RUNNING) refused++;
    if (kind === FAILED && !(rows.flags[i] & RETRIED)) retriable++;
    if (rows.submitted[i] < first) first = rows.submitted[i];
    if (rows.ended[i] > last) last = rows.ended[i];
  }
  const unfinished = counts[QUEUED] + counts[RUNNING] + counts[CANCELLING];
  const elapsed = rows.length ? (unfinished ? now : last) - first : 0;
  return { counts, refused, retriable, unfinished, elapsed, left: unfinished ? timeLeft(rows, unfinished, now, elapsed) : null };
}

/** Milliseconds until all have ended at the pace of the last stretch; null if nobody can know. */
function timeLeft(rows, unfinished, now, elapsed) {
  const stretch = Math.min(elapsed, Math.max(5000, Math.min(60000, elapsed / 3)));
  let completed = 0;
  for (let i = 0; i < rows.length; i++) {
    const kind = rows.kind[i];
    if ((kind === DONE || kind === FAILED) && rows.ended[i] > now - stretch) completed++;
  }
  return completed < 3 || elapsed < 1000 ? null : (unfinished * stretch) / completed;
}

/** `about 40 s left`: no more exact than it is true. */
function roughly(milliseconds) {
  const s = milliseconds / 1000;
  if (s < 10) return `${Math.max(1, Math.round(s))} s`;
  if (s < 90) return `${Math.round(s / 5) * 5} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  return `${(s / 3600).toFixed(1)} h`;
}

const collator = new Intl.Collator("en", { numeric: true });

/** The rank of each string among all, made anew when there are more. */
function ranks(rows) {
  if (rows.ranks?.length !== rows.strings.length) {
    const order = rows.strings.map((_, i) => i).sort((a, b) => collator.compare(rows.strings[a], rows.strings[b]));
    rows.ranks = [];
    order.forEach((string, rank) => (rows.ranks[string] = rank));
  }
  return rows.ranks;
}

/** What a column is sorted by; null goes last, whatever the direction. */
function sortKey(rows, name, now) {
  const byText = (column) => {
    const rank = ranks(rows);
    return (i) => (rows.strings[rows[column][i]] ? rank[rows[column][i]] : null);
  };
  switch (name) {
    case "kind":
      return (i) => INTEREST.indexOf(rows.kind[i]);
    case "started":
      return (i) => rows.started[i];
    case "time":
      return (i) => ranFor(rows, i, now);
    default:
      return byText(name);
  }
}

/** The numbers of the rows that are wanted, in the order that is wanted. */
function arrange(rows, { text, kind, sort }, now) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const numbers = [];
  for (let i = 0; i < rows.length; i++) {
    if (kind !== null && rows.kind[i] !== kind) continue;
    const fits = (word) => ["call", "processor", "note"].some((name) => rows.lowered[rows[name][i]].includes(word));
    if (words.length && !words.every(fits)) continue;
    numbers.push(i);
  }
  if (sort) {
    const [key, way] = [sortKey(rows, sort.by, now), sort.descending ? -1 : 1];
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
