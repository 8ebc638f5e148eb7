/* The live card of one future. The badge shows what the kernel said last; a click alone never changes it. */

import { button, copy, h, keepFocus, keepKeys, setAttributes, setText, showWhereItGoesOn } from "../dom.js";
import { hearWhenFree } from "../hold.js";
import { drawIcon, makeIcon } from "../icons.js";
import { KERNEL_ENDED, whenKernelEnds } from "../kernel_end.js";
import { withLink } from "../page/cells.js";
import { KNOCK_AGAIN_MS, NO_ANSWER, PATIENCE_MS, TICK_MS } from "../patience.js";
import { duration, progressWords } from "../quantities.js";
import { fill, plainText, terminalLines } from "../terminal.js";
import { makeNestedTasks } from "./card_nested.js";
import { makeLog } from "./log.js";
import { makeRich } from "./rich.js";
import { paintTraceback } from "./traceback.js";

/**
 * @import {
 *   AnsweredMessage, CardRequest, EarlierRun, Kind, LostMessage, OutputMessage, Progress, Row, RowMessage, RowUpdate,
 *   UsageMessage, ViewContext, WhereMessage
 * } from "../messages.js"
 * @import { Log } from "./log.js"
 *
 * @typedef {ReturnType<typeof build>} Parts
 * @typedef {{node: HTMLButtonElement, at: number}} Asked a click that has no answer yet, and when it was
 */

const COPIED_MS = 2000;

/** @param {Row} row */
const isOver = (row) => row.state === "finished" || row.state === "cancelled";

/**
 * @param {Row} row
 * @returns {Kind}
 */
function kindOf(row) {
  if (row.outcome === "failed" || row.outcome === "lost") return row.outcome;
  if (row.state === "finished") return "done";
  return row.state === "submitted" ? "queued" : row.state;
}

/** @param {Row} row */
const verdict = (row) => (row.reason && row.state === "cancelled" ? `${row.word}: ${row.reason}` : row.word);

/**
 * The seconds that count: running time, or waiting time for what never started.
 *
 * @param {Row} row
 * @param {number} now by the kernel's clock
 */
function elapsed(row, now) {
  const from = row.state === "submitted" ? row.submitted_at : row.started_at ?? row.submitted_at;
  return (isOver(row) ? row.ended_at ?? now : now) - from;
}

/** @param {Row} row */
function timesTitle(row) {
  const times = Object.entries({ submitted: row.submitted_at, started: row.started_at, ended: row.ended_at });
  return times
    .flatMap(([what, at]) => (at === null ? [] : [`${what} ${new Date(at * 1000).toLocaleTimeString()}`]))
    .join("\n");
}

/**
 * @param {Log} log
 * @param {ReturnType<typeof makeNestedTasks>} nested
 */
function build(log, nested) {
  const icon = makeIcon();
  const word = h("span", "scaler-word");
  const badge = h("span", "scaler-badge", icon, word);
  const call = h("code", "scaler-call");
  const refused = h("span", "scaler-refused", "still running:");
  const kill = button("scaler-kill", "End the process that runs it");
  const cancel = button("scaler-cancel", "Ask the task to stop");
  const retry = button("scaler-retry", "Submit the same call again");
  const time = h("span", "scaler-time");
  const actions = h("span", "scaler-actions", refused, kill, cancel, retry, time);
  const id = button("scaler-id", "Copy the id of the task");
  const head = h("div", "scaler-head", badge, call, id, actions);

  const filled = h("span", "scaler-fill");
  const track = h("span", "scaler-track", filled);
  const amountDone = h("span", "scaler-amount");
  const progress = h("div", "scaler-progress", track, amountDone);

  const output = log.node;
  const used = h("span");
  const where = button("scaler-where", "Look at its Python stack; it runs on");
  const usage = h("div", "scaler-usage", used, where);
  const stackTitle = h("summary");
  const stackText = h("pre", "scaler-block");
  const stack = h("details", "scaler-stack", stackTitle, stackText);
  const traceTitle = h("summary");
  const traceText = h("div", "scaler-trace scaler-block");
  const trace = h("details", "", traceTitle, traceText);
  const errorLine = h("div");
  const origin = h("div", "scaler-origin");
  const error = h("div", "scaler-error", errorLine, trace, origin);
  const copyButton = button("scaler-copy", "Copy what it wrote, and its traceback");
  const texts = h("div", "scaler-texts", h("div", "scaler-written", output, error), copyButton);

  const resultText = h("pre", "scaler-block");
  const resultRich = h("div", "scaler-rich mathjax_process jp-RenderedHTMLCommon");
  const about = h("div", "scaler-about");
  const result = h("div", "scaler-result", resultText, resultRich, about);
  const earlierWords = h("span");
  const stopEarlier = button("scaler-stop-earlier", "");
  const earlierRun = h("div", "scaler-earlier-run", earlierWords, stopEarlier);
  const note = h("div", "scaler-note", "waiting for the kernel…");
  const status = h("span", "scaler-spoken");
  const root = h("div", "scaler-card", head, progress, usage, stack, texts, result, nested.node, earlierRun, note,
    status);

  setAttributes(root, { role: "group", tabindex: "-1" });
  keepFocus(root);
  keepKeys(root);
  setAttributes(time, { role: "timer" });
  setAttributes(track, { role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100" });
  setAttributes(status, { role: "status", "aria-live": "polite" });
  const later = [head, progress, usage, stack, retry, copyButton, output, error, result, earlierRun];
  for (const part of later) part.hidden = true;
  for (const part of [resultText, resultRich, traceText]) showWhereItGoesOn(part);
  const paintRich = makeRich(resultRich);
  // A keyboard can only scroll what it can reach.
  traceText.tabIndex = stackText.tabIndex = 0;
  setText(copyButton, "Copy");
  return {
    root, head, icon, word, badge, call, id, actions, refused, kill, cancel, retry, time,
    progress, track, filled, amountDone,
    usage, used, where, stack, stackTitle, stackText,
    output,
    error, errorLine, trace, traceTitle, traceText, origin, copyButton,
    result, resultText, resultRich, paintRich, about,
    earlierRun, earlierWords, stopEarlier, note, status,
  };
}

/**
 * @param {Parts} ui
 * @param {Row} row
 */
function paintHead(ui, row) {
  const kind = kindOf(row);
  if (ui.root.dataset.taskId !== row.task_id) {
    setText(ui.id, row.task_id);
    ui.id.setAttribute("aria-label", `copy ${row.task_id}, the id of the task`);
  }
  Object.assign(ui.root.dataset, { taskId: row.task_id, state: row.state, kind });
  ui.root.setAttribute("aria-label", `task ${row.call}`);
  drawIcon(ui.icon, kind);
  setText(ui.word, verdict(row));
  setText(ui.call, row.call);
  ui.call.title = row.call;
  ui.time.title = timesTitle(row);
}

/**
 * @param {Parts} ui
 * @param {Row} row
 * @param {Asked | null} asked
 * @param {boolean} offersRetry
 */
function paintButtons(ui, row, asked, offersRetry) {
  const offersKill = row.refused && row.state !== "cancelling" && !isOver(row);
  /** @type {[node: HTMLButtonElement, name: string, shown: boolean][]} */
  const buttons = [
    [ui.cancel, "Cancel", !isOver(row)],
    [ui.kill, "Kill", offersKill],
    [ui.retry, "Retry", offersRetry],
    [ui.where, "Where is it now?", !isOver(row)],
  ];
  for (const [node, name, shown] of buttons) {
    const text = asked?.node === node ? "asking…" : name;
    setText(node, text);
    node.setAttribute("aria-label", `${text} ${row.call}`);
    node.hidden = !shown;
    node.disabled = !shown || Boolean(asked) || row.state === "cancelling";
  }
  ui.refused.hidden = ui.kill.hidden;
}

/**
 * @param {Parts} ui
 * @param {Progress | null} progress
 */
function paintProgress(ui, progress) {
  ui.progress.hidden = progress === null;
  if (progress === null) return;
  const { done, total, note } = progress;
  const text = progressWords(progress);
  const share = total !== null && total > 0 ? Math.min(1, Math.max(0, done / total)) : null;
  ui.track.classList.toggle("scaler-unknown", share === null);
  ui.filled.style.width = share === null ? "" : `${share * 100}%`;
  setText(ui.amountDone, text);
  ui.amountDone.title = text;
  setAttributes(ui.track, { "aria-label": note || "progress", "aria-valuetext": text });
  ui.track.ariaValueNow = share === null ? null : String(Math.round(share * 100));
}

/**
 * @param {Parts} ui
 * @param {UsageMessage} message
 */
function paintUsage(ui, { text }) {
  ui.usage.hidden = false;
  setText(ui.used, text);
}

/**
 * @param {Parts} ui
 * @param {WhereMessage} message
 */
function paintStack(ui, { text, at }) {
  const title = `where it was at ${new Date(at * 1000).toLocaleTimeString()}`;
  if (ui.stack.hidden) ui.stack.open = true; // who has folded it leaves it so
  ui.stack.hidden = false;
  setText(ui.stackTitle, title);
  setText(ui.stackText, text);
  setText(ui.status, `${title}: ${text.split("\n").at(-1)}`);
}

/**
 * Have a button put a text on the clipboard; it says so for a moment.
 *
 * @param {Parts} ui
 * @param {HTMLButtonElement} node
 * @param {string} name that the button has otherwise
 * @param {() => string} text
 */
function makeCopy(ui, node, name, text) {
  node.onclick = async () => {
    const said = await copy(text()).then(() => "Copied", () => "No clipboard");
    setText(node, said);
    setText(ui.status, said);
    setTimeout(() => setText(node, name), COPIED_MS);
  };
}

/**
 * @param {Parts} ui
 * @param {Row} row
 * @param {() => string} output all that the card has of it
 */
function paintCopy(ui, row, output) {
  ui.copyButton.hidden = ui.output.hidden && ui.error.hidden;
  ui.copyButton.setAttribute("aria-label", `copy the output of ${row.call}`);
  makeCopy(ui, ui.copyButton, "Copy", () =>
    [output(), row.traceback ?? row.error ?? ""].filter((text) => text.trim()).map(plainText).join("\n\n"));
  makeCopy(ui, ui.id, row.task_id, () => row.task_id);
}

/**
 * @param {Parts} ui
 * @param {EarlierRun} earlierRun
 */
function paintEarlierRun(ui, { running, refused }) {
  ui.earlierRun.hidden = !running;
  const tasks = running === 1 ? "a task" : `${running} tasks`;
  setText(ui.earlierWords, `${tasks} of an earlier run of this cell ${running === 1 ? "still runs" : "still run"}:`);
  ui.stopEarlier.dataset.force = String(refused);
  setText(ui.stopEarlier, refused ? "Kill" : "Cancel");
  ui.stopEarlier.setAttribute("aria-label", `${ui.stopEarlier.textContent} what an earlier run of this cell left`);
}

/**
 * @param {Parts} ui
 * @param {Row} row
 */
function paintError(ui, row) {
  ui.error.hidden = row.error === null;
  ui.trace.hidden = row.traceback === null;
  ui.errorLine.hidden = !ui.trace.hidden;
  fill(ui.trace.hidden ? ui.errorLine : ui.traceTitle, terminalLines(row.error ?? ""));
  paintTraceback(ui.traceText, row, ui.root);
  ui.origin.replaceChildren(...withLink(row.origin ?? "", ui.root));
}

/**
 * @param {Parts} ui
 * @param {Row} row
 */
function paintResult(ui, row) {
  const box = ui.resultText;
  box.hidden = row.rich !== null || row.result === null;
  ui.resultRich.hidden = row.rich === null;
  ui.paintRich(row.rich ?? "");
  fill(box, terminalLines(row.result ?? ""));
}

/**
 * Draw a card in an element, and keep it current; gives how to take it down.
 *
 * @param {ViewContext} context
 * @param {() => void} [onFirst] called when the first row is there
 */
export function render({ model, el }, onFirst = () => {}) {
  const view = Math.random().toString(36).slice(2);
  const log = makeLog((question) => model.send({ type: "output", view, ...question }));
  const nested = makeNestedTasks();
  const ui = build(log, nested);
  /** @type {Row | null} */
  let row = null;
  let [seq, skew] = [-Infinity, 0]; // the first row of a view answers its `ready`: it counts, whatever its number
  /** @type {Asked | null} */
  let asked = null;
  let [late, lost, remark, offersRetry, keepsOutput] = [false, false, "", false, false];
  let noted = /** @type {string | null} */ (null); // the last note that came: each message of the kernel repeats it
  let timer = 0;

  /** @param {Row} shown */
  function tick(shown) {
    const now = Date.now();
    setText(ui.time, duration(elapsed(shown, now / 1000 + skew), isOver(shown)));
    nested.tick(now / 1000 + skew);
    if (asked && now - asked.at > PATIENCE_MS) {
      [asked, late] = [null, true];
      setText(ui.status, NO_ANSWER);
      paintButtons(ui, shown, asked, offersRetry);
    }
    setText(ui.note, late ? NO_ANSWER : remark);
  }

  function answered() {
    [asked, late] = [null, false];
  }

  function paint() {
    const shown = row;
    if (!shown) return;
    paintButtons(ui, shown, asked, offersRetry);
    tick(shown);
    clearInterval(timer);
    if (!isOver(shown) || asked) timer = setInterval(() => tick(shown), TICK_MS);
  }

  /** @param {RowUpdate} update */
  function onRow(update) {
    const before = row;
    if (!before) onFirst(); // first: what is not in the page has no size
    const next = { ...before, ...update, rich: update.rich === undefined ? before?.rich ?? null : update.rich };
    row = next;
    if (isOver(next) || next.state === "cancelling" || next.refused) answered();
    ui.head.hidden = false;
    paintHead(ui, next);
    paintProgress(ui, next.progress);
    if (isOver(next) || next.state === "submitted") ui.usage.hidden = ui.stack.hidden = true;
    const changed = (/** @type {(keyof Row)[]} */ ...keys) => keys.some((key) => next[key] !== before?.[key]);
    log.paint(next, keepsOutput);
    nested.paint(next);
    if (changed("error", "traceback", "origin")) paintError(ui, next);
    ui.result.hidden = next.result === null && next.rich === null && next.about === null;
    if (changed("result", "rich")) paintResult(ui, next);
    setText(ui.about, next.about ?? "");
    paintCopy(ui, next, log.text);
    paint();
    const refusal = !ui.kill.hidden && changed("refused");
    const news = refusal ? "still running, Kill is offered" : verdict(next);
    if (before && news !== verdict(before)) setText(ui.status, `${next.call.slice(0, 60)}: ${news}`);
  }

  /** @param {unknown} received */
  function onMessage(received) {
    /** @typedef {RowMessage | UsageMessage | WhereMessage | AnsweredMessage | LostMessage | OutputMessage} Told */
    const message = /** @type {Told | null} */ (received);
    if (message?.type === "lost") onKernelEnd();
    if (message?.type === "answered") {
      answered();
      paint();
    }
    if (message?.type === "output" && message.view === view) log.hear(message);
    if (row && !isOver(row) && !lost) {
      if (message?.type === "usage") paintUsage(ui, message);
      if (message?.type === "where") {
        answered();
        paintStack(ui, message);
        paint();
      }
    }
    if (message?.type === "row" && message.seq > seq) {
      seq = message.seq;
      skew = message.now - Date.now() / 1000;
      if (message.note && message.note !== noted) {
        setText(ui.status, message.note);
        answered();
      }
      noted = message.note;
      remark = message.note ?? "";
      offersRetry = Boolean(message.retry);
      keepsOutput = Boolean(message.keeps_output) && !lost;
      paintEarlierRun(ui, message.earlier ?? { running: 0, refused: false });
      onRow(message.row);
    }
  }

  /**
   * @param {HTMLButtonElement} node
   * @param {CardRequest} request
   */
  function ask(node, request) {
    answered();
    asked = { node, at: Date.now() };
    remark = "";
    model.send(request);
    paint();
  }

  const messages = hearWhenFree(ui.root, onMessage);

  function onKernelEnd() {
    messages.takeAll();
    lost = true;
    clearInterval(timer);
    if (row) log.paint(row, false);
    for (const node of [ui.cancel, ui.kill, ui.refused, ui.retry, ui.usage, ui.earlierRun]) node.hidden = true;
    nested.lose();
    if (row && isOver(row)) return;
    if (row?.progress) paintProgress(ui, { ...row.progress, left: "" });
    ui.root.dataset.kind = "lost";
    setText(ui.word, "lost");
    drawIcon(ui.icon, "lost");
    setText(ui.note, KERNEL_ENDED);
    setText(ui.status, KERNEL_ENDED);
  }

  const stopListening = whenKernelEnds(model, onKernelEnd);
  ui.cancel.onclick = () => ask(ui.cancel, { type: "cancel", force: false });
  ui.where.onclick = () => ask(ui.where, { type: "where" });
  ui.retry.onclick = () => ask(ui.retry, { type: "retry" });
  ui.stopEarlier.onclick = () =>
    model.send({ type: "cancel_earlier", force: ui.stopEarlier.dataset.force === "true" });
  ui.kill.onclick = () => ask(ui.kill, { type: "cancel", force: true });
  model.on("msg:custom", messages.hear);
  el.append(ui.root);
  model.send({ type: "ready", view });
  // The first may have gone to a busy main thread, before the front end had made its subshell.
  const again = setTimeout(() => row ?? model.send({ type: "ready", view }), KNOCK_AGAIN_MS);

  return () => {
    clearInterval(timer);
    clearTimeout(again);
    log.end();
    stopListening();
    messages.end();
    model.off("msg:custom", messages.hear);
    if (!lost) model.send({ type: "left", view });
    ui.root.remove();
  };
}
