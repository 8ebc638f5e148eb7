/* Notices: the end of what a view shows is told where nobody looks at it, and a chip says what runs out of sight. */

import { button, h, keepKeys, setText } from "../dom.js";
import { whenKernelEnds } from "../kernel_end.js";
import { coverPlaces } from "../page/cover.js";
import { permission, tell } from "../page/notify.js";
import { homeOf, revealElement, seesElement } from "../page/places.js";
import { amount } from "../quantities.js";

/** @import { NoticesMessage, ViewContext, Widget } from "../messages.js" */

const PANEL = ".jp-NotebookPanel";
const LOOK_MS = 500; // between two looks whether what runs is in sight

/** @typedef {ReturnType<typeof makeState>} State */

function makeState() {
  return {
    seq: -Infinity,
    after: 0,
    running: 0,
    places: /** @type {string[]} */ ([]),
    views: /** @type {Set<() => void>} */ (new Set()),
  };
}

/** @param {State} state */
function makeChip(state) {
  const chip = button("scaler-away", "Show what runs");
  chip.hidden = true;
  /** Where the page has the views of what runs, as far as it has them: a cell that is run again drops its own. */
  const findHomes = () => state.places.map(homeOf).filter((home) => home !== null);
  chip.onclick = () => revealElement(findHomes()[0] ?? null);
  keepKeys(chip);
  document.body.append(chip);
  /** @type {Element | null} */
  let panel = null; // of the notebook, while one of its views is in the document
  const look = () => {
    const homes = findHomes();
    panel = homes.map((home) => home.closest(PANEL)).find(Boolean) ?? panel;
    const away = homes.length > 0 && !homes.some(seesElement) && !panel?.classList.contains("lm-mod-hidden");
    chip.hidden = !state.running || !away;
    setText(chip, `${amount(state.running)} running`);
  };
  const timer = setInterval(look, LOOK_MS);
  return {
    look,
    end() {
      clearInterval(timer);
      chip.remove();
    },
  };
}

/**
 * @param {State} state
 * @param {HTMLElement} el
 * @param {() => void} [shown] called when there is something to see
 */
function render(state, el, shown = () => {}) {
  const words = h("span", "scaler-words");
  const allow = button("scaler-allow", "Ask the browser");
  allow.textContent = "Allow notifications";
  const root = h("div", "scaler-notices", words, allow);
  keepKeys(root);
  const paint = () => {
    const told = permission() === "granted" ? "by a notification, and in the title" : "in the title";
    const off = "no notices: %scaler config notify=60 turns them on";
    setText(words, state.after ? `what ends after ${state.after} s or longer is told ${told} of this page` : off);
    allow.hidden = !state.after || permission() !== "default";
  };
  allow.onclick = () => Notification.requestPermission().then(paint);
  paint();
  el.append(root);
  shown();
  state.views.add(paint);
  return () => {
    state.views.delete(paint);
    root.remove();
  };
}

/** @returns {Widget} */
export default () => {
  const state = makeState();
  return {
    initialize({ model }) {
      const view = Math.random().toString(36).slice(2);
      const chip = makeChip(state);
      const onMessage = (/** @type {unknown} */ received) => {
        const message = /** @type {NoticesMessage | null} */ (received);
        if (message?.type !== "notices" || message.seq <= state.seq) return;
        const { seq, after, running, places } = message;
        Object.assign(state, { seq, after, running, places });
        for (const { title, words, place } of message.ended) tell(title, words, () => homeOf(place), message.sound);
        for (const paint of state.views) paint();
        chip.look();
      };
      const stopListening = whenKernelEnds(model, () => {
        state.running = 0;
        chip.look();
      });
      model.on("msg:custom", onMessage);
      model.send({ type: "ready", view });
      const uncover = coverPlaces(model, (el, shown) => render(state, el, shown));
      return () => {
        uncover();
        chip.end();
        stopListening();
        model.off("msg:custom", onMessage);
      };
    },
    render: (/** @type {ViewContext} */ { el }) => render(state, el),
  };
};
