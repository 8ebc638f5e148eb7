/* The errors of a board: what has failed, counted by what the errors say; a click shows one kind alone. */

import { h, setChildren, setRole, setText } from "../../dom.js";
import { amount } from "../../quantities.js";
import { FAILED, LOST, gistOf } from "../store/board_rows.js";

/**
 * @import { Only } from "../store/board_order.js"
 * @import { Rows } from "../store/board_rows.js"
 * @import { Store } from "../store/board_store.js"
 *
 * @typedef {object} ErrorKind errors that say the same
 * @property {string} gist
 * @property {string} words the error itself, or the gist where the errors differ
 * @property {number} count
 *
 * @typedef {object} ErrorActions
 * @property {(only: Only | null) => void} show rows of one kind alone, or all of them
 * @property {(numbers: number[]) => void} retry
 */

const FEW = 3; // kinds that are shown unless somebody asks for all

/**
 * @param {Rows} rows
 * @param {number} number
 */
const hasFailed = (rows, number) => rows.kind[number] === FAILED || rows.kind[number] === LOST;

/**
 * The kinds of errors, the most frequent first.
 *
 * @param {Rows} rows
 * @returns {ErrorKind[]}
 */
export function errorKinds(rows) {
  /** @type {Map<string, ErrorKind>} */
  const kinds = new Map();
  for (let i = 0; i < rows.length; i++) {
    if (!hasFailed(rows, i)) continue;
    const gist = gistOf(rows, rows.note[i]);
    const words = rows.strings[rows.note[i]];
    const kind = kinds.get(gist);
    if (!kind) kinds.set(gist, { gist, words, count: 1 });
    else {
      kind.count++;
      if (kind.words !== words) kind.words = gist;
    }
  }
  return [...kinds.values()].sort((a, b) => b.count - a.count);
}

/**
 * The rows whose errors are of one kind.
 *
 * @param {Rows} rows
 * @param {string} gist
 * @returns {Only}
 */
export const onlyError = (rows, gist) => ({
  id: `error ${gist}`,
  fits: (number) => hasFailed(rows, number) && gistOf(rows, rows.note[number]) === gist,
});

/**
 * @param {Store} store
 * @param {ErrorActions} act
 */
export function makeErrors(store, act) {
  const { rows, look } = store;
  const list = h("span", "scaler-error-kinds");
  const more = Object.assign(h("button", "scaler-more"), { type: /** @type {const} */ ("button") });
  const retry = Object.assign(h("button", "scaler-button scaler-retry-these"), {
    type: /** @type {const} */ ("button"),
    title: "Submit the calls with this error again",
  });
  const node = setRole(h("div", "scaler-errors", list, more, retry), "group", { "aria-label": "errors" });
  /** @type {Map<string, ReturnType<typeof makeKind>>} */
  const made = new Map();
  /** @type {ErrorKind[]} */
  let kinds = [];
  let all = false;

  /** @param {string} gist */
  function makeKind(gist) {
    const [words, count] = [h("span", "scaler-error-words"), h("span", "scaler-times-sign")];
    const button = h("button", "scaler-finding scaler-error-kind", words, count);
    button.type = "button";
    const only = onlyError(rows, gist);
    button.onclick = () => act.show(look.only?.id === only.id ? null : only);
    return { button, words, count, only };
  }

  const shownKind = () => kinds.find(({ gist }) => look.only?.id === onlyError(rows, gist).id);

  retry.onclick = () => {
    const { only } = look;
    if (!only) return;
    const numbers = [];
    for (let i = 0; i < rows.length; i++) if (only.fits(i)) numbers.push(i);
    if (numbers.length) act.retry(numbers);
  };
  more.onclick = () => {
    all = !all;
    paint(true);
  };

  /** @param {boolean} failed has anything? */
  function paint(failed) {
    const found = failed ? errorKinds(rows) : [];
    // What somebody is about to click stays where it is.
    if (!node.matches(":hover") || kinds.length !== found.length) kinds = found;
    else kinds = kinds.map((kind) => found.find(({ gist }) => gist === kind.gist) ?? kind);
    const chosen = shownKind();
    const few = kinds.filter((kind, i) => all || i < FEW || kind === chosen);
    const buttons = few.map((kind) => {
      const each = made.get(kind.gist) ?? makeKind(kind.gist);
      made.set(kind.gist, each);
      setText(each.words, kind.words || "no words");
      setText(each.count, kind.count > 1 ? ` × ${amount(kind.count)}` : "");
      each.button.title = `show only these\n${kind.words}`;
      each.button.setAttribute("aria-pressed", String(kind === chosen));
      return each.button;
    });
    setChildren(list, buttons);
    node.hidden = !kinds.length;
    more.hidden = !all && few.length === kinds.length;
    setText(more, all ? "fewer" : `${amount(kinds.length - few.length)} more`);
    retry.hidden = !chosen || store.lost;
    retry.disabled = Boolean(store.asked);
    setText(retry, chosen && chosen.count > 1 ? `Retry these ${amount(chosen.count)}` : "Retry this one");
  }

  return { node, paint };
}
