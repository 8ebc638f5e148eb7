/* Text with the escapes of a terminal: its lines, its colours. terminal_style.py knows the same colours. */

import { h } from "./dom.js";

/**
 * @typedef {{bold: boolean, colour: string}} Style `colour` is CSS, or "" for the text's own
 * @typedef {{text: string} & Style} Run text of one style
 */

// eslint-disable-next-line no-control-regex
const SGR = /\x1b\[([0-9;]*)m/;
// OSC sequences, then CSI sequences other than SGR, then stray escapes and control characters.
const NOISE =
  // eslint-disable-next-line no-control-regex
  /\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[(?![\d;]*m)[0-?]*[ -/]*[@-~]|\x1b(?!\[[\d;]*m)|[^\P{Cc}\t\x1b]/gu;

// Of a middle lightness, so that they read on light and on dark pages. Black and white are the text's own colour.
const HUES = [
  ["", "#d9534f", "#2f9e4f", "#c08a00", "#3b82d6", "#b35cb3", "#1f9d9d", ""],
  ["", "#ff5f5f", "#35b65b", "#cf9a00", "#5b9dff", "#cf74cf", "#20b2b2", ""],
];
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
 * What a terminal would show of a line that carriage returns painted over.
 *
 * @param {string} line
 */
const overwritten = (line) => line.replace(/\r+$/, "").split("\r").pop() ?? "";

/**
 * The lines of a text as a terminal leaves them, each as runs of one style.
 *
 * @param {string} text
 * @returns {Run[][]}
 */
export function terminalLines(text) {
  /** @type {Style} */
  let style = { bold: false, colour: "" };
  return text.trimEnd().split("\n").map((line) => {
    /** @type {Run[]} */
    const runs = [];
    overwritten(line).replace(NOISE, "").split(SGR).forEach((part, i) => {
      if (i % 2) style = restyled(part, style);
      else if (part) runs.push({ text: part, ...style });
    });
    return runs;
  });
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
