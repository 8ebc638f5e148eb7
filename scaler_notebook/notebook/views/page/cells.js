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
  if (!found || !isInNotebook(view)) return [text];
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
 * Is a view in a notebook? JupyterLab takes cells out of the document while they are scrolled out of sight.
 *
 * @param {Element} view
 */
const isInNotebook = (view) => Boolean(view.closest(NOTEBOOK) || (!view.isConnected && view.closest(CELL)));

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
  cell.scrollIntoView({ block: "center" }); // an editor far away is not drawn
  const target = (line > 0 && (await revealLine(cell, line))) || cell;
  target.animate({ backgroundColor: ["color-mix(in srgb, currentColor 30%, transparent)", "transparent"] }, MARKED_MS);
  return true;
}

/**
 * Scroll to a line of a cell; gives what shows it, or null if nobody can tell. CodeMirror draws those lines alone that
 * are near the window: which they are, only the editor knows.
 *
 * @param {Element} cell
 * @param {number} line as IPython counts, which drops empty lines before the code
 */
async function revealLine(cell, line) {
  await drawn();
  const content = cell.querySelector(".cm-content");
  const first = (/** @type {string[]} */ texts) => Math.max(0, texts.findIndex((text) => text.trim()));
  const editor = content && editorOf(content);
  if (!editor) {
    const lines = [...cell.querySelectorAll(".cm-line")];
    if (cell.querySelector(".cm-gap")) return null; // of lines that are not drawn
    const shown = lines[first(lines.map((each) => each.textContent ?? "")) + line - 1] ?? null;
    shown?.scrollIntoView({ block: "center" });
    return shown;
  }
  const { doc } = editor.state;
  const number = first(doc.toString().split("\n")) + line;
  if (number > doc.lines) return null;
  const { from } = doc.line(number);
  editor.dispatch({ effects: editor.constructor.scrollIntoView(from, { y: "center" }) });
  await drawn();
  const { node } = editor.domAtPos(from);
  const shown = node instanceof Element ? node : node.parentElement;
  return shown?.closest(".cm-line") ?? null;
}

/**
 * The editor that has drawn an element, as CodeMirror's own `EditorView.findFromDOM` finds it.
 *
 * @param {any} content
 */
const editorOf = (content) => content.cmTile?.root?.view ?? content.cmView?.view;

/** One frame for the notebook to see that it was scrolled, and one for it to draw. */
async function drawn() {
  for (let frame = 0; frame < 2; frame++) await new Promise(requestAnimationFrame);
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
 * Look for a cell among those that are out of the document, too: each screen of the notebook is scrolled to.
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
    await drawn();
    const cell = findCell(notebook, number);
    if (cell) return cell;
    const top = pane.scrollTop;
    pane.scrollTop += pane.clientHeight;
    if (pane.scrollTop === top) break;
  }
  pane.scrollTop = before;
  return null;
}
