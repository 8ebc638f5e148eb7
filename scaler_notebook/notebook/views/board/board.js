/**
 * The board of many tasks: counts, a table or a time line, the task that is open. The last part of a module that
 * boards.py puts together: card.js (its parts, and the card of the open task), board_rows.js, board_table.js,
 * board_timeline.js, board_graph.js, board_pane.js, and this.
 *
 * From the kernel:  {type: "rows", seq, now, strings, columns, progress, numbers | whole, title, epoch, edges,
 *                    details, answer}
 * To the kernel:    {type: "here"} from a front end that has the widget, shown or not,
 *                   {type: "ready", view} once a view listens, {type: "left", view} when none does any more,
 *                   {type: "gap"} when a message is missing,
 *                   {type: "cancel", rows, force}, {type: "retry", rows} with row numbers or "all",
 *                   {type: "open", row}, {type: "close", row}: whose details are wanted
 */

let pages = 0;

const LINGER_MS = 1000; // a view that is drawn again is not gone
const GAP_MS = 2000; // between two questions for what is missing
const SETTLE_MS = 1000; // between two looks for the order and the time left while rows change

/** What all views of one board share, and keep when they are drawn again. */
function makeStore() {
  const store = {
    page: `${Date.now().toString(36)}-${pages++}-${Math.random().toString(36).slice(2)}`,
    rows: makeRows(),
    seq: null,
    skew: 0,
    details: new Map(),
    selected: new Set(),
    current: null,
    anchor: null,
    look: { text: "", kind: null, sort: null, open: null, tab: "table", chosen: false, scrollTop: 0 },
    asked: null,
    late: false, // was there no answer?
    answer: null,
    views: new Set(),
    focus: null, // what a view that is drawn again gives the keyboard back to
    before: null, // what was so when somebody was last told
    spoken: "",
    listening: false, // does the kernel send to us?
    now: () => Date.now() + store.skew * 1000 - store.rows.epoch * 1000,
  };
  return store;
}

/** Take a message in; false if one before it is missing. */
function takeMessage(store, message) {
  if (!message.whole && message.seq !== store.seq + 1) return false;
  store.seq = message.seq;
  store.skew = message.now - Date.now() / 1000;
  takeRows(store.rows, message);
  for (const detail of message.details) store.details.set(detail.number, { ...detail, seq: message.seq, now: message.now });
  if (message.answer) {
    store.answer = message.answer;
    store.asked = null;
    store.late = false;
  }
  return true;
}

const plural = (n, one, many = `${one}s`) => `${amount(n)} ${n === 1 ? one : many}`;

function buildBoard(table, timeline, graph, pane) {
  const ui = {
    title: h("span", "scaler-title"),
    times: h("span", "scaler-times"),
    retry: button("scaler-retry", "Submit again what failed"),
    kill: button("scaler-kill", "End the processes of the tasks that went on after a cancel"),
    cancel: button("scaler-cancel", "Ask everything that is unfinished to stop"),
    bar: setRole(h("div", "scaler-bar"), "group", { "aria-label": "tasks by state" }),
    chips: setRole(h("div", "scaler-chips"), "group", { "aria-label": "show only" }),
    search: Object.assign(h("input", "scaler-search"), { type: "search", placeholder: "Filter", spellcheck: false }),
    tabs: {},
    said: h("span", "scaler-said", "waiting for the kernel…"),
    cancelSelected: button("scaler-cancel-selected", "Ask the selected tasks to stop"),
    pane: pane.node,
    status: h("span", "scaler-spoken"),
  };
  ui.search.setAttribute("aria-label", "filter by call, process or note");
  for (const [name, title] of [["graph", "Graph"], ["table", "Table"], ["timeline", "Time line"]])
    ui.tabs[name] = Object.assign(h("button", "scaler-tab", title), { type: "button" });
  const tabs = setRole(h("div", "scaler-tabs", ...Object.values(ui.tabs)), "group", { "aria-label": "show as" });
  const actions = h("span", "scaler-actions", ui.retry, ui.kill, ui.cancel);
  const top = h("div", "scaler-top", ui.title, ui.times, actions);
  const tools = h("div", "scaler-tools", ui.chips, h("div", "scaler-filter", ui.search, tabs));
  const foot = h("div", "scaler-foot", ui.said, ui.cancelSelected);
  ui.parts = STORY.map((kind) => makePart(kind));
  ui.bar.append(...ui.parts.map((part) => part.segment));
  ui.chips.append(...ui.parts.map((part) => part.chip));
  ui.body = h("div", "scaler-body", graph.node, table.node, timeline.node);
  ui.root = h("div", "scaler-board", top, ui.bar, tools, ui.body, foot, ui.pane, ui.status);
  // Its keys are not the notebook's.
  setAttributes(ui.root, { role: "region", "data-lm-suppress-shortcuts": "true" });
  setAttributes(ui.status, { role: "status", "aria-live": "polite" });
  return ui;
}

/** A segment of the bar and the words below it: two handles of one filter. */
function makePart(kind) {
  const icon = document.createElementNS(SVG, "svg");
  icon.append(document.createElementNS(SVG, "path"));
  icon.firstChild.setAttribute("d", ICONS[KINDS[kind]]);
  setAttributes(icon, { class: "scaler-icon", viewBox: "0 0 16 16", "aria-hidden": "true" });
  const count = h("span", "scaler-count");
  const chip = Object.assign(h("button", "scaler-chip", icon, count), { type: "button" });
  const segment = h("span", "scaler-segment");
  chip.dataset.kind = segment.dataset.kind = KINDS[kind];
  return { kind, chip, segment, count };
}

function renderBoard(store, model, el) {
  const { rows, look, selected } = store;
  const act = { open, cancel, selected: paintFoot };
  const table = makeTable(store, act);
  const timeline = makeTimeline(store, act);
  const graph = makeGraph(store, act);
  const pane = makePane(store, { cancel, close, retry: (numbers) => ask({ type: "retry", rows: numbers }) });
  const panels = { table, timeline, graph };
  const ui = buildBoard(table, timeline, graph, pane);
  let [sums, arrangedAt, talliedAt, laidAt] = [tally(rows, 0), -Infinity, -Infinity, -Infinity];
  let [frame, stale] = [0, false];

  // ------------------------------------------------------------------ painting

  function schedule() {
    stale = true;
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      if (stale) paint();
    });
  }

  /** Everything that a message can change. */
  function paint() {
    stale = false;
    const at = performance.now();
    sums = { ...tally(rows, store.now()), left: at - talliedAt < SETTLE_MS ? sums.left : tally(rows, store.now()).left };
    if (at - talliedAt >= SETTLE_MS) talliedAt = at;
    paintTop();
    announce();
    if (!look.chosen && rows.edges.length) return showTab("graph");
    if (look.tab === "graph") graph.paint();
    else if (look.tab === "table") {
      const fixed = !look.sort && look.kind === null && !look.text;
      if (fixed ? table.shown() !== rows.length : at - arrangedAt > SETTLE_MS) rearrange(false);
      table.paint();
    } else if (at - laidAt > 200) {
      laidAt = at;
      timeline.paint();
    }
    paintFoot();
    pane.paint();
  }

  function rearrange(asked) {
    arrangedAt = performance.now();
    table.rearrange(asked);
  }

  function paintTop() {
    setText(ui.title, rows.title);
    ui.root.setAttribute("aria-label", `board of ${rows.title}`);
    for (const { kind, chip, segment, count } of ui.parts) {
      const n = sums.counts[kind];
      const share = rows.length ? (100 * n) / rows.length : 0;
      const title = `${amount(n)} of ${amount(rows.length)} ${wordOf(kind)} (${share.toFixed(share < 10 ? 1 : 0)} %)`;
      segment.style.flexGrow = n;
      segment.hidden = chip.hidden = !n && look.kind !== kind;
      segment.title = chip.title = title;
      setText(count, `${amount(n)} ${wordOf(kind)}`);
      chip.setAttribute("aria-pressed", look.kind === kind);
      segment.classList.toggle("scaler-dim", look.kind !== null && look.kind !== kind);
    }
    ui.tabs.graph.hidden = !rows.edges.length;
    ui.cancel.hidden = !sums.unfinished;
    ui.kill.hidden = !sums.refused;
    ui.retry.hidden = !sums.retriable;
    setText(ui.cancel, "Cancel all");
    setText(ui.kill, `Kill ${amount(sums.refused)}`);
    setText(ui.retry, `Retry ${amount(sums.retriable)} failed`);
    const asking = sums.counts[QUEUED] + sums.counts[RUNNING] === 0;
    ui.cancel.disabled = Boolean(store.asked) || asking;
    ui.kill.disabled = ui.retry.disabled = Boolean(store.asked);
    paintTimes();
  }

  function paintTimes() {
    if (!rows.length) return setText(ui.times, "");
    const parts = [duration(sums.unfinished ? sums.elapsed / 1000 : sums.elapsed / 1000, !sums.unfinished)];
    if (sums.left !== null) parts.push(`about ${roughly(sums.left)} left`);
    setText(ui.times, parts.join(" · "));
  }

  function paintFoot() {
    const filtered = look.tab === "table" && table.shown() !== rows.length;
    const counted = filtered ? `${amount(table.shown())} of ${plural(rows.length, "task")} shown` : plural(rows.length, "task");
    const known = store.seq === null ? "waiting for the kernel…" : store.answer?.text ?? counted;
    setText(ui.said, store.late ? NO_ANSWER : known);
    let [running, refused] = [0, 0];
    for (const number of selected) {
      const kind = rows.kind[number];
      if (kind === QUEUED || kind === RUNNING) running++;
      if (kind === RUNNING && rows.flags[number] & REFUSED) refused++;
    }
    const force = running > 0 && refused === running;
    ui.cancelSelected.hidden = !selected.size || !running;
    ui.cancelSelected.disabled = Boolean(store.asked);
    ui.cancelSelected.dataset.force = force;
    setText(ui.cancelSelected, `${force ? "Kill" : "Cancel"} ${amount(running)} selected`);
  }

  /** Milestones only: who listens must not hear every task. */
  function announce() {
    const { counts, unfinished } = sums;
    const { before } = store;
    // The end says what became of an answer or a failure that comes with it.
    if (before && before.unfinished && !unfinished) say(`all tasks have ended: ${spokenCounts(counts)}`);
    else if (before && store.answer && store.answer.number !== before.answer) say(store.answer.text);
    else if (before && counts[FAILED] > 0 && before.failed === 0) say("a task has failed");
    store.before = { answer: store.answer?.number ?? 0, failed: counts[FAILED], unfinished };
  }

  const spokenCounts = (counts) =>
    STORY.filter((kind) => counts[kind]).map((kind) => `${counts[kind]} ${wordOf(kind)}`).join(", ");

  function say(text) {
    store.spoken = text;
    setText(ui.status, text);
  }

  // ------------------------------------------------------------------ the open task

  function open(number) {
    if (look.open === number) return;
    if (look.open !== null) model.send({ type: "close", row: look.open });
    look.open = number;
    model.send({ type: "open", row: number });
    tellAll();
  }

  function close() {
    if (look.open === null) return;
    model.send({ type: "close", row: look.open });
    look.open = null;
    (panels[look.tab].node.querySelector("[tabindex='0']") ?? table.node).focus({ preventScroll: true });
    tellAll();
  }

  // ------------------------------------------------------------------ asking

  function ask(message) {
    store.asked = Date.now();
    store.answer = null;
    store.late = false;
    model.send(message);
    tellAll();
  }

  function cancel(numbers, force) {
    ask({ type: "cancel", rows: numbers, force });
  }

  const withFlag = (flag, kind) => {
    const numbers = [];
    for (let i = 0; i < rows.length; i++) if (rows.kind[i] === kind && rows.flags[i] & flag) numbers.push(i);
    return numbers;
  };

  ui.cancel.onclick = () => cancel("all", false);
  ui.kill.onclick = () => cancel(withFlag(REFUSED, RUNNING), true);
  ui.retry.onclick = () => ask({ type: "retry", rows: "all" });
  ui.cancelSelected.onclick = () => {
    const numbers = [...selected].filter((number) => !ended(rows.kind[number]) && rows.kind[number] !== CANCELLING);
    if (numbers.length) cancel(numbers, ui.cancelSelected.dataset.force === "true");
  };

  // ------------------------------------------------------------------ looking

  function filter(change) {
    Object.assign(look, change);
    store.answer = null;
    rearrange(true);
    paint();
  }

  for (const { kind, chip, segment } of ui.parts)
    chip.onclick = segment.onclick = () => filter({ kind: look.kind === kind ? null : kind, tab: look.tab });
  ui.search.oninput = () => filter({ text: ui.search.value });

  function showTab(name) {
    look.tab = name;
    look.chosen ||= rows.edges.length > 0;
    for (const [each, node] of Object.entries(ui.tabs)) node.setAttribute("aria-pressed", each === name);
    for (const [each, { node }] of Object.entries(panels)) node.hidden = each !== name;
    laidAt = -Infinity;
    rearrange(true);
    paint();
  }

  for (const [name, node] of Object.entries(ui.tabs)) node.onclick = () => showTab(name);

  ui.root.onkeydown = (event) => {
    if (event.key === "Escape" && look.open !== null) close();
    else if (event.key === "Escape" && event.target === ui.search) filter({ text: (ui.search.value = "") });
    event.stopPropagation();
  };

  // ------------------------------------------------------------------ life

  function tellAll() {
    for (const view of store.views) view();
  }

  const timer = setInterval(() => {
    if (!sums.unfinished && !store.asked) return;
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
  let [homes, height] = [[], 0];
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
  for (const [name, node] of Object.entries(focusable)) {
    node.addEventListener("focus", () => (store.focus = name));
    node.addEventListener("blur", () => ui.root.isConnected && (store.focus = null));
  }
  requestAnimationFrame(() => {
    table.node.scrollTop = scrollTop; // once it has a size
    focusable[store.focus]?.focus({ preventScroll: true });
    say(store.spoken); // if the view before this one had no time to
  });
  store.views.add(schedule);
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
    cancelAnimationFrame(frame);
    resized.disconnect();
    pane.end();
    store.views.delete(schedule);
    ui.root.remove();
    setTimeout(() => {
      if (store.views.size || !store.listening) return;
      store.listening = false;
      model.send({ type: "left", view: store.page });
    }, LINGER_MS);
  };
}

/** A front end that draws a view again must not let the page jump: its place keeps its height for a moment. */
function holdHeight(homes, height) {
  const home = homes.find((node) => node?.isConnected);
  if (!home) return;
  home.style.minHeight = `${height}px`;
  setTimeout(() => (home.style.minHeight = ""), LINGER_MS);
}

export default () => {
  const store = makeStore();
  let gapAsked = -Infinity;
  return {
    initialize({ model }) {
      const onMessage = (message) => {
        if (message?.type !== "rows") return;
        if (takeMessage(store, message)) {
          for (const view of store.views) view();
        } else if (store.seq !== null && Date.now() - gapAsked > GAP_MS) {
          gapAsked = Date.now();
          model.send({ type: "gap" });
        }
      };
      model.on("msg:custom", onMessage);
      model.send({ type: "here" });
      return () => model.off("msg:custom", onMessage);
    },
    render: ({ model, el }) => renderBoard(store, model, el),
  };
};
