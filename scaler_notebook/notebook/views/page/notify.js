/* A word to who looks elsewhere: in the title of the page, by the browser's notification, and by a sound. */

import { revealElement, seesElement } from "./places.js";

const [TONE_HZ, TONE_S, LOUDNESS] = [660, 0.25, 0.08];
const CLOSED_MS = 2000; // after a tone was begun

/**
 * What all copies of this module share in a page: the `title` that the page gave itself last, the one that was `told`,
 * and the `observer` of the title, null while nothing is told.
 *
 * @type {Record<symbol, {title: string, told: string, observer: MutationObserver | null}>}
 */
const global = /** @type {any} */ (globalThis);
const page = (global[Symbol.for("scaler_notebook.title")] ??= { title: "", told: "", observer: null });

export const permission = () => (typeof Notification === "undefined" ? "denied" : Notification.permission);

/** A short tone; a page that nobody has clicked yet makes none, not even later. */
function sound() {
  const context = new AudioContext();
  const tone = new OscillatorNode(context, { frequency: TONE_HZ });
  tone.connect(new GainNode(context, { gain: LOUDNESS })).connect(context.destination);
  tone.start();
  tone.stop(context.currentTime + TONE_S);
  setTimeout(() => context.close(), CLOSED_MS); // at the end of a tone that did not begin nobody is told
}

/**
 * Have the page's title tell of an end until the page has the focus, whatever title the page gives itself meanwhile.
 *
 * @param {string} told
 */
function tellByTitle(told) {
  if (!page.observer) {
    page.title = document.title;
    page.observer = new MutationObserver(tellAgain);
    page.observer.observe(document.head, { childList: true, characterData: true, subtree: true });
    window.addEventListener("focus", giveTitleBack, { once: true });
  }
  document.title = told;
  page.told = document.title; // without double blanks: compared with what was asked for, those would never be there
}

/** Put the word back into a title that the page has given itself, which is kept for later. */
function tellAgain() {
  if (document.title === page.told) return;
  page.title = document.title;
  document.title = page.told;
}

/** Stop telling: the page has the title again that it gave itself last. */
function giveTitleBack() {
  page.observer?.disconnect();
  page.observer = null;
  document.title = page.title;
}

/**
 * Tell of an end, unless somebody sees the view just now; a click on the notification leads to it.
 *
 * @param {string} title
 * @param {string} words how it ended
 * @param {() => Element | null} home gives where the view is
 * @param {boolean} [audible]
 */
export function tell(title, words, home, audible = false) {
  if (document.hasFocus() && seesElement(home())) return;
  if (!document.hasFocus()) {
    tellByTitle(`${/\b(failed|lost|cancelled)$/.test(words) && !/done/.test(words) ? "✗" : "✓"} ${words}`);
  }
  if (permission() === "granted") {
    const shown = new Notification(title, { body: words, tag: title });
    shown.onclick = () => {
      window.focus();
      revealElement(home());
      shown.close();
    };
  }
  if (audible) sound();
}
