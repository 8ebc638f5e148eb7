/* The viewer of what a task writes: its last lines, and the earlier ones in a fold, to be searched and saved. */

import { lengthOf, sliced } from "../code_points.js";
import { button, h, setAttributes, setText, showWhereItGoesOn } from "../dom.js";
import { amount } from "../quantities.js";
import { fill, plainText, terminalLines } from "../terminal.js";

/**
 * @import { OutputMessage, OutputQuestion, Row } from "../messages.js"
 * @import { Run } from "../terminal.js"
 *
 * @typedef {ReturnType<typeof makeLog>} Log
 */

const TAIL_LINES = 3;
const MAX_DRAWN = 2000; // lines in the document; scrolled to the first, as many more are drawn
const AT_END = 4; // pixels from the end that still are the end
const ASK_AGAIN_MS = 1000; // while a task goes on writing, all of which is shown
const PATIENT = 10; // times as long as drawing takes, before it is drawn again

/** @param {Run[]} line */
const wordsOf = (line) => line.map((run) => run.text).join("");

/** @param {Run[]} line */
const keyOf = (line) => line.map((run) => `${run.bold}${run.colour}\n${run.text}`).join("\n");

/**
 * Lines in an element. What stays is not touched: a selection in it survives, and its place under the pointer.
 *
 * @param {HTMLElement} node
 */
function makeLines(node) {
  /** @type {{key: string, line: HTMLElement}[]} */
  const shown = [];

  /**
   * By how many lines the text has moved up: the first of the new lines was the one with that number.
   *
   * @param {string[]} keys
   */
  function movedBy(keys) {
    for (let moved = 0; moved < shown.length; moved++) {
      const count = Math.min(shown.length - moved, keys.length);
      let same = 0;
      while (same < count && shown[moved + same].key === keys[same]) same++;
      if (same === count || (same > 0 && same === shown.length - moved - 1)) return moved; // the last may have grown
    }
    return shown.length > 1 ? shown.length : 0;
  }

  /** @param {Run[][]} lines */
  return (lines) => {
    const keys = lines.map(keyOf);
    const top = node.scrollTop;
    const stuck = top + node.clientHeight >= node.scrollHeight - AT_END;
    const moved = movedBy(keys);
    if (moved) {
      const height = node.scrollHeight;
      for (const { line } of shown.splice(0, moved)) line.remove();
      if (!stuck) node.scrollTop = top - (height - node.scrollHeight);
    }
    for (const { line } of shown.splice(keys.length)) line.remove();
    keys.forEach((key, i) => {
      if (shown[i]?.key === key) return;
      const line = shown[i]?.line ?? h("span");
      fill(line, [lines[i], []]); // with the end of the line
      if (!shown[i]) node.append(line);
      shown[i] = { key, line };
    });
    if (stuck) node.scrollTop = node.scrollHeight;
  };
}

/**
 * @param {string} name of the file
 * @param {string} text
 */
function save(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  Object.assign(h("a"), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), ASK_AGAIN_MS);
}

/**
 * What is known of a text with a part of it that has come later; that alone, if it does not continue what is known.
 *
 * @template {{from: number, rewrites: number, text: string}} Part
 * @param {Part | null} known
 * @param {Part} more
 * @returns {Part}
 */
export function joined(known, more) {
  if (!known || more.rewrites !== known.rewrites || more.from <= known.from) return more;
  const [there, length] = [more.from - known.from, lengthOf(known.text)];
  if (there > length) return more;
  const before = there === length ? known.text : sliced(known.text, 0, there);
  return { ...more, from: known.from, text: before + more.text };
}

function build() {
  const count = h("summary");
  const search = Object.assign(h("input", "scaler-find"), { type: "search", placeholder: "find lines" });
  const hits = h("span", "scaler-hits");
  const all = button("scaler-all-lines", "Show all lines that are kept");
  const download = button("scaler-download", "Save all lines that are kept, as a file");
  const tools = h("div", "scaler-log-tools", search, hits, all, download);
  const text = h("pre", "scaler-block");
  const earlier = h("details", "scaler-earlier", count, tools, text);
  const tail = h("pre", "scaler-tail");
  text.tabIndex = 0; // a keyboard can only scroll what it can reach
  showWhereItGoesOn(tail);
  setText(all, "All lines");
  setText(download, "Save");
  setAttributes(hits, { role: "status" });
  return { node: h("div", "scaler-output", earlier, tail), earlier, count, search, hits, all, download, text, tail };
}

/** @param {(question: OutputQuestion) => void} ask asks the kernel for what is kept */
export function makeLog(ask) {
  const ui = build();
  const [paintEarlier, paintTail] = [makeLines(ui.text), makeLines(ui.tail)];
  /** @type {{text: string, cut: boolean, id: string, mayAsk: boolean}} */
  let known = { text: "", cut: false, id: "", mayAsk: false };
  /** @type {{from: number, rewrites: number, text: string} | null} */
  let whole = null; // all that is kept, once somebody has asked for it
  /** @type {{what: "show" | "save", question: number} | null} */
  let click = null; // what waits for the answer to its question
  let [questions, outdated] = [0, 0]; // how many were asked, and how many of them about a task that was submitted again
  let [limit, again, took] = [MAX_DRAWN, 0, 0];
  /** @type {Run[][]} */
  let lines = [];

  function draw() {
    const began = performance.now();
    const text = whole?.text ?? known.text;
    lines = text.trim() ? terminalLines(text) : [];
    const earlier = lines.length - TAIL_LINES;
    ui.node.hidden = !lines.length;
    ui.earlier.hidden = earlier <= 0;
    paintTail(lines.slice(-TAIL_LINES));
    const words = `${amount(Math.max(0, earlier))} earlier ${earlier === 1 ? "line" : "lines"}`;
    const more = known.mayAsk ? "and more are kept" : `%scaler logs ${known.id} prints all`;
    setText(ui.count, known.cut && !whole ? `${words}; ${more}` : words);
    ui.all.hidden = !known.mayAsk || !known.cut || whole !== null;
    drawEarlier();
    took = performance.now() - began;
  }

  function drawEarlier() {
    if (!ui.earlier.open) return;
    const query = ui.search.value.trim().toLowerCase();
    const found = query
      ? lines.filter((line) => wordsOf(line).toLowerCase().includes(query))
      : lines.slice(0, -TAIL_LINES);
    setText(ui.hits, query ? `${amount(found.length)} of ${amount(lines.length)} lines` : "");
    paintEarlier(found.slice(-limit));
  }

  /** @param {"show" | "save"} what is done with the answer */
  function askForAll(what) {
    ui.all.disabled = ui.download.disabled = true;
    click = { what, question: ++questions };
    ask({ question: questions, rewrites: 0, from: 0 });
  }

  function askForMore() {
    again = 0;
    if (whole) ask({ question: ++questions, rewrites: whole.rewrites, from: whole.from + lengthOf(whole.text) });
  }

  /** What was clicked is done. */
  function endClick() {
    click = null;
    ui.all.disabled = ui.download.disabled = false;
  }

  /** Another task is shown: what was known, and asked, was of the one before. */
  function startAnew() {
    [whole, limit, outdated] = [null, MAX_DRAWN, questions];
    endClick();
  }

  ui.earlier.ontoggle = () => {
    drawEarlier();
    ui.text.scrollTop = ui.text.scrollHeight;
  };
  ui.search.oninput = drawEarlier;
  ui.all.onclick = () => askForAll("show");
  ui.download.onclick = () => {
    if (known.cut && known.mayAsk) askForAll("save");
    else save(`${known.id}.log`, plainText(whole?.text ?? known.text));
  };
  ui.text.onscroll = () => {
    if (ui.text.scrollTop || ui.text.childElementCount < limit) return;
    limit += MAX_DRAWN;
    const height = ui.text.scrollHeight;
    drawEarlier();
    ui.text.scrollTop = ui.text.scrollHeight - height;
  };

  return {
    node: ui.node,
    text: () => whole?.text ?? known.text,
    end: () => clearTimeout(again),

    /**
     * @param {Row} row
     * @param {boolean} mayAsk does the kernel give all that is kept?
     */
    paint(row, mayAsk) {
      if (row.task_id !== known.id) startAnew();
      const now = { text: row.output, cut: row.output_truncated, id: row.task_id, mayAsk };
      const changed = now.text !== known.text || now.cut !== known.cut || now.id !== known.id;
      const offered = now.mayAsk !== known.mayAsk;
      known = now;
      if (whole && changed) again ||= window.setTimeout(askForMore, Math.max(ASK_AGAIN_MS, PATIENT * took));
      else if (changed || offered) draw();
    },

    /** @param {OutputMessage} message */
    hear({ question, rewrites, from, text }) {
      if (question <= outdated) return;
      const what = click?.question === question ? click.what : null;
      if (what) endClick();
      if (text === null) known.mayAsk = false; // nothing holds the future any more
      else if (what === "save") save(`${known.id}.log`, plainText(text));
      else whole = joined(whole, { rewrites, from, text });
      draw();
    },
  };
}
