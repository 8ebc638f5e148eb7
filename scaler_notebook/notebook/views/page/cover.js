/* Live views over the static forms of their displays, wherever the page has put those.

   The output of a cell is the static form alone: a notebook that is saved holds nothing that needs its kernel. */

import { h } from "../dom.js";
import { whenKernelEnds } from "../kernel_end.js";
import { watchGestures } from "./gestures.js";
import { knownPlaces } from "./places.js";

/**
 * @import { Channel, Traits } from "../messages.js"
 *
 * @typedef {(el: HTMLElement, shown: () => void) => () => void} Draw draws a view that says when there is something to
 *   see; gives how to take it down
 * @typedef {ReturnType<typeof makeCover>} Cover
 * @typedef {ReturnType<typeof makeView>} View
 */

const PLACE = "scaler-place"; // as in live_display.py
const AREA = ".jp-OutputArea";
const CELL = ".jp-Cell"; // JupyterLab takes a cell out of the document while it is scrolled out of sight
const FOLLOWING = Node.DOCUMENT_POSITION_FOLLOWING;
const LINGER_MS = 1000; // until a view whose place has gone is taken down

/** @type {Map<string, Cover>} by the name of the place */
const covers = new Map();
const observer = new MutationObserver(onChange);

/** @param {Element} node */
const placesIn = (node) => (node.classList.contains(PLACE) ? [node] : [...node.getElementsByClassName(PLACE)]);

/** @param {MutationRecord[]} records */
function onChange(records) {
  for (const { addedNodes } of records)
    for (const node of addedNodes) {
      if (!(node instanceof Element)) continue;
      for (const home of placesIn(node)) for (const name of home.classList) covers.get(name)?.take(home);
    }
  for (const cover of covers.values()) cover.leaveWhatHasGone();
}

/**
 * Draw a live view over each static form of a model's display, now and later; gives how to end. A display of a layout
 * has no static form.
 *
 * @param {Channel & Traits} model
 * @param {Draw} draw
 */
export function coverPlaces(model, draw) {
  const place = model.get("_place");
  if (!place) return () => {};
  const [name, cover] = [`${PLACE}-${place}`, makeCover(draw)];
  covers.get(name)?.end(); // of a notebook that was closed, and is opened again in the same page
  if (!covers.size) observer.observe(document.body, { childList: true, subtree: true });
  covers.set(name, cover);
  knownPlaces().set(place, cover.home);
  function forget() {
    if (covers.get(name) === cover) {
      covers.delete(name);
      knownPlaces().delete(place);
    }
    if (!covers.size) observer.disconnect();
  }
  for (const home of document.getElementsByClassName(name)) cover.take(home);
  let lost = false;
  const stopListening = whenKernelEnds(model, () => {
    lost = true;
  });
  return () => {
    stopListening();
    if (lost) return cover.endWithItsViews(forget); // what they say of the end is more than the static form knows
    forget();
    return cover.end();
  };
}

/** @param {Draw} draw */
function makeCover(draw) {
  /** @type {Set<View>} */
  const views = new Set();
  /** @type {(() => void) | null} */
  let forget = null; // once the model is gone

  /** @param {View} view */
  function drop(view) {
    views.delete(view);
    view.end();
    if (!views.size) forget?.();
  }

  return {
    home: () => [...views][0]?.home() ?? null,
    /** @param {Element} home */
    take(home) {
      for (const view of views) if (view.home() === home) return;
      for (const view of views) if (view.isFree()) return view.moveTo(home); // its static form was replaced
      for (const view of views) if (view.sharesOutput(home)) return view.moveToLater(home);
      if (!forget) views.add(makeView(home, draw));
    },
    leaveWhatHasGone() {
      for (const view of views) if (view.isFree()) view.leaveSoon(() => drop(view));
    },
    /** @param {() => void} then called when no view is left in the page */
    endWithItsViews(then) {
      forget = then;
      if (!views.size) then();
    },
    end() {
      for (const view of views) drop(view);
    },
  };
}

/**
 * A live view that takes the place of a static form once it has something to show, and gives the place back. It moves
 * to another place as it is: what is unfolded there stays so, and what somebody is about there goes on.
 *
 * @param {Element} first
 * @param {Draw} draw
 */
function makeView(first, draw) {
  const el = h("div", "scaler-cover");
  let [home, below, seen, leaving] = [first, [...first.childNodes], false, 0];
  const gestures = watchGestures(el);
  const undraw = draw(el, () => {
    if (!seen) home.replaceChildren(el);
    seen = true;
  });

  const isFree = () => !home.isConnected && !home.closest(CELL);

  /** @param {Element} other */
  function moveTo(other) {
    home = other;
    below = [...home.childNodes];
    if (!seen) return;
    home.replaceChildren(el);
    gestures.resume();
  }

  return {
    home: () => home,
    isFree,
    moveTo,
    /**
     * Is another place in the output of the same cell? jupyter-server-documents appends what is to replace a display.
     *
     * @param {Element} other
     */
    sharesOutput(other) {
      const area = home.closest(AREA);
      return !!area && area === other.closest(AREA);
    },
    /** @param {Element} other of it and the present place, the later one has the view; the earlier one is hidden */
    moveToLater(other) {
      const isLater = !!(home.compareDocumentPosition(other) & FOLLOWING);
      (isLater ? home : other).setAttribute("hidden", "");
      if (isLater) moveTo(other);
    },
    /** @param {() => void} leave */
    leaveSoon(leave) {
      leaving ||= window.setTimeout(() => {
        leaving = 0;
        if (isFree()) leave();
      }, LINGER_MS);
    },
    end() {
      clearTimeout(leaving);
      undraw();
      gestures.end();
      if (seen) home.replaceChildren(...below);
    },
  };
}
