/* The frame of a board: its head, its tools, its foot, and the places of what is between them. */

import { button, h, keepFocus, keepKeys, setAttributes, setRole, setText } from "../dom.js";
import { drawIcon, makeIcon } from "../icons.js";
import { KINDS, STORY } from "./store/board_rows.js";

/** @import { Tab } from "./store/board_store.js" */

/** @type {[name: Tab, title: string][]} */
const TABS = [["graph", "Graph"], ["table", "Table"], ["functions", "By function"], ["timeline", "Time line"]];

/**
 * @param {HTMLElement[]} findings what is worth a look: errors, and what runs for too long
 * @param {HTMLElement[]} panels graph, table and time line
 * @param {HTMLElement} pane
 */
export function buildFrame(findings, panels, pane) {
  const title = h("span", "scaler-title");
  const times = h("span", "scaler-times");
  const retry = button("scaler-retry", "Submit again what failed");
  const retryCancelled = button("scaler-retry-cancelled", "Submit again what was cancelled");
  const kill = button("scaler-kill", "End the processes of the tasks that went on after a cancel");
  const cancel = button("scaler-cancel", "Ask everything that is unfinished to stop");
  const top = h("div", "scaler-top", title, times, h("span", "scaler-actions", retry, retryCancelled, kill, cancel));

  const parts = STORY.map(makePart);
  const bar = setRole(h("div", "scaler-bar"), "group", { "aria-label": "tasks by state" });
  bar.append(...parts.map((part) => part.segment));
  const chips = setRole(h("div", "scaler-chips"), "group", { "aria-label": "show only" });
  chips.append(...parts.map((part) => part.chip));
  const search = h("input", "scaler-search");
  Object.assign(search, { type: "search", placeholder: "Filter", spellcheck: false });
  search.setAttribute("aria-label", "filter by call, process or note");
  const tabs = TABS.map(([name, words]) => {
    const node = h("button", "scaler-tab", words);
    node.type = "button";
    return { name, node };
  });
  const tabBar = h("div", "scaler-tabs", ...tabs.map(({ node }) => node));
  setRole(tabBar, "group", { "aria-label": "show as" });
  const tools = h("div", "scaler-tools", chips, h("div", "scaler-filter", search, tabBar));

  const said = h("span", "scaler-said", "waiting for the kernel…");
  const retrySelected = button("scaler-retry-selected", "Submit again what failed, or was cancelled, of them");
  const cancelSelected = button("scaler-cancel-selected", "Ask the selected tasks to stop");
  const showAll = button("scaler-show-all", "Show the rows that are left out, too");
  setText(showAll, "Show all");
  const undo = button("scaler-undo", "Submit again what Cancel all has stopped");
  setText(undo, "Undo");
  const foot = h("div", "scaler-foot", said, undo, showAll, h("span", "scaler-actions", retrySelected, cancelSelected));
  const status = h("span", "scaler-spoken");
  const found = h("div", "scaler-findings", ...findings);
  const body = h("div", "scaler-body", ...panels);
  const root = h("div", "scaler-board", top, bar, tools, found, body, foot, pane, status);
  setRole(root, "region");
  keepFocus(root);
  keepKeys(root);
  setAttributes(status, { role: "status", "aria-live": "polite" });
  const buttons = { retry, retryCancelled, kill, cancel, retrySelected, cancelSelected, undo, showAll };
  return { root, title, times, ...buttons, parts, search, tabs, said, status };
}

/**
 * A segment of the bar and the words below it: two handles of one filter.
 *
 * @param {number} kind
 */
function makePart(kind) {
  const icon = makeIcon();
  drawIcon(icon, KINDS[kind]);
  const count = h("span", "scaler-count");
  const chip = h("button", "scaler-chip", icon, count);
  chip.type = "button";
  const segment = h("span", "scaler-segment");
  chip.dataset.kind = segment.dataset.kind = KINDS[kind];
  return { kind, chip, segment, count };
}
