/* The table of a board: only the rows that can be seen are in the document. Continues board_rows.js. */

const ROW_HEIGHT = 26;
const MAX_SHOWN = 10;
const SPARE_ROWS = 4; // beyond either edge
const HOLD_MS = 3000; // after the pointer's last move, rows stay where they are under it

const HEADINGS = [
  ["kind", "State"],
  ["call", "Call"],
  ["processor", "Process"],
  ["started", "Started"],
  ["time", "Time"],
  ["note", "Note"],
];

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

let tables = 0;

/**
 * `store` has the rows and how they are looked at; `act` has what a person can do: open(number), cancel(numbers, force),
 * selected().
 */
function makeTable(store, act) {
  const { rows, look, selected } = store;
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
    const node = Object.assign(h("button", "", title), { type: "button", onclick: () => sortBy(by) });
    const cell = setRole(h("div", `scaler-cell scaler-col-${by}`, node), "columnheader");
    head.append(cell);
    return { by, cell };
  });
  const lines = [];
  let [order, moved] = [[], -Infinity];

  // ------------------------------------------------------------------ order

  /** Find the order anew, unless somebody is about to click where a row is now. */
  function rearrange(asked) {
    const held = grid.matches(":hover") && performance.now() - moved < HOLD_MS;
    if (!asked && held && order.length) {
      const known = new Set(order);
      const grown = arrange(rows, { ...look, sort: null }, store.now()).filter((number) => !known.has(number));
      order = [...order, ...grown];
    } else {
      order = arrange(rows, look, store.now());
    }
    body.style.height = `${order.length * ROW_HEIGHT}px`;
    grid.style.height = `${(Math.min(MAX_SHOWN, Math.max(1, rows.length)) + 1) * ROW_HEIGHT + 2}px`;
    grid.setAttribute("aria-rowcount", order.length + 1);
    setText(empty, order.length ? "" : rows.length ? "no task fits" : "no tasks yet");
    for (const { by, cell } of headings) {
      const way = look.sort?.by !== by ? "none" : look.sort.descending ? "descending" : "ascending";
      cell.setAttribute("aria-sort", way);
    }
  }

  function sortBy(by) {
    const { sort } = look;
    if (sort?.by !== by) look.sort = { by, descending: false };
    else look.sort = sort.descending ? null : { by, descending: true };
    rearrange(true);
    paint();
  }

  // ------------------------------------------------------------------ rows

  function makeLine() {
    const line = {
      number: -1,
      icon: document.createElementNS(SVG, "svg"),
      word: h("span", "scaler-word"),
      cells: {},
      cancel: Object.assign(h("button", "scaler-row-cancel"), { type: "button", tabIndex: -1 }),
    };
    line.icon.append(document.createElementNS(SVG, "path"));
    setAttributes(line.icon, { class: "scaler-icon", viewBox: "0 0 16 16", "aria-hidden": "true" });
    line.node = setRole(h("div", "scaler-line"), "row");
    for (const [by] of HEADINGS) {
      line.cells[by] = setRole(h("div", `scaler-cell scaler-col-${by}`), "gridcell");
      line.node.append(line.cells[by]);
    }
    line.cells.kind.append(line.icon, line.word);
    line.node.append(line.cancel);
    line.cancel.onclick = (event) => {
      event.stopPropagation();
      act.cancel([line.number], line.cancel.dataset.force === "true");
    };
    line.node.onclick = (event) => choose(line.number, event);
    body.append(line.node);
    return line;
  }

  function paintLine(line, number, position) {
    const [kind, flags] = [rows.kind[number], rows.flags[number]];
    const refused = Boolean(flags & REFUSED) && kind === RUNNING;
    if (line.number !== number) line.node.id = `${id}-${number}`;
    line.number = number;
    line.node.hidden = false;
    line.node.style.transform = `translateY(${position * ROW_HEIGHT}px)`;
    if (line.node.dataset.kind !== KINDS[kind]) {
      line.node.dataset.kind = KINDS[kind];
      line.icon.firstChild.setAttribute("d", ICONS[KINDS[kind]]);
      setText(line.word, wordOf(kind));
    }
    setAttributes(line.node, { "aria-rowindex": position + 2, "aria-selected": selected.has(number) });
    line.node.classList.toggle("scaler-current", store.current === number);
    line.node.classList.toggle("scaler-opened", look.open === number);
    const call = textOf(rows, "call", number);
    const note = refused ? "still running" : textOf(rows, "note", number);
    const retried = flags & RETRIED ? "submitted again; " : "";
    const progress = ended(kind) ? undefined : rows.progress.get(number);
    paintCell(line.cells.call, call);
    paintCell(line.cells.processor, textOf(rows, "processor", number));
    const started = rows.started[number];
    paintCell(line.cells.started, started === null ? "" : clock.format(rows.epoch * 1000 + started));
    paintCell(line.cells.note, progress && !note ? progressWords(progress) : retried + note);
    const share = progress?.total > 0 ? Math.min(1, Math.max(0, progress.done / progress.total)) : 0;
    line.cells.note.style.setProperty("--scaler-share", `${share * 100}%`);
    line.cancel.hidden = ended(kind) || kind === CANCELLING;
    line.cancel.dataset.force = refused;
    setText(line.cancel, refused ? "Kill" : "Cancel");
    paintTime(line);
  }

  function paintCell(cell, text) {
    if (cell.textContent === text) return;
    cell.textContent = text;
    cell.title = text;
  }

  function paintTime(line) {
    const ran = ranFor(rows, line.number, store.now());
    setText(line.cells.time, ran === null ? "" : duration(ran / 1000, ended(rows.kind[line.number])));
  }

  function paint() {
    const first = Math.max(0, Math.floor(grid.scrollTop / ROW_HEIGHT) - SPARE_ROWS);
    const seen = Math.ceil(grid.clientHeight / ROW_HEIGHT) || MAX_SHOWN;
    const last = Math.min(order.length, first + seen + 2 * SPARE_ROWS);
    while (lines.length < last - first) lines.push(makeLine());
    // A row keeps its element while it is scrolled, so that a hover and a half-done click survive.
    for (let position = first; position < first + lines.length; position++) {
      const line = lines[position % lines.length];
      if (position < last) paintLine(line, order[position], position);
      else line.node.hidden = true;
    }
    const active = order.includes(store.current) ? `${id}-${store.current}` : null;
    if (active) grid.setAttribute("aria-activedescendant", active);
    else grid.removeAttribute("aria-activedescendant");
  }

  function tick() {
    for (const line of lines) if (!line.node.hidden && !ended(rows.kind[line.number])) paintTime(line);
  }

  // ------------------------------------------------------------------ choosing

  function choose(number, event) {
    if (event.shiftKey && store.anchor !== null) selectRange(store.anchor, number);
    else if (event.ctrlKey || event.metaKey) toggle(number);
    else {
      selected.clear();
      selected.add(number);
      store.anchor = number;
      act.open(number);
    }
    store.current = number;
    act.selected();
    paint();
  }

  function toggle(number) {
    if (!selected.delete(number)) selected.add(number);
    store.anchor = number;
  }

  function selectRange(from, to) {
    const [a, b] = [order.indexOf(from), order.indexOf(to)];
    if (a < 0 || b < 0) return;
    selected.clear();
    for (let p = Math.min(a, b); p <= Math.max(a, b); p++) selected.add(order[p]);
  }

  function reveal(position) {
    const [top, height] = [position * ROW_HEIGHT, grid.clientHeight - ROW_HEIGHT];
    if (top < grid.scrollTop) grid.scrollTop = top;
    else if (top + ROW_HEIGHT > grid.scrollTop + height) grid.scrollTop = top + ROW_HEIGHT - height;
  }

  function onKey(event) {
    if (event.target !== grid || !order.length) return;
    const here = order.indexOf(store.current);
    const page = Math.max(1, Math.floor(grid.clientHeight / ROW_HEIGHT) - 2);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in steps) {
      const step = steps[event.key];
      const to = Math.min(order.length - 1, Math.max(0, here < 0 && Number.isFinite(step) ? 0 : here + step));
      store.current = order[to];
      if (event.shiftKey) selectRange(store.anchor ?? order[Math.max(0, here)], store.current);
      else {
        selected.clear();
        selected.add(store.current);
        store.anchor = store.current;
      }
      reveal(to);
    } else if (event.key === " " && here >= 0) toggle(store.current);
    else if (event.key === "Enter" && here >= 0) act.open(store.current);
    else if (event.key === "Delete" && selected.size) act.cancel([...selected], false);
    else if (event.key === "a" && (event.ctrlKey || event.metaKey)) order.forEach((number) => selected.add(number));
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
  grid.onpointermove = () => (moved = performance.now());

  return { node: grid, rearrange, paint, tick, shown: () => order.length, order: () => order };
}

const progressWords = ({ done, total, note }) =>
  amount(done) + (total > 0 ? ` / ${amount(total)}` : "") + (note ? ` · ${note}` : "");

function setRole(node, role, attributes = {}) {
  setAttributes(node, { role, ...attributes });
  return node;
}
