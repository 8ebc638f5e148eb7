/* The pane of a board: the card of the task that is open, with its messages. */

import { render } from "../card/card.js";
import { h, setText } from "../dom.js";
import { retriable, textOf, wordOf } from "./store/board_rows.js";

/**
 * @import { AnsweredMessage, AskForRowsOutput, Channel, LostMessage, OutputMessage, RowMessage } from "../messages.js"
 * @import { Store } from "./store/board_store.js"
 *
 * @typedef {object} PaneActions what its buttons do
 * @property {(numbers: number[], force: boolean) => void} cancel
 * @property {(numbers: number[]) => void} retry
 * @property {() => void} close
 * @property {(request: AskForRowsOutput) => void} askForOutput
 */

const GONE = "Nothing holds this future any more: its output and its result are gone.";

/**
 * The card is card.js's, which is told what its own kernel side would tell it.
 *
 * @param {Store} store
 * @param {PaneActions} act
 */
export function makePane(store, act) {
  const { rows, look } = store;
  const node = h("div", "scaler-pane");
  /** @type {ReturnType<typeof makeCard> | null} */
  let card = null;

  /** @param {number} number */
  function makeCard(number) {
    /** @typedef {RowMessage | AnsweredMessage | LostMessage | OutputMessage} Told */
    /** @type {((message: Told) => void) | null} */
    let hear = null;
    /** @type {Channel} */
    const channel = {
      on: (_, callback) => (hear = callback),
      off: () => (hear = null),
      send: (request) => {
        made.asks ||= request.type === "cancel" || request.type === "retry";
        if (request.type === "cancel") act.cancel([number], request.force);
        if (request.type === "retry") act.retry([number]);
        if (request.type === "output") act.askForOutput({ ...request, row: number });
      },
    };
    const place = h("div", "scaler-opened-card");
    const dismiss = Object.assign(h("button", "scaler-close", "×"), {
      type: /** @type {const} */ ("button"),
      title: "Close",
      onclick: act.close,
    });
    dismiss.setAttribute("aria-label", "close the details");
    const trace = h("pre", "scaler-block");
    const messages = h("details", "scaler-messages", h("summary", "", "messages"), trace);
    const gone = h("div", "scaler-gone");
    const tell = (/** @type {Told} */ message) => hear?.(message);
    const made = { number, trace, gone, tell, end: () => {}, seen: "", told: 0, asks: false };
    made.end = render({ model: channel, el: place });
    node.append(dismiss, place, gone, messages);
    place.querySelector(".scaler-earlier")?.setAttribute("open", "");
    return made;
  }

  function paint() {
    if (card && card.number !== look.open) {
      card.end();
      node.replaceChildren();
      card = null;
    }
    node.hidden = look.open === null;
    if (look.open === null) return;
    card ??= makeCard(look.open);
    if (card.asks && !store.asked) {
      card.asks = false;
      card.tell({ type: "answered" });
    }
    const detail = store.details.get(look.open);
    const kind = rows.kind[look.open];
    const retry = retriable(kind) && !store.lost;
    const known = `${detail?.seq} ${retry} ${store.lost}`;
    if (card.seen === known || !(detail || store.lost)) return;
    card.seen = known;
    const there = Boolean(detail?.row) || !detail;
    setText(card.gone, there ? "" : `${textOf(rows, "call", look.open)}: ${wordOf(kind)}. ${GONE}`);
    node.classList.toggle("scaler-is-gone", !there);
    if (detail?.row) {
      const { now, row } = detail;
      card.tell({ type: "row", seq: ++card.told, now, row, retry, note: null, keeps_output: true });
    }
    if (store.lost) card.tell({ type: "lost" });
    setText(card.trace, detail?.trace ?? "");
  }

  const hearOutput = (/** @type {OutputMessage} */ message) => card?.tell(message);
  store.panes.add(hearOutput);

  function leave() {
    store.panes.delete(hearOutput);
    card?.end();
  }

  return { node, paint, end: leave };
}
