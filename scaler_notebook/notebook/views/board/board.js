/* The board of many tasks: counts, a graph, a table or a time line, and the card of the task that is open. */

import { setText } from "../dom.js";
import { watchHold } from "../hold.js";
import { KERNEL_ENDED, whenKernelEnds } from "../kernel_end.js";
import { coverPlaces } from "../page/cover.js";
import { KNOCK_AGAIN_MS, NO_ANSWER, PATIENCE_MS, TICK_MS } from "../patience.js";
import { amount, duration, roughly } from "../quantities.js";
import { makeBell } from "./board_bell.js";
import { buildFrame } from "./board_frame.js";
import { makePane } from "./board_pane.js";
import { makeGraph } from "./graph/board_graph.js";
import {
  CANCELLED, CANCELLING, FAILED, LOST, QUEUED, REFUSED, RUNNING, STORY, ended, retriable, tally, wordOf,
} from "./store/board_rows.js";
import { loseKernel, makeStore, takeMessage } from "./store/board_store.js";
import { summarizeCalls } from "./summaries/board_calls.js";
import { makeErrors } from "./summaries/board_errors.js";
import { makeFunctions } from "./summaries/board_functions.js";
import { timeLeft } from "./summaries/board_pace.js";
import { makeStraggler } from "./summaries/board_straggler.js";
import { makeTable } from "./task_table/board_table.js";
import { makeTimeline } from "./timeline/board_timeline.js";

/**
 * @import {
 *   AskForRowsOutput, CancelRows, Channel, Left, OpenOrClose, OutputMessage, RetryRows, RowsMessage, Widget
 * } from "../messages.js"
 * @import { Look, Store, Tab } from "./store/board_store.js"
 */

const LINGER_MS = 1000; // a view that is drawn again is not gone
const GAP_MS = 2000; // between two questions for what is missing
const UNDO_MS = 10_000; // after Cancel all
const SETTLE_MS = 1000; // between two looks for the order, the time left and stragglers while rows change

/**
 * @param {number} n
 * @param {string} one
 */
const plural = (n, one, many = `${one}s`) => `${amount(n)} ${n === 1 ? one : many}`;

/**
 * Draw a board in an element, and keep it current; gives how to take it down.
 *
 * @param {Store} store
 * @param {Channel} model
 * @param {HTMLElement} el
 * @param {() => void} [shown] called when the first rows are there
 */
function renderBoard(store, model, el, shown = () => {}) {
  const { rows, look, selected } = store;
  const act = { open, cancel, retry, selected: paintFoot };
  const table = makeTable(store, act);
  const timeline = makeTimeline(store, act);
  const graph = makeGraph(store, act);
  const pane = makePane(store, { cancel, close, retry, askForOutput: tell });
  const show = (/** @type {Look["only"]} */ only) => filter({ only });
  const errors = makeErrors(store, { show, retry });
  const straggler = makeStraggler(store, { show });
  const functions = makeFunctions(store, { show: showOnly, open });
  const panels = { table, functions, timeline, graph };
  const bodies = [graph, table, functions, timeline].map((panel) => panel.node);
  const ui = buildFrame([errors.node, straggler.node], bodies, pane.node);
  let [sums, settledAt, laidAt] = [tally(rows, 0), -Infinity, -Infinity];
  let left = /** @type {number | null} */ (null);
  let summaries = summarizeCalls(rows, 0);
  let [frame, later, stale] = [0, 0, false];
  const bell = makeBell(model, ui.root);
  ui.cancel.before(bell.node);

  // ------------------------------------------------------------------ painting

  /** A message has come, or a click: a page that nobody sees is told, too, and paints no frame. */
  function refresh() {
    announce();
    schedule();
  }

  function schedule() {
    stale = true;
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      if (stale && !hold.isHeld()) paint();
    });
  }

  const hold = watchHold(ui.root, () => stale && schedule());

  /** Everything that a message can change. */
  function paint() {
    stale = false;
    if (store.seq !== null) shown(); // first: what is not in the page has no size
    const at = performance.now();
    const settles = at - settledAt >= SETTLE_MS || (!summaries.length && rows.length > 0);
    sums = tally(rows, store.now());
    if (settles) {
      settledAt = at;
      summaries = summarizeCalls(rows, store.now());
      left = timeLeft(rows, sums, summaries, store.now());
      straggler.paint(summaries);
    } else later ||= window.setTimeout(() => {
      later = 0;
      schedule();
    }, settledAt + SETTLE_MS - at);
    paintTop();
    if (!look.chosen && rows.edges.length) return showTab("graph");
    if (look.tab === "graph") graph.paint();
    else if (look.tab === "functions") functions.paint(summaries);
    else if (look.tab === "table") {
      // Rows that change find their places when they settle; new ones are there at once.
      if (settles || (table.known() !== rows.length && !look.sort && !look.text)) table.rearrange(false);
      table.paint();
    } else if (at - laidAt > 200) {
      laidAt = at;
      timeline.paint();
    }
    paintFoot();
    pane.paint();
  }

  function paintTop() {
    setText(ui.title, rows.title);
    ui.root.setAttribute("aria-label", `board of ${rows.title}`);
    for (const { kind, chip, segment, count } of ui.parts) {
      const n = sums.counts[kind];
      const share = rows.length ? (100 * n) / rows.length : 0;
      const title = `${amount(n)} of ${amount(rows.length)} ${wordOf(kind)} (${share.toFixed(share < 10 ? 1 : 0)} %)`;
      segment.style.flexGrow = String(n);
      segment.hidden = chip.hidden = !n && look.kind !== kind;
      segment.title = chip.title = title;
      setText(count, `${amount(n)} ${wordOf(kind)}`);
      chip.setAttribute("aria-pressed", String(look.kind === kind));
      segment.classList.toggle("scaler-dim", look.kind !== null && look.kind !== kind);
    }
    for (const { name, node } of ui.tabs) node.hidden = name === "graph" && !rows.edges.length;
    ui.cancel.hidden = !sums.unfinished && !store.undo; // where a second click would land, nothing else is
    bell.node.hidden = !sums.unfinished;
    ui.kill.hidden = !sums.refused;
    const [failed, cancelled] = [sums.counts[FAILED] + sums.counts[LOST], sums.counts[CANCELLED]];
    ui.retry.hidden = !failed || store.lost;
    ui.retryCancelled.hidden = !cancelled || Boolean(store.undo) || store.lost;
    setText(ui.cancel, "Cancel all");
    setText(ui.kill, `Kill ${amount(sums.refused)}`);
    setText(ui.retry, `Retry ${amount(failed)} ${sums.counts[LOST] ? "failed or lost" : "failed"}`);
    setText(ui.retryCancelled, `Retry ${amount(cancelled)} cancelled`);
    const asking = sums.counts[QUEUED] + sums.counts[RUNNING] === 0;
    ui.cancel.disabled = Boolean(store.asked) || asking;
    ui.kill.disabled = ui.retry.disabled = ui.retryCancelled.disabled = Boolean(store.asked);
    errors.paint(failed > 0);
    paintTimes();
  }

  function paintTimes() {
    if (!rows.length) return setText(ui.times, "");
    const parts = [duration(sums.elapsed / 1000, !sums.unfinished)];
    if (left !== null && sums.unfinished) parts.push(`about ${roughly(left)} left`);
    setText(ui.times, parts.join(" · "));
  }

  function paintFoot() {
    const filtered = look.tab === "table" && table.shown() !== rows.length;
    ui.showAll.hidden = look.kind === null && !look.only && !look.text;
    const all = plural(rows.length, "task");
    const counted = filtered ? `${amount(table.shown())} of ${all} shown` : all;
    const known = store.seq === null ? "waiting for the kernel…" : store.answer?.text ?? counted;
    setText(ui.said, store.lost ? KERNEL_ENDED : store.late ? NO_ANSWER : known);
    let [running, refused, again] = [0, 0, 0];
    for (const number of selected) {
      const kind = rows.kind[number];
      if (retriable(kind)) again++;
      if (kind === QUEUED || kind === RUNNING) running++;
      if (kind === RUNNING && rows.flags[number] & REFUSED) refused++;
    }
    const force = running > 0 && refused === running;
    ui.cancelSelected.hidden = !selected.size || !running;
    ui.retrySelected.hidden = selected.size < 2 || !again || store.lost;
    ui.undo.hidden = !store.undo;
    ui.undo.disabled = ui.cancelSelected.disabled = ui.retrySelected.disabled = Boolean(store.asked);
    setText(ui.retrySelected, `Retry ${amount(again)} selected`);
    ui.cancelSelected.dataset.force = String(force);
    setText(ui.cancelSelected, `${force ? "Kill" : "Cancel"} ${amount(running)} selected`);
  }

  /** Milestones only: who listens must not hear every task. */
  function announce() {
    sums = tally(rows, store.now());
    const { counts, unfinished } = sums;
    const { before } = store;
    // The end says what became of an answer or a failure that comes with it.
    if (store.lost) say(KERNEL_ENDED);
    else if (before && before.unfinished && !unfinished) say(`all tasks have ended: ${spokenCounts(counts)}`);
    else if (before && store.answer && store.answer.number !== before.answer) say(store.answer.text);
    else if (before && counts[FAILED] > 0 && before.failed === 0) say("a task has failed");
    if (before && before.unfinished && !unfinished) bell.ended(rows.title, spokenCounts(counts));
    store.before = { answer: store.answer?.number ?? 0, failed: counts[FAILED], unfinished };
  }

  /** @param {number[]} counts */
  const spokenCounts = (counts) =>
    STORY.filter((kind) => counts[kind]).map((kind) => `${counts[kind]} ${wordOf(kind)}`).join(", ");

  /** @param {string} text */
  function say(text) {
    store.spoken = text;
    setText(ui.status, text);
  }

  // ------------------------------------------------------------------ the open task

  /** @param {OpenOrClose | Left | AskForRowsOutput} request that changes nothing */
  function tell(request) {
    if (!store.lost) model.send(request);
  }

  /** @param {number} number */
  function open(number) {
    if (look.open === number) return;
    if (look.open !== null) tell({ type: "close", row: look.open });
    look.open = number;
    tell({ type: "open", row: number });
    tellAll();
  }

  function close() {
    if (look.open === null) return;
    tell({ type: "close", row: look.open });
    look.open = null;
    /** @type {HTMLElement | null} */
    const inPanel = panels[look.tab].node.querySelector("[tabindex='0']");
    (inPanel ?? table.node).focus({ preventScroll: true });
    tellAll();
  }

  // ------------------------------------------------------------------ asking

  /** @param {CancelRows | RetryRows} request */
  function ask(request) {
    store.asked = Date.now();
    store.answer = null;
    store.late = false;
    model.send(request);
    tellAll();
  }

  /**
   * @param {number[] | "all"} numbers
   * @param {boolean} force
   */
  function cancel(numbers, force) {
    ask({ type: "cancel", rows: numbers, force });
  }

  /** @param {number[] | "all"} numbers */
  function retry(numbers) {
    ask({ type: "retry", rows: numbers });
  }

  const where = (/** @type {(number: number) => boolean} */ fits) => {
    /** @type {number[]} */
    const numbers = [];
    for (let i = 0; i < rows.length; i++) if (fits(i)) numbers.push(i);
    return numbers;
  };

  ui.cancel.onclick = () => {
    const numbers = where((number) => !ended(rows.kind[number]) && rows.kind[number] !== CANCELLING);
    // What needs the value of a task needs it of that task, and not of another try.
    if (!rows.edges.length) store.undo = { numbers, known: rows.length, until: Date.now() + UNDO_MS };
    cancel("all", false);
  };
  ui.undo.onclick = () => {
    const stopped = (/** @type {number} */ kind) => kind === CANCELLED || kind === CANCELLING;
    const numbers = (store.undo?.numbers ?? []).filter((number) => stopped(rows.kind[number]));
    store.undo = null;
    if (numbers.length) retry(numbers);
    else tellAll();
  };
  ui.kill.onclick = () =>
    cancel(where((number) => rows.kind[number] === RUNNING && (rows.flags[number] & REFUSED) > 0), true);
  ui.retry.onclick = () => retry("all");
  ui.retryCancelled.onclick = () => retry(where((number) => rows.kind[number] === CANCELLED));
  ui.retrySelected.onclick = () => retry([...selected].filter((number) => retriable(rows.kind[number])));
  ui.cancelSelected.onclick = () => {
    const numbers = [...selected].filter((number) => !ended(rows.kind[number]) && rows.kind[number] !== CANCELLING);
    if (numbers.length) cancel(numbers, ui.cancelSelected.dataset.force === "true");
  };

  // ------------------------------------------------------------------ looking

  /** @param {Partial<typeof look>} change */
  function filter(change) {
    Object.assign(look, change);
    store.answer = null;
    table.show();
    paint();
  }

  /** @param {NonNullable<Look["only"]>} only */
  function showOnly(only) {
    filter({ only });
    showTab("table");
  }

  for (const { kind, chip, segment } of ui.parts)
    chip.onclick = segment.onclick = () => filter({ kind: look.kind === kind ? null : kind });
  ui.showAll.onclick = () => filter({ kind: null, only: null, text: (ui.search.value = "") });
  ui.search.oninput = () => filter({ text: ui.search.value });

  /** @param {Tab} name */
  function showTab(name) {
    look.tab = name;
    look.chosen ||= rows.edges.length > 0;
    for (const { name: each, node } of ui.tabs) node.setAttribute("aria-pressed", String(each === name));
    for (const [each, { node }] of Object.entries(panels)) node.hidden = each !== name;
    laidAt = settledAt = -Infinity;
    table.rearrange(true);
    paint();
  }

  for (const { name, node } of ui.tabs) node.onclick = () => showTab(name);

  ui.root.onkeydown = (event) => {
    if (event.key !== "Escape" || event.isComposing) return; // what is being composed is given up by this key
    if (look.open !== null) close();
    else if (event.target === ui.search) filter({ text: (ui.search.value = "") });
  };

  // ------------------------------------------------------------------ life

  function tellAll() {
    for (const view of store.views) view();
  }

  const timer = setInterval(() => {
    if (hold.isHeld() || (!sums.unfinished && !store.asked && !store.undo)) return;
    if (store.undo && Date.now() > store.undo.until) {
      store.undo = null;
      tellAll();
    }
    if (store.asked && Date.now() - store.asked > PATIENCE_MS) {
      store.asked = null;
      store.late = true;
      say(NO_ANSWER);
      tellAll();
    }
    sums.elapsed = sums.unfinished ? tally(rows, store.now()).elapsed : sums.elapsed;
    paintTimes();
    paintFoot();
    if (look.tab === "table") table.tick();
    else schedule();
  }, TICK_MS);
  /** @type {(HTMLElement | null | undefined)[]} */
  let homes = [];
  let height = 0;
  const resized = new ResizeObserver(([{ contentRect }]) => {
    schedule();
    if (!contentRect.height) return;
    height = ui.root.offsetHeight;
    homes = [el.parentElement, el.parentElement?.parentElement, el.parentElement?.parentElement?.parentElement];
  });
  resized.observe(ui.root);

  el.append(ui.root);
  ui.search.value = look.text;
  const scrollTop = look.scrollTop;
  showTab(look.tab);
  const focusable = { grid: table.node, search: ui.search };
  for (const name of /** @type {const} */ (["grid", "search"])) {
    focusable[name].addEventListener("focus", () => {
      store.focus = name;
    });
    focusable[name].addEventListener("blur", () => {
      if (ui.root.isConnected) store.focus = null;
    });
  }
  requestAnimationFrame(() => {
    if (!table.node.scrollTop) table.node.scrollTop = scrollTop; // it has a size now; who has scrolled since is let be
    if (store.focus) focusable[store.focus].focus({ preventScroll: true });
    say(store.spoken); // if the view before this one had no time to
  });
  store.views.add(refresh);
  announce();
  if (!store.listening) {
    store.listening = true;
    const knock = () => model.send({ type: "ready", view: store.page });
    knock();
    // The first may have gone to a busy main thread, before the front end had made its subshell.
    setTimeout(() => store.seq === null && knock(), KNOCK_AGAIN_MS);
  }

  return () => {
    holdHeight(homes, height);
    clearInterval(timer);
    clearTimeout(later);
    cancelAnimationFrame(frame);
    resized.disconnect();
    hold.end();
    pane.end();
    store.views.delete(refresh);
    ui.root.remove();
    setTimeout(() => {
      if (store.views.size || !store.listening) return;
      store.listening = false;
      tell({ type: "left", view: store.page });
    }, LINGER_MS);
  };
}

/**
 * A front end that draws a view again must not let the page jump: its place keeps its height for a moment.
 *
 * @param {(HTMLElement | null | undefined)[]} homes the places of a view, the innermost first
 * @param {number} height
 */
function holdHeight(homes, height) {
  const home = homes.find((node) => node?.isConnected);
  if (!home) return;
  home.style.minHeight = `${height}px`;
  setTimeout(() => (home.style.minHeight = ""), LINGER_MS);
}

/**
 * What a front end makes for each model.
 *
 * @returns {Widget}
 */
export default () => {
  const store = makeStore();
  let gapAsked = -Infinity;
  return {
    initialize({ model }) {
      const onMessage = (/** @type {unknown} */ received) => {
        const message = /** @type {RowsMessage | OutputMessage | null} */ (received);
        if (message?.type === "output") for (const hear of store.panes) hear(message);
        if (message?.type !== "rows") return;
        if (takeMessage(store, message)) {
          for (const view of store.views) view();
        } else if (store.seq !== null && Date.now() - gapAsked > GAP_MS) {
          gapAsked = Date.now();
          model.send({ type: "gap" });
        }
      };
      const stopListening = whenKernelEnds(model, () => {
        loseKernel(store);
        for (const view of store.views) view();
      });
      model.on("msg:custom", onMessage);
      const uncover = coverPlaces(model, (el, shown) => renderBoard(store, model, el, shown));
      return () => {
        uncover();
        stopListening();
        model.off("msg:custom", onMessage);
      };
    },
    render: ({ model, el }) => renderBoard(store, model, el),
  };
};
