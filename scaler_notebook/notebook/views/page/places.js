/* The places of our views in the page: where each is, whether somebody sees it, and the way there. */

const INDEX = "data-windowed-list-index"; // of a cell, in JupyterLab
const PANE = ".jp-WindowedPanel-outer"; // what scrolls in a notebook
const STEPS = 500; // of most of the window's height each

/**
 * By name, what gives the element that a view covers, for all our modules of this page.
 *
 * @returns {Map<string, () => Element | null>}
 */
export function knownPlaces() {
  const global = /** @type {Record<symbol, Map<string, () => Element | null>>} */ (/** @type {any} */ (globalThis));
  return (global[Symbol.for("scaler_notebook.places")] ??= new Map());
}

/**
 * Where the page has a view, in the document or taken out of it; null if nowhere.
 *
 * @param {string} place
 */
export function homeOf(place) {
  return document.getElementsByClassName(`scaler-place-${place}`)[0] ?? knownPlaces().get(place)?.() ?? null;
}

/**
 * Is some of a view within the window, and in front?
 *
 * @param {Element | null} home
 */
export function seesElement(home) {
  if (!home?.isConnected) return false;
  const { top, bottom, left, right } = home.getBoundingClientRect();
  const middle = document.elementFromPoint((left + right) / 2, Math.min(Math.max(top, 1) + 4, bottom - 1));
  return bottom > 0 && top < window.innerHeight && right > left && middle !== null && home.contains(middle);
}

/**
 * Scroll to a view. JupyterLab takes what is far away out of the document, and brings it back as one scrolls there.
 *
 * @param {Element | null} home
 */
export function revealElement(home) {
  const wanted = Number(home?.closest(`[${INDEX}]`)?.getAttribute(INDEX));
  const outer = [...document.querySelectorAll(PANE)].find((each) => each.clientHeight > 0);
  let left = STEPS;
  function step() {
    if (home?.isConnected) return home.scrollIntoView({ block: "center" });
    const shown = [...(outer?.querySelectorAll(`[${INDEX}]`) ?? [])].map((node) => Number(node.getAttribute(INDEX)));
    if (!home || !outer || !shown.length || !left--) return;
    outer.scrollTop += (wanted < Math.min(...shown) ? -0.8 : 0.8) * outer.clientHeight;
    requestAnimationFrame(step);
  }
  step();
}
