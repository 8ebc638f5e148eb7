/* The way from a view to a cell of its notebook: the one that was run as In[12], and a line of it. */

import { h } from "../dom.js";

const PLACE = /In\[(\d+)\], line (\d+)/;
const NOTEBOOK = ".jp-Notebook"; // of JupyterLab and Notebook 7
const CELL = ".jp-Cell, .cell"; // theirs; and of others that keep the classic names
const PROMPT = ".jp-InputPrompt, .prompt_number";
const PANE = ".jp-WindowedPanel-outer"; // what scrolls in a notebook
const MAX_STEPS = 200; // by which a notebook is looked through, each a screen
const MARKED_MS = 1500;

/**
 * A text whose place in the notebook, if it names one, is a link.
 *
 * @param {string} text
 * @param {Element} view where the link is shown
 * @returns {(string | HTMLElement)[]}
 */
export function withLink(text, view) {
  const found = PLACE.exec(text);
  if (!found || !view.closest(NOTEBOOK)) return [text];
  const [place, number, line] = found;
  const link = Object.assign(h("button", "scaler-to-cell", place), {
    type: /** @type {const} */ ("button"),
    title: "Go to that cell",
  });
  link.onclick = async () => {
    const shown = await revealCell(link, Number(number), Number(line));
    if (!shown) link.title = `No cell of this notebook is In[${number}] any more: it was run again, or deleted`;
    link.disabled = !shown;
  };
  return [text.slice(0, found.index), link, text.slice(found.index + place.length)];
}

/**
 * Scroll to the cell that was run as this number, in the notebook that a view is in; is it there?
 *
 * @param {Element} from any element of the view
 * @param {number} number
 * @param {number} line of the cell; 0 for all of it
 */
export async function revealCell(from, number, line = 0) {
  const notebook = from.closest(NOTEBOOK);
  const cell = findCell(notebook ?? document, number) ?? (notebook && (await lookThrough(notebook, number)));
  if (!cell) return false;
  const lines = [...cell.querySelectorAll(".cm-line")];
  const first = Math.max(0, lines.findIndex((each) => each.textContent?.trim())); // IPython drops empty lines before it
  const target = (line && lines[first + line - 1]) || cell;
  target.scrollIntoView({ block: "center" });
  target.animate({ backgroundColor: ["color-mix(in srgb, currentColor 30%, transparent)", "transparent"] }, MARKED_MS);
  return true;
}

/**
 * @param {ParentNode} within
 * @param {number} number
 */
function findCell(within, number) {
  const prompts = [...within.querySelectorAll(PROMPT)];
  return prompts.find((prompt) => prompt.textContent?.trim() === `[${number}]:`)?.closest(CELL) ?? null;
}

/**
 * JupyterLab takes cells out of the document while they are scrolled out of sight.
 *
 * @param {Element} notebook
 * @param {number} number
 */
async function lookThrough(notebook, number) {
  const pane = notebook.querySelector(PANE) ?? notebook.closest(PANE);
  if (!pane) return null;
  const before = pane.scrollTop;
  pane.scrollTop = 0;
  for (let step = 0; step < MAX_STEPS; step++) {
    await new Promise(requestAnimationFrame);
    await new Promise(requestAnimationFrame); // one for the notebook to see it, and one for it to draw
    const cell = findCell(notebook, number);
    if (cell) return cell;
    const top = pane.scrollTop;
    pane.scrollTop += pane.clientHeight;
    if (pane.scrollTop === top) break;
  }
  pane.scrollTop = before;
  return null;
}
