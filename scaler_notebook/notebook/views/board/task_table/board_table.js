/* The table of a board: only the rows that can be seen are in the document. */

import { h, setAttributes, setRole, setText } from "../../dom.js";
import { drawIcon, makeIcon } from "../../icons.js";
import { duration, progressWords } from "../../quantities.js";
import { aboveWhatFits, otherNumber, withNested } from "../store/board_nested.js";
import { arrange } from "../store/board_order.js";
import {
  CANCELLING, KINDS, REFUSED, RUNNING, ended, queuedFor, ranFor, retriable, shareOf, textOf, wordOf,
} from "../store/board_rows.js";
import { makeArguments } from "./board_arguments.js";
import { makeFold, makeFolds } from "./board_folds.js";

/**
 * @import { SortColumn } from "../store/board_order.js"
 * @import { Rows } from "../store/board_rows.js"
 * @import { Store } from "../store/board_store.js"
 *
 * @typedef {object} TableActions what a person can do
 * @property {(number: number) => void} open
 * @property {(numbers: number[], force: boolean) => void} cancel
 * @property {(numbers: number[]) => void} retry
 * @property {() => void} selected other rows are selected than before
 */

const ROW_HEIGHT = 26;
const MAX_SHOWN = 10;
const SPARE_ROWS = 4; // beyond either edge
const HOLD_MS = 3000; // after the pointer's last move, rows stay where they are under it

/** @type {[by: SortColumn, title: string][]} */
const HEADINGS = [
  ["kind", "State"],
  ["call", "Call"],
  ["processor", "Process"],
  ["started", "Started"],
  ["queued", "Queued"],
  ["ran", "Ran"],
  ["cpu", "CPU"],
  ["note", "Note"],
];

const NESTED = "A task has submitted it: what it gives, and a cancel that reaches it, are that task's";

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

let tables = 0;

/**
 * @param {Store} store
 * @param {TableActions} act
 */
export function makeTable(store, act) {
  const { rows, nested, look, selected } = store;
  const id = `scaler-table-${Date.now().toString(36)}-${tables++}`;
  const body = setRole(h("div", "scaler-rows"), "rowgroup");
  const head = setRole(h("div", "scaler-line scaler-headings"), "row", { "aria-rowindex": 1 });
  const empty = h("div", "scaler-empty");
  const grid = setRole(h("div", "scaler-grid", head, body, empty), "grid", {
    tabindex: 0,
    "aria-label": "tasks",
    "aria-multiselectable": "true",
  });
  const headings = HEADINGS.map(([by, title]) => {
    const node = h("button", "", title);
    node.type = "button";
    node.onclick = () => sortBy(by);
    const cell = setRole(h("div", `scaler-cell scaler-col-${by}`, node), "columnheader");
    head.append(cell);
    return { by, cell, node };
  });
  /** @type {ReturnType<typeof makeLine>[]} */
  const lines = [];
  /** @type {number[]} */
  let order = [];
  const folds = makeFolds(store, () => {
    rearrange(true);
    paint();
  });
  const calls = makeArguments(rows);
  let [moved, placed] = [-Infinity, 0];
  let known = 0; // rows at the last look for the order

  // ------------------------------------------------------------------ order

  /**
   * Find the order anew, unless somebody reads further down, or is about to press something of a row where it is now.
   *
   * @param {boolean} asked by a person, at any rate
   */
  function rearrange(asked) {
    known = rows.length;
    folds.look();
    const pointed = grid.matches(":hover") && performance.now() - moved < HOLD_MS;
    const held = grid.scrollTop > 0 || pointed || body.querySelector(".scaler-row-act:focus") !== null;
    if (!asked && held && order.length) {
      const there = new Set(order);
      const also = aboveWhatFits(nested, look);
      const grown = arrange(rows, { ...look, sort: null }, store.now(), also).filter((number) => !there.has(number));
      order = [...order, ...grown];
    } else {
      order = withNested(nested, arrange(rows, look, store.now(), aboveWhatFits(nested, look)), look);
    }
    calls.look(shownRows(), JSON.stringify([look.kind, look.only?.id, look.text]));
    setRole(grid, nested.length ? "treegrid" : "grid");
    body.style.height = `${order.length * ROW_HEIGHT}px`;
    grid.style.height = `${(Math.min(MAX_SHOWN, Math.max(1, rows.length, order.length)) + 1) * ROW_HEIGHT + 2}px`;
    grid.setAttribute("aria-rowcount", String(order.length + 1));
    setText(empty, order.length ? "" : rows.length ? "no task fits" : "no tasks");
    for (const { by, cell } of headings) {
      const way = look.sort?.by !== by ? "none" : look.sort.descending ? "descending" : "ascending";
      cell.setAttribute("aria-sort", way);
    }
  }

  /** @param {SortColumn} by */
  function sortBy(by) {
    const { sort } = look;
    if (sort?.by !== by) look.sort = { by, descending: false };
    else look.sort = sort.descending ? null : { by, descending: true };
    show();
    paint();
  }

  /** Show what somebody has asked for, from its top. */
  function show() {
    grid.scrollTop = look.scrollTop = 0;
    rearrange(true);
  }

  // ------------------------------------------------------------------ rows

  function makeLine() {
    const [icon, word] = [makeIcon(), h("span", "scaler-word")];
    const cell = (/** @type {SortColumn} */ by, /** @type {Node[]} */ ...children) =>
      setRole(h("div", `scaler-cell scaler-col-${by}`, ...children), "gridcell");
    const [fold, call] = [makeFold(), h("span")];
    const cells = {
      kind: cell("kind", icon, word),
      call: cell("call", fold, call),
      processor: cell("processor"),
      started: cell("started"),
      queued: cell("queued"),
      ran: cell("ran"),
      cpu: cell("cpu"),
      note: cell("note"),
    };
    const [cancel, retry] = [h("button", "scaler-row-act"), h("button", "scaler-row-act", "Retry")];
    for (const each of [cancel, retry]) each.type = "button";
    const acts = setRole(h("div", "scaler-row-acts", cancel, retry), "gridcell");
    const node = setRole(h("div", "scaler-line", ...HEADINGS.map(([by]) => cells[by]), acts), "row");
    const line = { number: 0, icon, word, fold, call, cells, cancel, retry, node };
    fold.onclick = (event) => {
      event.stopPropagation();
      folds.turn(line.number);
    };
    cancel.onclick = (event) => {
      event.stopPropagation();
      act.cancel([line.number], cancel.dataset.force === "true");
    };
    retry.onclick = (event) => {
      event.stopPropagation();
      act.retry([line.number]);
    };
    node.onclick = (event) => choose(line.number, event);
    body.append(node);
    return line;
  }

  /**
   * @param {ReturnType<typeof makeLine>} line
   * @param {number} entry of the order: what it shows
   * @param {number} position in the order
   */
  function paintLine(line, entry, position) {
    const [from, number] = found(entry);
    const isNested = from === nested;
    const [kind, flags] = [from.kind[number], from.flags[number]];
    const refused = Boolean(flags & REFUSED) && kind === RUNNING;
    if (line.node.id !== `${id}-${entry}`) line.node.id = `${id}-${entry}`;
    // What somebody is about to press never becomes another row's.
    if (line.number !== entry && line.node.contains(document.activeElement)) grid.focus({ preventScroll: true });
    line.number = entry;
    line.node.hidden = false;
    line.node.style.transform = `translateY(${position * ROW_HEIGHT}px)`;
    if (line.node.dataset.kind !== KINDS[kind]) {
      line.node.dataset.kind = KINDS[kind];
      drawIcon(line.icon, KINDS[kind]);
      setText(line.word, wordOf(kind));
    }
    setAttributes(line.node, { "aria-rowindex": position + 2, "aria-selected": selected.has(entry) });
    line.node.classList.toggle("scaler-current", store.current === entry);
    line.node.classList.toggle("scaler-opened", look.open === entry);
    line.node.classList.toggle("scaler-nested", isNested);
    const call = textOf(from, "call", number);
    const note = refused ? "still running" : textOf(from, "note", number);
    const words = from.tries[number] > 1 ? [`try ${from.tries[number]}`, note].filter(Boolean).join(" · ") : note;
    const progress = ended(kind) ? undefined : from.progress.get(number);
    setText(line.call, isNested ? call : calls.shown(number));
    line.cells.call.title = isNested ? `${call}\n${NESTED}` : call;
    folds.paint({ node: line.node, fold: line.fold, cell: line.cells.call }, entry);
    paintCell(line.cells.processor, textOf(from, "processor", number));
    const started = from.started[number];
    paintCell(line.cells.started, started === null ? "" : clock.format(rows.epoch * 1000 + started));
    paintCell(line.cells.note, progress && !note ? progressWords(progress) : words);
    line.cells.note.style.setProperty("--scaler-share", `${(shareOf(from, number) ?? 0) * 100}%`);
    line.cancel.tabIndex = line.retry.tabIndex = store.current === entry ? 0 : -1;
    line.cancel.hidden = isNested || ended(kind) || kind === CANCELLING;
    line.cancel.dataset.force = String(refused);
    setText(line.cancel, refused ? "Kill" : "Cancel");
    line.retry.hidden = isNested || !retriable(kind) || store.lost;
    const cpu = from.cpu[number];
    setText(line.cells.cpu, cpu === null ? "" : duration(cpu / 1000, true));
    paintTimes(line);
  }

  /**
   * What an entry of the order shows: rows, and a number among these.
   *
   * @param {number} entry
   * @returns {[from: Rows, number: number]}
   */
  const found = (entry) => (entry < 0 ? [nested, otherNumber(entry)] : [rows, entry]);

  /**
   * @param {HTMLElement} cell
   * @param {string} text
   * @param {string} title
   */
  function paintCell(cell, text, title = text) {
    setText(cell, text);
    if (cell.title !== title) cell.title = title;
  }

  function paintHeading() {
    const heading = headings.find(({ by }) => by === "call");
    if (!heading) return;
    const [words, same] = [calls.heading(), calls.same()];
    setText(heading.node, words || "Call");
    heading.node.title = words && same ? `the same in all: ${same}` : "";
  }

  /** @param {ReturnType<typeof makeLine>} line */
  function paintTimes(line) {
    const [from, number] = found(line.number);
    const [now, settled] = [store.now(), ended(from.kind[number])];
    const [queued, ran] = [queuedFor(from, number, now), ranFor(from, number, now)];
    setText(line.cells.queued, duration(queued / 1000, settled || ran !== null));
    setText(line.cells.ran, ran === null ? "" : duration(ran / 1000, settled));
  }

  function paint() {
    paintHeading();
    const first = Math.max(0, Math.floor(grid.scrollTop / ROW_HEIGHT) - SPARE_ROWS);
    const seen = Math.ceil(grid.clientHeight / ROW_HEIGHT) || MAX_SHOWN;
    const last = Math.min(order.length, first + seen + 2 * SPARE_ROWS);
    while (lines.length < last - first) lines.push(makeLine());
    // A row keeps its element while it is scrolled, so that a hover and a half-done click survive.
    for (let position = first; position < first + lines.length; position++) {
      const line = lines[position % lines.length];
      if (position < last) paintLine(line, order[position], position);
      else Object.assign(line.node, { hidden: true, id: "" });
    }
    placeLines(first);
    if (store.current !== null && order.includes(store.current))
      grid.setAttribute("aria-activedescendant", `${id}-${store.current}`);
    else grid.removeAttribute("aria-activedescendant");
  }

  /**
   * Have the rows stand in the document as they are seen, for who reads it by voice. Those that were scrolled out of
   * sight are put in at the other end, so that what is under the pointer stays where it is.
   *
   * @param {number} first position of the topmost row
   */
  function placeLines(first) {
    const nodes = lines.map((_, i) => lines[(first + i) % lines.length].node);
    if (first >= placed) {
      let after = null;
      for (const node of nodes.reverse()) {
        if (node.nextSibling !== after) body.insertBefore(node, after);
        after = node;
      }
    } else {
      for (const [i, node] of nodes.entries()) {
        if (body.children[i] !== node) body.insertBefore(node, body.children[i]);
      }
    }
    placed = first;
  }

  function tick() {
    for (const line of lines) {
      const [from, number] = found(line.number);
      if (!line.node.hidden && !ended(from.kind[number])) paintTimes(line);
    }
  }

  // ------------------------------------------------------------------ choosing

  /**
   * @param {number} entry
   * @param {MouseEvent} event
   */
  function choose(entry, event) {
    if (event.shiftKey && store.anchor !== null) selectRange(store.anchor, entry);
    else if (event.ctrlKey || event.metaKey) toggle(entry);
    else {
      selected.clear();
      select(entry);
      store.anchor = entry;
      act.open(taskOf(entry));
    }
    store.current = entry;
    act.selected();
    paint();
  }

  /**
   * The row of the board that an entry of the order is, or is below.
   *
   * @param {number} entry
   */
  const taskOf = (entry) => (entry < 0 ? nested.below[otherNumber(entry)] : entry);

  /** Select what buttons can act on, which nested rows are not. */
  const select = (/** @type {number} */ entry) => entry >= 0 && selected.add(entry);

  /** @param {number} entry */
  function toggle(entry) {
    if (!selected.delete(entry)) select(entry);
    store.anchor = entry;
  }

  /**
   * @param {number} from
   * @param {number} to
   */
  function selectRange(from, to) {
    const [a, b] = [order.indexOf(from), order.indexOf(to)];
    if (a < 0 || b < 0) return;
    selected.clear();
    for (let p = Math.min(a, b); p <= Math.max(a, b); p++) select(order[p]);
  }

  /** @param {number} position */
  function reveal(position) {
    const [top, height, before] = [position * ROW_HEIGHT, grid.clientHeight - ROW_HEIGHT, grid.scrollTop];
    grid.scrollTop = Math.max(top + ROW_HEIGHT - height, Math.min(top, before));
    // The browser says so with its next frame; a view that moves before that must know where to scroll to.
    if (grid.scrollTop !== before) grid.dispatchEvent(new Event("scroll"));
  }

  /**
   * The buttons of the current row, where it is in the document.
   *
   * @returns {HTMLButtonElement[]}
   */
  function actionsOfCurrent() {
    const line = lines.find(({ number, node }) => number === store.current && !node.hidden);
    return line ? [line.cancel, line.retry].filter((each) => !each.hidden) : [];
  }

  /** @param {KeyboardEvent} event */
  function onKey(event) {
    const inRow = body.contains(/** @type {Node} */ (event.target));
    if (inRow && !["ArrowLeft", "ArrowUp", "ArrowDown"].includes(event.key)) return;
    if ((event.target !== grid && !inRow) || !order.length) return;
    const { current } = store;
    const here = current === null ? -1 : order.indexOf(current);
    const page = Math.max(1, Math.floor(grid.clientHeight / ROW_HEIGHT) - 2);
    /** @type {Record<string, number>} */
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in steps) {
      grid.focus({ preventScroll: true });
      const step = steps[event.key];
      const to = Math.min(order.length - 1, Math.max(0, here < 0 && Number.isFinite(step) ? 0 : here + step));
      store.current = order[to];
      if (event.shiftKey) selectRange(store.anchor ?? order[Math.max(0, here)], order[to]);
      else {
        selected.clear();
        select(order[to]);
        store.anchor = order[to];
      }
      reveal(to);
    } else if (inRow) grid.focus({ preventScroll: true });
    else if (event.key === " " && here >= 0) toggle(order[here]);
    else if (event.key === "Enter" && here >= 0) act.open(taskOf(order[here]));
    else if (event.key === "ArrowRight" && folds.has(order[here]) && !folds.isOpen(order[here]))
      folds.turn(order[here], true);
    else if (event.key === "ArrowRight") actionsOfCurrent()[0]?.focus({ preventScroll: true });
    else if (event.key === "ArrowLeft" && folds.has(taskOf(order[here])))
      folds.turn((store.current = taskOf(order[here])), false);
    else if (event.key === "Delete" && selected.size) act.cancel([...selected], false);
    else if (event.key === "a" && (event.ctrlKey || event.metaKey)) order.forEach(select);
    else if (event.key === "Escape" && selected.size && look.open === null) selected.clear();
    else return;
    event.preventDefault();
    event.stopPropagation();
    act.selected();
    paint();
  }

  let frame = 0;
  grid.onscroll = () => {
    look.scrollTop = grid.scrollTop;
    cancelAnimationFrame(frame);
    frame = requestAnimationFrame(paint);
  };
  grid.onkeydown = onKey;
  grid.onpointermove = () => {
    moved = performance.now();
  };

  const shownRows = () => order.filter((entry) => entry >= 0);

  return { node: grid, rearrange, show, paint, tick, shown: () => shownRows().length, known: () => known };
}
