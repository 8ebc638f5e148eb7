/**
 * The live card of one future.
 *
 * From the kernel:  {type: "row", seq, now, row, note, earlier, retry}   all there is to show
 * To the kernel:    {type: "ready", view}                when a view listens; once more if nothing comes
 *                   {type: "left", view}                 when it is taken down
 *                   {type: "cancel", force}              a click on Cancel or Kill
 *                   {type: "retry"}                      a click on Retry
 *                   {type: "cancel_earlier", force}      the same for what an earlier run of the cell left
 *
 * The badge shows what the kernel said last; a click alone never changes it.
 */

const SVG = "http://www.w3.org/2000/svg";
const TICK_MS = 100;
const TAIL_LINES = 3;
const PATIENCE_MS = 5000; // until a click that nobody has answered can be made again: a kernel may lose one
const NO_ANSWER = "no answer yet: the kernel may be busy; you can click again";
const KNOCK_AGAIN_MS = 1000;
const COPIED_MS = 2000;

// Strokes in a 16 × 16 box; rendering.py draws the same ones in saved notebooks.
const ICONS = {
  queued: "M8 2a6 6 0 1 0 0 12a6 6 0 1 0 0-12M8 4.8V8l2.2 1.5",
  running: "M8 2a6 6 0 1 0 6 6",
  cancelling: "M8 2a6 6 0 1 0 0 12a6 6 0 1 0 0-12M6.4 6.4h3.2v3.2H6.4z",
  done: "M8 2a6 6 0 1 0 0 12a6 6 0 1 0 0-12M5.4 8.2l1.8 1.8 3.4-3.8",
  failed: "M8 2a6 6 0 1 0 0 12a6 6 0 1 0 0-12M6 6l4 4M10 6l-4 4",
  cancelled: "M8 2a6 6 0 1 0 0 12a6 6 0 1 0 0-12M3.8 3.8l8.4 8.4",
};

const isOver = (row) => row.state === "finished" || row.state === "cancelled";

function kindOf(row) {
  if (row.state === "finished") return row.outcome === "failed" ? "failed" : "done";
  return row.state === "submitted" ? "queued" : row.state;
}

const verdict = (row) => (row.reason && row.state === "cancelled" ? `${row.word}: ${row.reason}` : row.word);

/** Seconds as a person says them; `settled` times below a second are worth their milliseconds. */
function duration(seconds, settled) {
  const s = Math.max(0, seconds);
  if (settled && s < 0.9995) return `${Math.round(s * 1000)} ms`;
  if (s < 59.95) return `${s.toFixed(1)} s`;
  const whole = Math.round(s);
  const two = (n) => String(n).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
}

/** The seconds that count: running time, or waiting time for what never started. */
function elapsed(row, now) {
  const from = row.state === "submitted" ? row.submitted_at : row.started_at ?? row.submitted_at;
  return (isOver(row) ? row.ended_at ?? now : now) - from;
}

function timesTitle(row) {
  const clock = (at) => new Date(at * 1000).toLocaleTimeString();
  const known = ["submitted", "started", "ended"].filter((what) => row[`${what}_at`] !== null);
  return known.map((what) => `${what} ${clock(row[`${what}_at`])}`).join("\n");
}

const amount = (n) => n.toLocaleString("en", { maximumFractionDigits: 2 }).replaceAll(",", "\u2009");

const SGR = /\x1b\[([0-9;]*)m/;
// OSC sequences, then CSI sequences other than SGR, then stray escapes and control characters.
const NOISE =
  /\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[(?![\d;]*m)[0-?]*[ -/]*[@-~]|\x1b(?!\[[\d;]*m)|[^\P{Cc}\t\x1b]/gu;

/** What a terminal would show of a line that carriage returns painted over. */
const overwritten = (line) => line.replace(/\r+$/, "").split("\r").pop();

function restyle(style, codes) {
  const queue = codes.split(";").map(Number);
  while (queue.length) {
    const code = queue.shift();
    if (code === 0 || code === 39) style.colour = 0;
    if (code === 0 || code === 22) style.bold = false;
    if (code === 1) style.bold = true;
    if ((code >= 30 && code <= 37) || (code >= 90 && code <= 97)) style.colour = code % 10;
    if (code === 38 || code === 48) queue.splice(0, queue[0] === 5 ? 2 : 4);
  }
}

/** Lines of nodes: plain text, or spans with the basic ANSI colours. */
function terminalLines(text) {
  const style = { bold: false, colour: 0 };
  return text.trimEnd().split("\n").map((line) => {
    const nodes = [];
    overwritten(line).replace(NOISE, "").split(SGR).forEach((part, i) => {
      if (i % 2) restyle(style, part);
      else if (part && (style.bold || style.colour))
        nodes.push(h("span", `scaler-ansi-${style.colour}${style.bold ? " scaler-bold" : ""}`, part));
      else if (part) nodes.push(part);
    });
    return nodes;
  });
}

function fill(node, lines) {
  node.replaceChildren();
  lines.forEach((parts, i) => node.append(i ? "\n" : "", ...parts));
}

/** What a text with escapes says. */
function plainText(text) {
  const node = h("pre");
  fill(node, terminalLines(text));
  return node.textContent;
}

/** Put a text on the clipboard, also in a page that came without encryption. */
async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const box = Object.assign(h("textarea"), { value: text });
  const focused = document.activeElement;
  document.body.append(box);
  box.select();
  const copied = document.execCommand("copy");
  box.remove();
  focused?.focus({ preventScroll: true });
  if (!copied) throw new Error("this page may not use the clipboard");
}

function h(tag, className = "", ...children) {
  const node = Object.assign(document.createElement(tag), { className });
  node.append(...children);
  return node;
}

function setAttributes(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
}

/** Sets only what differs, so that ticks cost nothing and a selection in the text survives. */
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const button = (name, title) =>
  Object.assign(h("button", `scaler-button ${name}`), { type: "button", title });

function build() {
  const ui = {
    icon: document.createElementNS(SVG, "svg"),
    word: h("span", "scaler-word"),
    call: h("code", "scaler-call"),
    refused: h("span", "scaler-refused", "still running:"),
    kill: button("scaler-kill", "End the process that runs it"),
    cancel: button("scaler-cancel", "Ask the task to stop"),
    retry: button("scaler-retry", "Submit the same call again"),
    copy: button("scaler-copy", "Copy what it wrote, and its traceback"),
    time: h("span", "scaler-time"),
    fill: h("span", "scaler-fill"),
    amount: h("span", "scaler-amount"),
    earlier: h("details", "scaler-earlier", h("summary"), h("pre", "scaler-block")),
    tail: h("pre", "scaler-tail"),
    trace: h("details", "", h("summary"), h("pre", "scaler-block")),
    errorLine: h("div"),
    origin: h("div", "scaler-origin"),
    resultText: h("pre", "scaler-block"),
    resultRich: h("div", "scaler-rich"),
    about: h("div", "scaler-about"),
    earlierRun: h("div", "scaler-earlier-run", h("span"), button("scaler-stop-earlier", "")),
    note: h("div", "scaler-note", "waiting for the kernel…"),
    status: h("span", "scaler-spoken"),
  };
  ui.icon.append(document.createElementNS(SVG, "path"));
  ui.badge = h("span", "scaler-badge", ui.icon, ui.word);
  ui.actions = h("span", "scaler-actions", ui.refused, ui.kill, ui.cancel, ui.retry, ui.time);
  ui.head = h("div", "scaler-head", ui.badge, ui.call, ui.actions);
  ui.track = h("span", "scaler-track", ui.fill);
  ui.progress = h("div", "scaler-progress", ui.track, ui.amount);
  ui.output = h("div", "scaler-output", ui.earlier, ui.tail);
  ui.error = h("div", "scaler-error", ui.errorLine, ui.trace, ui.origin);
  ui.result = h("div", "scaler-result", ui.resultText, ui.resultRich, ui.about);
  ui.texts = h("div", "scaler-texts", h("div", "scaler-written", ui.output, ui.error), ui.copy);
  ui.root = h("div", "scaler-card", ui.head, ui.progress, ui.texts, ui.result, ui.earlierRun, ui.note, ui.status);
  setAttributes(ui.root, { role: "group", tabindex: "-1" });
  setAttributes(ui.icon, { class: "scaler-icon", viewBox: "0 0 16 16", "aria-hidden": "true" });
  setAttributes(ui.time, { role: "timer" });
  setAttributes(ui.track, { role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100" });
  setAttributes(ui.status, { role: "status", "aria-live": "polite" });
  for (const part of [ui.head, ui.progress, ui.retry, ui.copy, ui.output, ui.error, ui.result, ui.earlierRun]) part.hidden = true;
  // A keyboard can only scroll what it can reach.
  ui.earlier.lastChild.tabIndex = ui.trace.lastChild.tabIndex = 0;
  setText(ui.copy, "Copy");
  return ui;
}

function paintHead(ui, row) {
  const kind = kindOf(row);
  Object.assign(ui.root.dataset, { taskId: row.task_id, state: row.state, kind });
  ui.root.setAttribute("aria-label", `task ${row.call}`);
  ui.icon.firstChild.setAttribute("d", ICONS[kind] ?? ICONS.queued);
  setText(ui.word, verdict(row));
  ui.badge.title = `task ${row.task_id}`;
  setText(ui.call, row.call);
  ui.call.title = row.call;
  ui.time.title = timesTitle(row);
}

function paintButtons(ui, row, asked, offersRetry) {
  const offersKill = row.refused && row.state !== "cancelling" && !isOver(row);
  const buttons = [[ui.cancel, "Cancel", !isOver(row)], [ui.kill, "Kill", offersKill], [ui.retry, "Retry", offersRetry]];
  for (const [node, name, shown] of buttons) {
    const text = asked?.node === node ? "asking…" : name;
    const usable = shown && !asked && row.state !== "cancelling";
    // The focus must not fall back to the page when its button goes.
    if (!usable && node.matches(":focus")) ui.root.focus({ preventScroll: true });
    setText(node, text);
    node.setAttribute("aria-label", `${text} ${row.call}`);
    node.hidden = !shown;
    node.disabled = !usable;
  }
  ui.refused.hidden = ui.kill.hidden;
}

function paintProgress(ui, progress) {
  ui.progress.hidden = progress === null;
  if (progress === null) return;
  const { done, total, note } = progress;
  const known = total !== null && total > 0;
  const share = known ? Math.min(1, Math.max(0, done / total)) : 0;
  ui.track.classList.toggle("scaler-unknown", !known);
  ui.fill.style.width = known ? `${share * 100}%` : "";
  const text = amount(done) + (known ? ` / ${amount(total)}` : "") + (note ? ` · ${note}` : "");
  setText(ui.amount, text);
  ui.amount.title = text;
  setAttributes(ui.track, { "aria-label": note || "progress", "aria-valuetext": text });
  ui.track.ariaValueNow = known ? String(Math.round(share * 100)) : null;
}

function paintOutput(ui, row) {
  const lines = row.output.trim() ? terminalLines(row.output) : [];
  const earlier = lines.slice(0, -TAIL_LINES);
  ui.output.hidden = !lines.length;
  fill(ui.tail, lines.slice(-TAIL_LINES));
  ui.earlier.hidden = !earlier.length;
  const count = `${earlier.length} earlier ${earlier.length === 1 ? "line" : "lines"}`;
  setText(ui.earlier.firstChild, row.output_truncated ? `${count} kept, older ones dropped` : count);
  const paintEarlier = () => {
    if (!ui.earlier.open) return;
    fill(ui.earlier.lastChild, earlier);
    ui.earlier.lastChild.scrollTop = ui.earlier.lastChild.scrollHeight;
  };
  ui.earlier.ontoggle = paintEarlier;
  paintEarlier();
}

function paintCopy(ui, row) {
  ui.copy.hidden = ui.output.hidden && ui.error.hidden;
  ui.copy.setAttribute("aria-label", `copy the output of ${row.call}`);
  ui.copy.onclick = async () => {
    const parts = [row.output, row.traceback ?? row.error ?? ""].filter((text) => text.trim());
    const said = await copy(parts.map(plainText).join("\n\n")).then(() => "Copied", () => "No clipboard");
    setText(ui.copy, said);
    setText(ui.status, said);
    setTimeout(() => setText(ui.copy, "Copy"), COPIED_MS);
  };
}

function paintEarlierRun(ui, { running, refused }) {
  const [words, stop] = ui.earlierRun.children;
  ui.earlierRun.hidden = !running;
  const tasks = running === 1 ? "a task" : `${running} tasks`;
  setText(words, `${tasks} of an earlier run of this cell ${running === 1 ? "still runs" : "still run"}:`);
  stop.dataset.force = refused;
  setText(stop, refused ? "Kill" : "Cancel");
  stop.setAttribute("aria-label", `${stop.textContent} what an earlier run of this cell left`);
}

function paintEnd(ui, row) {
  ui.error.hidden = row.error === null;
  ui.trace.hidden = row.traceback === null;
  ui.errorLine.hidden = !ui.trace.hidden;
  fill(ui.trace.hidden ? ui.errorLine : ui.trace.firstChild, terminalLines(row.error ?? ""));
  fill(ui.trace.lastChild, terminalLines(row.traceback ?? ""));
  setText(ui.origin, row.origin ?? "");
  ui.result.hidden = row.result === null && row.rich === null && row.about === null;
  const box = ui.resultText;
  setText(ui.about, row.about ?? "");
  box.hidden = row.rich !== null || row.result === null;
  ui.resultRich.hidden = row.rich === null;
  ui.resultRich.innerHTML = row.rich ?? ""; // what the value itself declares as its display
  fill(box, terminalLines(row.result ?? ""));
  if (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight) box.tabIndex = 0;
}

const GONE = ["restarting", "autorestarting", "terminating", "dead"];

/** Calls `ended` once the kernel restarts, dies or is shut down, where the front end tells; gives how to stop. */
function whenKernelEnds(model, ended) {
  const kernel = model.widget_manager?.kernel;
  const look = (_, status) => GONE.includes(status) && ended();
  const disposed = () => ended();
  kernel?.statusChanged?.connect(look);
  kernel?.disposed?.connect(disposed);
  return () => {
    kernel?.statusChanged?.disconnect(look);
    kernel?.disposed?.disconnect(disposed);
  };
}

function render({ model, el }) {
  const ui = build();
  const view = Math.random().toString(36).slice(2);
  // The first row of a view answers its `ready`: it counts, whatever its number.
  let [row, seq, skew] = [null, -Infinity, 0];
  let [asked, late, remark, timer, offersRetry] = [null, false, "", null, false];

  function tick() {
    const now = Date.now();
    setText(ui.time, duration(elapsed(row, now / 1000 + skew), isOver(row)));
    if (asked && now - asked.at > PATIENCE_MS) {
      [asked, late] = [null, true];
      setText(ui.status, NO_ANSWER);
      paintButtons(ui, row, asked, offersRetry);
    }
    setText(ui.note, late ? NO_ANSWER : remark);
  }

  function answered() {
    [asked, late] = [null, false];
  }

  function paint() {
    paintButtons(ui, row, asked, offersRetry);
    tick();
    clearInterval(timer);
    if (!isOver(row) || asked) timer = setInterval(tick, TICK_MS);
  }

  function onRow(next) {
    const before = row;
    row = { ...before, ...next }; // what is large comes only when it changes
    if (isOver(row) || row.state === "cancelling" || row.refused) answered();
    ui.head.hidden = false;
    paintHead(ui, row);
    paintProgress(ui, row.progress);
    const changed = (...keys) => keys.some((key) => row[key] !== before?.[key]);
    if (changed("output", "output_truncated")) paintOutput(ui, row);
    if (changed("error", "traceback", "result", "rich", "about")) paintEnd(ui, row);
    paintCopy(ui, row);
    paint();
    const refusal = !ui.kill.hidden && changed("refused");
    const news = refusal ? "still running, Kill is offered" : verdict(row);
    if (before && news !== verdict(before)) setText(ui.status, `${row.call.slice(0, 60)}: ${news}`);
  }

  function onMessage(message) {
    if (message?.type === "row" && message.seq > seq) {
      seq = message.seq;
      skew = message.now - Date.now() / 1000;
      if (message.note && message.note !== remark) setText(ui.status, message.note);
      if (message.note) answered();
      remark = message.note ?? "";
      offersRetry = Boolean(message.retry);
      paintEarlierRun(ui, message.earlier ?? { running: 0, refused: false });
      onRow(message.row);
    }
  }

  function ask(node, message) {
    answered();
    asked = { node, at: Date.now() };
    remark = "";
    model.send(message);
    paint();
  }

  function onKernelEnd() {
    clearInterval(timer);
    if (row && isOver(row)) return;
    for (const node of [ui.cancel, ui.kill, ui.refused]) node.hidden = true;
    ui.root.dataset.kind = "lost";
    setText(ui.word, "lost");
    ui.icon.firstChild.setAttribute("d", ICONS.cancelled);
    setText(ui.note, "the kernel has ended, and its tasks with it");
    setText(ui.status, ui.note.textContent);
  }

  const stopListening = whenKernelEnds(model, onKernelEnd);
  ui.cancel.onclick = () => ask(ui.cancel, { type: "cancel", force: false });
  ui.retry.onclick = () => ask(ui.retry, { type: "retry" });
  ui.earlierRun.lastChild.onclick = ({ target }) =>
    model.send({ type: "cancel_earlier", force: target.dataset.force === "true" });
  ui.kill.onclick = () => ask(ui.kill, { type: "cancel", force: true });
  model.on("msg:custom", onMessage);
  el.append(ui.root);
  model.send({ type: "ready", view });
  // The first may have gone to a busy main thread, before the front end had made its subshell.
  const again = setTimeout(() => row ?? model.send({ type: "ready", view }), KNOCK_AGAIN_MS);

  return () => {
    clearInterval(timer);
    clearTimeout(again);
    stopListening();
    model.off("msg:custom", onMessage);
    model.send({ type: "left", view });
    ui.root.remove();
  };
}

export default { render };
