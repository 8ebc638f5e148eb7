/* The tasks that a card's task has submitted, below it. */

import { h, setAttributes, setText } from "../dom.js";
import { drawIcon, makeIcon } from "../icons.js";
import { duration } from "../quantities.js";

/** @import { NestedTask, Row } from "../messages.js" */

const INDENT = 14; // pixels for each task above
const NOT_ITS_OWN = "A cancel of the task above reaches it; what it gives is that task's";

function makeLine() {
  const [icon, call, time] = [makeIcon(), h("code", "scaler-call"), h("span", "scaler-time")];
  return { node: h("li", "scaler-nested-task", icon, call, time), icon, call, time };
}

export function makeNestedTasks() {
  const words = h("summary");
  const list = h("ul");
  const node = h("details", "scaler-nested-tasks", words, list);
  node.open = true;
  node.hidden = true;
  /** @type {ReturnType<typeof makeLine>[]} */
  const lines = [];
  /** @type {NestedTask[]} */
  let tasks = [];

  /** @param {Row} row */
  function paint({ nested, nested_words }) {
    tasks = nested;
    node.hidden = nested_words === null;
    setText(words, nested_words ?? "");
    paintLines();
  }

  function paintLines() {
    while (lines.length < tasks.length) {
      const line = makeLine();
      lines.push(line);
      list.append(line.node);
    }
    lines.forEach(({ node: each, icon, call }, i) => {
      each.hidden = i >= tasks.length;
      if (each.hidden) return;
      const task = tasks[i];
      if (each.dataset.kind !== task.kind) drawIcon(icon, task.kind);
      setAttributes(each, { "data-kind": task.kind, "aria-label": `${task.call}: ${task.kind}` });
      each.style.paddingLeft = `${task.depth * INDENT}px`;
      each.title = `${task.kind} · ${task.task_id}\n${NOT_ITS_OWN}`;
      setText(call, task.call);
    });
  }

  /** @param {number} now by the kernel's clock */
  function tick(now) {
    tasks.forEach(({ submitted_at, started_at, ended_at }, i) => {
      const seconds = (ended_at ?? now) - (started_at ?? submitted_at);
      setText(lines[i].time, duration(seconds, ended_at !== null));
    });
  }

  /** The kernel has ended, and with it what was unfinished. */
  function lose() {
    tasks = tasks.map((task) => (task.ended_at === null ? { ...task, kind: "lost" } : task));
    paintLines();
  }

  return { node, paint, tick, lose };
}
