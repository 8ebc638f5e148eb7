/* Text with a terminal's escapes: its lines, its colours. terminal_style.py and terminal_screen.py do the same. */

import { lengthOf, sliced } from "./code_points.js";
import { h } from "./dom.js";

/**
 * @typedef {{bold: boolean, colour: string}} Style `colour` is CSS, or "" for the text's own
 * @typedef {{text: string} & Style} Run text of one style
 */

// An OSC sequence, a CSI sequence, a move of the cursor, text, and a stray escape.
const TOKEN =
  // eslint-disable-next-line no-control-regex
  /\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[(?<codes>[0-?]*)[ -/]*(?<final>[@-~])|(?<move>[\n\r\b])|(?<text>[^\x1b\n\r\b]+)|\x1b/g;
const CONTROLS = /[^\P{Cc}\t]/gu;
const FARTHEST = 10_000; // columns, or lines, that an escape can move the cursor by

// Of a middle lightness, so that they read on light and on dark pages. Black and white are the text's own colour.
const HUES = [
  ["", "#d9534f", "#2f9e4f", "#c08a00", "#3b82d6", "#b35cb3", "#1f9d9d", ""],
  ["", "#ff5f5f", "#35b65b", "#cf9a00", "#5b9dff", "#cf74cf", "#20b2b2", ""],
];
/** @type {Style} */
const PLAIN = { bold: false, colour: "" };
const GREY = "color-mix(in srgb, currentColor 72%, transparent)"; // "bright black"
// At most 38 % of any colour, black and white included, leave a contrast of 4.5 on light and on dark pages.
const mixed = (/** @type {string} */ hue, share = 38) => `color-mix(in srgb, ${hue} ${share}%, currentColor)`;

/**
 * The colour of a number from 0 to 15, as CSS.
 *
 * @param {number} number
 */
function namedColour(number) {
  if (number === 8) return GREY;
  const hue = HUES[number >> 3][number & 7];
  return hue && mixed(hue, 65);
}

/**
 * A colour by its parts from 0 to 255, as CSS.
 *
 * @param {number[]} parts red, green, blue
 */
const exactColour = (parts) => mixed(`#${parts.map((part) => part.toString(16).padStart(2, "0")).join("")}`);

/**
 * The colour of a number from 0 to 255, as CSS.
 *
 * @param {number} number
 */
function indexedColour(number) {
  if (number < 16) return namedColour(number);
  if (number >= 232) return exactColour(Array(3).fill(8 + 10 * (number - 232)));
  const cube = number - 16;
  const level = (/** @type {number} */ step) => (step ? 55 + 40 * step : 0);
  return exactColour([Math.floor(cube / 36), Math.floor(cube / 6) % 6, cube % 6].map(level));
}

/**
 * The style that follows on another.
 *
 * @param {string} codes of an SGR sequence, between `[` and `m`
 * @param {Style} before
 * @returns {Style}
 */
function restyled(codes, before) {
  let { bold, colour } = before;
  const queue = codes.split(";").map((code) => (code.length > 3 ? -1 : Number(code)));
  while (queue.length) {
    const code = queue.shift() ?? 0;
    if (code === 0) [bold, colour] = [false, ""];
    else if (code === 1) bold = true;
    else if (code === 22) bold = false;
    else if (code === 39) colour = "";
    else if (code >= 30 && code <= 37) colour = namedColour(code - 30);
    else if (code >= 90 && code <= 97) colour = namedColour(code - 82);
    else if (code === 38 || code === 48 || code === 58) {
      // Of the text, behind it, of its underline: the last two are not shown, but their parts are no codes.
      const kind = queue.shift();
      const parts = queue.splice(0, kind === 5 ? 1 : 3);
      const known = parts.length === (kind === 5 ? 1 : 3) && parts.every((part) => part >= 0 && part <= 255);
      if (code === 38 && known && kind === 5) colour = indexedColour(parts[0]);
      if (code === 38 && known && kind === 2) colour = exactColour(parts);
    }
  }
  return { bold, colour };
}

/**
 * The runs of a line from one column to another.
 *
 * @param {Run[]} line
 * @param {number} start
 * @param {number} [end]
 */
function cut(line, start, end = Infinity) {
  /** @type {Run[]} */
  const found = [];
  let column = 0;
  for (const run of line) {
    const text = sliced(run.text, Math.max(0, start - column), Math.max(0, end - column));
    column += lengthOf(run.text);
    if (text) found.push({ ...run, text });
  }
  return found;
}

/** Lines, and a cursor among them: text is written over what is there. */
function makeScreen() {
  /** @type {Run[][]} */
  let lines = [[]];
  let [row, column] = [0, 0];
  let style = PLAIN;
  /** @type {Run | null} */
  let open = null; // what text of this style continues

  /** @param {string} text */
  function write(text) {
    const line = lines[row];
    const [length, added] = [line.reduce((sum, run) => sum + lengthOf(run.text), 0), lengthOf(text)];
    if (column > length) line.push({ text: " ".repeat(column - length), ...PLAIN });
    if (column < length) lines[row] = [...cut(line, 0, column), { text, ...style }, ...cut(line, column + added)];
    else if (open && column === length && line.at(-1) === open) open.text += text;
    else line.push((open = { text, ...style }));
    column += added;
  }

  /** @param {string} which what is erased of the line: behind the cursor (0), in front of it (1), or both (2) */
  function eraseInLine(which) {
    const line = lines[row];
    if (which === "" || which === "0") lines[row] = cut(line, 0, column);
    else if (which === "1") lines[row] = [{ text: " ".repeat(column + 1), ...PLAIN }, ...cut(line, column + 1)];
    else lines[row] = [];
  }

  /** @type {Record<string, (count: number, codes: string) => void>} */
  const acts = {
    "\n": () => {
      [row, column] = [row + 1, 0];
      if (row === lines.length) lines.push([]);
    },
    "\r": () => (column = 0),
    "\b": () => (column = Math.max(0, column - 1)),
    A: (count) => (row = Math.max(0, row - count)),
    B: (count) => (row = Math.min(lines.length - 1, row + count)),
    C: (count) => (column = Math.min(FARTHEST, column + count)),
    D: (count) => (column = Math.max(0, column - count)),
    G: (count) => (column = count - 1),
    H: (_, codes) => {
      if (codes === "" || codes === "1;1") [row, column] = [0, 0];
    },
    J: (_, codes) => {
      if (codes === "" || codes === "0") {
        eraseInLine("");
        lines.length = row + 1;
      } else if (codes === "2" || codes === "3") [lines, row] = [[[]], 0];
    },
    K: (_, codes) => eraseInLine(codes),
  };
  acts.f = acts.H;

  return {
    write,
    /** @param {string} codes of an SGR sequence */
    restyle(codes) {
      if (/[^\d;]/.test(codes)) return;
      [style, open] = [restyled(codes, style), null];
    },
    /**
     * @param {string} name a control character, or the last character of a CSI sequence
     * @param {string} codes its parameters
     */
    act(name, codes = "") {
      open = null;
      const [first] = codes.split(";");
      if (!/\D/.test(first)) acts[name]?.(Math.min(FARTHEST, Number(first)) || 1, codes);
    },
    lines() {
      while (lines.length > 1 && !lines[lines.length - 1].length) lines.pop();
      return lines;
    },
  };
}

/**
 * The lines of a text as a terminal leaves them, each as runs of one style. terminal_screen.py does the same.
 *
 * @param {string} text
 * @returns {Run[][]}
 */
export function terminalLines(text) {
  const screen = makeScreen();
  for (const { groups = {} } of text.trimEnd().matchAll(TOKEN)) {
    if (groups.text) screen.write(groups.text.replace(CONTROLS, ""));
    else if (groups.move) screen.act(groups.move);
    else if (groups.final === "m") screen.restyle(groups.codes);
    else if (groups.final) screen.act(groups.final, groups.codes);
  }
  return screen.lines();
}

/**
 * @param {Run} run
 * @returns {string | HTMLElement}
 */
function drawn({ text, bold, colour }) {
  if (!bold && !colour) return text;
  const span = h("span", bold ? "scaler-bold" : "", text);
  span.style.color = colour;
  return span;
}

/**
 * Show lines in an element, in place of what is there.
 *
 * @param {Element} node
 * @param {Run[][]} lines
 */
export function fill(node, lines) {
  node.replaceChildren();
  lines.forEach((runs, i) => node.append(i ? "\n" : "", ...runs.map(drawn)));
}

/**
 * What a text with escapes says.
 *
 * @param {string} text
 */
export const plainText = (text) =>
  terminalLines(text).map((runs) => runs.map((run) => run.text).join("")).join("\n");
