/* The live view of an executor: its engine's processes with their CPU and memory, its queue, and its groups. */

import { SVG, button, h, keepFocus, keepKeys, setAttributes, setChildren, setRole, setText } from "../dom.js";
import { hearWhenFree } from "../hold.js";
import { KERNEL_ENDED, whenKernelEnds } from "../kernel_end.js";
import { revealCell } from "../page/cells.js";
import { coverPlaces } from "../page/cover.js";
import { KNOCK_AGAIN_MS, NO_ANSWER, PATIENCE_MS } from "../patience.js";
import { amount, duration } from "../quantities.js";

/**
 * @import { EngineGroup, EngineMessage, EngineRequest, EngineWorker, Kind, ViewContext, Widget } from "../messages.js"
 *
 * @typedef {"row" | "pid" | "gpus" | "call" | "time"} Cell
 * @typedef {Record<Cell, HTMLElement> & {cpu: Line, memory: Line}} Parts
 * @typedef {ReturnType<typeof makeLine>} Line
 */

const KEPT = 60; // samples, as in samples.py
const [WIDTH, HEIGHT] = [90, 18]; // of a line, in pixels
const SURE_MS = 4000; // in which a second click on Stop stops
const SHOWN = /** @type {Kind[]} */ (["done", "failed", "cancelled", "lost", "cancelling", "running", "queued"]);

/** @param {number} bytes */
const megabytes = (bytes) => (bytes < 1e9 ? `${amount(Math.round(bytes / 1e6))} MB` : `${(bytes / 1e9).toFixed(1)} GB`);

/**
 * The latest values of one figure as a line, with the last one in words.
 *
 * @param {(value: number) => string} words
 * @param {number} least the value at the upper edge, at least
 */
function makeLine(words, least) {
  const line = document.createElementNS(SVG, "polyline");
  const picture = document.createElementNS(SVG, "svg");
  picture.append(line);
  setAttributes(picture, { class: "scaler-line", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" });
  const text = h("span", "scaler-figure");
  /** @type {number[]} */
  let values = [];
  return {
    node: h("td", "scaler-figures", picture, text),
    /**
     * @param {number[]} more
     * @param {boolean} whole are these all?
     */
    add(more, whole) {
      values = [...(whole ? [] : values), ...more].slice(-KEPT);
      const top = 1.1 * Math.max(least, ...values);
      const points = values.map((value, i) => {
        const x = WIDTH - (values.length - 1 - i) * (WIDTH / (KEPT - 1));
        return `${x.toFixed(1)},${(HEIGHT - 1 - (value / top) * (HEIGHT - 2)).toFixed(1)}`;
      });
      line.setAttribute("points", points.join(" "));
      const last = values.at(-1);
      setText(text, last === undefined ? "" : words(last));
    },
  };
}

function build() {
  const badge = h("span", "scaler-badge");
  const title = h("span", "scaler-title");
  const pause = button("scaler-pause", "");
  const stop = button("scaler-stop", "Cancel what is unfinished and end the engine");
  const top = h("div", "scaler-top", badge, title, h("span", "scaler-actions", pause, stop));
  const heads = ["process", "GPU", "CPU", "memory", "runs", "for"].map((word) => {
    const head = h("th", "", word);
    head.scope = "col";
    return head;
  });
  const body = h("tbody");
  const table = h("table", "scaler-workers", h("thead", "", h("tr", "", ...heads)), body);
  table.setAttribute("aria-label", "task processes");
  const groups = h("div", "scaler-groups");
  const said = h("div", "scaler-said", "waiting for the kernel…");
  setAttributes(said, { role: "status", "aria-live": "polite" });
  const scrolled = h("div", "scaler-scrolled", table);
  scrolled.tabIndex = 0; // a keyboard can only scroll what it can reach
  const root = setRole(h("div", "scaler-engine", top, scrolled, groups, said), "region");
  root.setAttribute("aria-label", "executor");
  keepFocus(root);
  keepKeys(root);
  return { root, badge, title, pause, stop, table, body, groups, said };
}

/** @param {EngineGroup} group */
function makeGroup({ name, cell }) {
  const [bar, counts] = [h("span", "scaler-bar"), h("span", "scaler-counts")];
  const row = h("div", "scaler-group", h("span", "scaler-name", name), bar, counts);
  if (cell !== null) {
    const link = button("scaler-cell", "Show the cell that has submitted it");
    link.textContent = `In [${cell}]`;
    link.onclick = () => revealCell(link, cell);
    row.append(link);
  }
  return { row, bar, counts };
}

/**
 * @param {ReturnType<typeof makeGroup>} parts
 * @param {EngineGroup} group
 */
function paintGroup(parts, { counts }) {
  const kinds = SHOWN.filter((kind) => counts[kind]);
  const words = kinds.map((kind) => `${amount(counts[kind] ?? 0)} ${kind}`).join(" · ");
  setText(parts.counts, words);
  parts.bar.replaceChildren(...kinds.map((kind) => {
    const part = h("span");
    part.dataset.kind = kind;
    part.style.flexGrow = String(counts[kind]);
    return part;
  }));
}

/**
 * Draw the view of an executor, and keep it current; gives how to take it down.
 *
 * @param {ViewContext} context
 * @param {() => void} [onFirst] called when there is something to see
 */
function render({ model, el }, onFirst = () => {}) {
  const ui = build();
  const view = Math.random().toString(36).slice(2);
  /** @type {Map<number, Parts>} */
  const workers = new Map();
  /** @type {Map<string, ReturnType<typeof makeGroup>>} */
  let groups = new Map();
  let [seq, sureUntil, asked, lost] = [-Infinity, 0, 0, false];
  /** @type {EngineMessage | null} */
  let shown = null;

  /** @param {number} pid */
  function partsOf(pid) {
    const known = workers.get(pid);
    if (known) return known;
    const [cpu, memory] = [makeLine((value) => `${Math.round(value)} %`, 100), makeLine(megabytes, 1)];
    const names = ["scaler-pid", "scaler-gpus", "scaler-call", "scaler-time"];
    const [process, gpus, call, time] = names.map((name) => h("td", name));
    const row = h("tr", "", process, gpus, cpu.node, memory.node, call, time);
    const parts = { row, pid: process, gpus, cpu, memory, call, time };
    workers.set(pid, parts);
    return parts;
  }

  /**
   * @param {EngineWorker} worker
   * @param {number} now
   * @param {boolean} whole
   */
  function paintWorker(worker, now, whole) {
    const parts = partsOf(worker.pid);
    setText(parts.pid, String(worker.pid));
    setText(parts.gpus, worker.gpus);
    parts.cpu.add(worker.cpu, whole);
    parts.memory.add(worker.memory, whole);
    setText(parts.call, worker.call || (worker.task ? "another client's task" : "idle"));
    parts.call.title = worker.call;
    parts.row.classList.toggle("scaler-idle", !worker.task);
    setText(parts.time, worker.started_at === null ? "" : duration(now - worker.started_at, false));
    return parts.row;
  }

  /** @param {EngineGroup[]} all */
  function paintGroups(all) {
    /** @type {typeof groups} */
    const painted = new Map();
    for (const group of [...all].reverse()) {
      const alike = [...painted.keys()].filter((key) => key.startsWith(`${group.cell} ${group.name} `)).length;
      const key = `${group.cell} ${group.name} ${alike}`;
      const parts = groups.get(key) ?? makeGroup(group);
      painted.set(key, parts);
      paintGroup(parts, group);
    }
    groups = painted;
    setChildren(ui.groups, [...painted.values()].reverse().map(({ row }) => row));
  }

  /** @param {EngineMessage} message */
  function paint(message) {
    const { state, slots, queued } = message;
    const running = message.workers.filter((worker) => worker.task).length;
    const runs = state === "running" || state === "paused";
    ui.root.dataset.state = state === "running" && !running ? "idle" : state;
    setText(ui.badge, ui.root.dataset.state);
    const size = slots ? `${amount(slots)} ${slots === 1 ? "worker" : "workers"}` : "a cluster";
    const memory = message.workers.reduce((sum, worker) => sum + (worker.memory.at(-1) ?? 0), 0);
    const count = message.gpus.length;
    ui.table.classList.toggle("scaler-without-gpus", !count);
    const gpus = count ? [`${amount(count)} ${count === 1 ? "GPU" : "GPUs"}`] : [];
    const facts = [size, ...gpus, ...(slots ? [`${amount(running)} running`] : []), `${amount(queued)} queued`];
    if (memory) facts.push(megabytes(memory));
    const unstarted = state === "shut down" ? "" : "the next task starts an engine";
    setText(ui.title, runs ? facts.join(" · ") : unstarted);
    ui.title.title = message.address;
    const rows = message.workers.map((worker) => paintWorker(worker, message.now, Boolean(message.whole)));
    for (const [pid, { row }] of workers) if (!rows.includes(row)) workers.delete(pid);
    setChildren(ui.body, rows);
    ui.table.hidden = !rows.length;
    paintGroups(message.groups);
    if (message.answer) [asked, ui.said.textContent] = [0, message.answer];
    else if (!asked && seq === -Infinity) setText(ui.said, "");
    paintButtons();
  }

  function paintButtons() {
    const state = shown?.state;
    const runs = !lost && (state === "running" || state === "paused");
    ui.pause.hidden = !runs || !shown?.can_pause;
    ui.stop.hidden = !runs;
    ui.pause.disabled = ui.stop.disabled = Boolean(asked);
    setText(ui.pause, state === "paused" ? "Resume" : "Pause");
    ui.pause.title = state === "paused" ? "Let tasks start again" : "Start nothing that is queued; what runs goes on";
    setText(ui.stop, Date.now() < sureUntil ? "Really stop?" : "Stop");
  }

  /** @param {EngineRequest} request */
  function ask(request) {
    asked = Date.now();
    sureUntil = 0;
    model.send(request);
    paintButtons();
    setTimeout(() => {
      if (!asked || Date.now() - asked < PATIENCE_MS) return;
      asked = 0;
      setText(ui.said, NO_ANSWER);
      paintButtons();
    }, PATIENCE_MS);
  }

  /** @param {unknown} received */
  function onMessage(received) {
    const message = /** @type {EngineMessage | null} */ (received);
    if (message?.type !== "engine" || message.seq <= seq || (!shown && !message.whole)) return;
    if (!shown) onFirst(); // first: what is not in the page has no size
    shown = message;
    paint(message);
    seq = message.seq;
  }

  ui.pause.onclick = () => ask({ type: shown?.state === "paused" ? "resume" : "pause" });
  ui.stop.onclick = () => {
    if (Date.now() < sureUntil) return ask({ type: "stop" });
    sureUntil = Date.now() + SURE_MS;
    setText(ui.said, "What is unfinished would be cancelled, and this executor would take no more tasks.");
    setTimeout(paintButtons, SURE_MS);
    return paintButtons();
  };
  const messages = hearWhenFree(ui.root, onMessage);
  const stopListening = whenKernelEnds(model, () => {
    messages.takeAll();
    lost = true;
    ui.root.dataset.state = "lost";
    setText(ui.badge, "lost");
    setText(ui.said, KERNEL_ENDED);
    paintButtons();
  });
  model.on("msg:custom", messages.hear);
  el.append(ui.root);
  model.send({ type: "ready", view });
  // The first may have gone to a busy main thread, before the front end had made its subshell.
  const again = setTimeout(() => shown ?? model.send({ type: "ready", view }), KNOCK_AGAIN_MS);
  return () => {
    clearTimeout(again);
    stopListening();
    messages.end();
    model.off("msg:custom", messages.hear);
    if (!lost) model.send({ type: "left", view });
    ui.root.remove();
  };
}

/** @type {Widget} */
const widget = {
  initialize({ model }) {
    return coverPlaces(model, (el, shown) => render({ model, el }, shown));
  },
  render: ({ model, el }) => render({ model, el }),
};

export default widget;
