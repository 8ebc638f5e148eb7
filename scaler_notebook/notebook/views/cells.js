/* The notebook's own cells, as far as a page has them. */

const CELL = ".jp-Cell, .cell"; // of JupyterLab and Notebook 7; of others that keep the classic names
const PROMPT = ".jp-InputPrompt, .prompt_number";

/**
 * Scroll to the cell that was run as this number, in the notebook that a view is in. A cell that the page does not
 * have (JupyterLab takes out what is far away, others have views in a frame of their own) stays where it is.
 *
 * @param {Element} from any element of the view
 * @param {number} number
 */
export function revealCell(from, number) {
  const notebook = from.closest(".jp-Notebook") ?? document;
  for (const prompt of notebook.querySelectorAll(PROMPT)) {
    if (prompt.textContent?.trim() !== `[${number}]:`) continue;
    prompt.closest(CELL)?.scrollIntoView({ block: "center", behavior: "smooth" });
    return true;
  }
  return false;
}
