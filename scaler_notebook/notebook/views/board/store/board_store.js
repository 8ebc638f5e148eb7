/* What all views of one board share, and keep when they are drawn again. */

import { forgetNested, makeNested, takeNested } from "./board_nested.js";
import { loseRows, makeRows, takeRows } from "./board_rows.js";

/**
 * @import { Answer, Detail, OutputMessage, RowsMessage } from "../../messages.js"
 * @import { Selection } from "./board_order.js"
 *
 * @typedef {Selection & {open: number | null, tab: Tab, chosen: boolean, scrollTop: number,
 *   folds: Map<number, boolean>}} Look `folds`: by row, whether somebody wants to see what is below it
 * @typedef {"graph" | "table" | "functions" | "timeline"} Tab
 * @typedef {Detail & {seq: number, now: number}} DatedDetail
 * @typedef {ReturnType<typeof makeStore>} Store
 */

let pages = 0;

export function makeStore() {
  const store = {
    page: `${Date.now().toString(36)}-${pages++}-${Math.random().toString(36).slice(2)}`,
    rows: makeRows(),
    nested: makeNested(),
    seq: /** @type {number | null} */ (null),
    skew: 0,
    details: /** @type {Map<number, DatedDetail>} */ (new Map()),
    selected: /** @type {Set<number>} */ (new Set()),
    current: /** @type {number | null} */ (null),
    anchor: /** @type {number | null} */ (null),
    look: /** @type {Look} */ ({
      text: "",
      kind: null,
      only: null,
      sort: null,
      open: null,
      tab: "table",
      chosen: false,
      scrollTop: 0,
      folds: new Map(),
    }),
    asked: /** @type {number | null} */ (null), // when, by Date.now()
    late: false, // was there no answer?
    /** @type {{numbers: number[], known: number, until: number} | null} */
    undo: null, // what Cancel all has asked to stop, and how many rows were known then; Infinity once it is answered
    answer: /** @type {Answer | null} */ (null),
    views: /** @type {Set<() => void>} */ (new Set()),
    /** What cards in panes hear beside rows. */
    panes: /** @type {Set<(message: OutputMessage) => void>} */ (new Set()),
    /** @type {"grid" | "search" | null} */
    focus: null, // what a view that is drawn again gives the keyboard back to
    /** @type {{answer: number, failed: number, unfinished: number} | null} */
    before: null, // what was so when somebody was last told
    spoken: "",
    listening: false, // does the kernel send to us?
    lost: false, // has the kernel ended?
    now: () => Date.now() + store.skew * 1000 - store.rows.epoch * 1000,
  };
  return store;
}

/**
 * Take a message in; false if one before it is missing.
 *
 * @param {Store} store
 * @param {RowsMessage} message
 */
export function takeMessage(store, message) {
  if (!message.whole && (store.seq === null || message.seq !== store.seq + 1)) return false;
  store.seq = message.seq;
  store.skew = message.now - Date.now() / 1000;
  takeRows(store.rows, message);
  if (message.whole) forgetNested(store.nested);
  if (message.nested) takeNested(store.nested, message.nested, store.rows);
  const { seq, now } = message;
  for (const detail of message.details) store.details.set(detail.number, { ...detail, seq, now });
  if (message.answer) {
    extendUndo(store);
    store.answer = message.answer;
    store.asked = null;
    store.late = false;
  }
  return true;
}

/**
 * The kernel has answered: what it has asked to stop may have been submitted before its rows were known here.
 *
 * @param {Store} store
 */
function extendUndo({ undo, rows }) {
  if (!undo) return;
  for (let number = undo.known; number < rows.length; number++) undo.numbers.push(number);
  undo.known = Infinity;
}

/**
 * The kernel has ended: nothing goes on, and nobody answers any more.
 *
 * @param {Store} store
 */
export function loseKernel(store) {
  if (store.lost) return;
  Object.assign(store, { lost: true, asked: null, late: false, undo: null });
  loseRows(store.rows, store.now());
  loseRows(store.nested, store.now());
}
