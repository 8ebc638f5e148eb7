/* What a task displays, and its result, as HTML that grows while the task goes on. */

/**
 * Have an element show what a text of HTML says; gives how. What is the same as before is not touched: it stays
 * scrolled and selected as it is, and as what the page has made of it.
 *
 * @param {HTMLElement} node
 */
export function makeRich(node) {
  const apart = document.implementation.createHTMLDocument(); // there, nothing is fetched, and nothing runs
  let [html, known] = ["", apart.createElement("div")];

  return (/** @type {string} */ now) => {
    if (now === html) return;
    const next = apart.createElement("div");
    next.innerHTML = now;
    update(node, known, next);
    [html, known] = [now, next];
  };
}

/**
 * Change an element by what differs between two sources of it.
 *
 * @param {Element} shown
 * @param {Element} before what the element was made of
 * @param {Element} now
 */
function update(shown, before, now) {
  const [nodes, olds, news] = [shown, before, now].map((each) => [...each.childNodes]);
  // What the page itself has taken apart, as MathJax does, is made anew.
  const kept = nodes.length === olds.length ? Math.min(olds.length, news.length) : 0;
  for (let i = 0; i < kept; i++) {
    const [node, old, next] = [nodes[i], olds[i], news[i]];
    if (old.isEqualNode(next)) continue;
    if (node instanceof Text && old instanceof Text && next instanceof Text && next.data.startsWith(old.data))
      node.appendData(next.data.slice(old.length));
    else if (node instanceof Element && old instanceof Element && next instanceof Element && isAlike(old, next))
      update(node, old, next);
    else node.replaceWith(document.importNode(next, true));
  }
  for (const node of nodes.slice(kept)) node.remove();
  shown.append(...news.slice(kept).map((next) => document.importNode(next, true)));
}

/**
 * Do two elements differ in what they contain alone?
 *
 * @param {Element} one
 * @param {Element} other
 */
const isAlike = (one, other) => one.cloneNode().isEqualNode(other.cloneNode());
