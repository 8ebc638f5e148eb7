/* The pane of a board: the card of the task that is open, with its messages. Continues board_graph.js. */

/**
 * The card is card.js's, which is told what its own kernel side would tell it.
 * `act.cancel(numbers, force)`, `act.retry(numbers)` and `act.close()` are what its buttons do.
 */
function makePane(store, act) {
  const { rows, look } = store;
  const node = h("div", "scaler-pane");
  let card = null;

  function makeCard(number) {
    const face = { number, hear: null, seen: "", told: 0 };
    const fake = {
      on: (_, hear) => (face.hear = hear),
      off: () => (face.hear = null),
      send: ({ type, force }) => {
        if (type === "cancel") act.cancel([number], force);
        if (type === "retry") act.retry([number]);
      },
    };
    const place = h("div", "scaler-opened-card");
    const dismiss = Object.assign(h("button", "scaler-close", "×"), { type: "button", title: "Close", onclick: act.close });
    dismiss.setAttribute("aria-label", "close the details");
    face.trace = h("pre", "scaler-block");
    face.messages = h("details", "scaler-messages", h("summary", "", "messages"), face.trace);
    face.gone = h("div", "scaler-gone");
    face.end = render({ model: fake, el: place });
    node.append(dismiss, place, face.gone, face.messages);
    place.querySelector(".scaler-earlier").open = true;
    return face;
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
    const detail = store.details.get(look.open);
    const [kind, flags] = [rows.kind[look.open], rows.flags[look.open]];
    const retry = (kind === FAILED || kind === CANCELLED) && !(flags & RETRIED);
    if (!detail || card.seen === `${detail.seq} ${retry}`) return;
    card.seen = `${detail.seq} ${retry}`;
    const text = "Nothing holds this future any more: its output and its result are gone.";
    setText(card.gone, detail.row ? "" : `${textOf(rows, "call", look.open)}: ${wordOf(rows.kind[look.open])}. ${text}`);
    node.classList.toggle("scaler-is-gone", !detail.row);
    const { row, now } = detail;
    if (row) card.hear?.({ type: "row", seq: ++card.told, now, row, retry, note: null });
    setText(card.trace, detail.trace);
  }

  return { node, paint, end: () => card?.end() };
}
