/* The lanes of a time line: who ran where. */

import { endOf, textOf } from "../store/board_rows.js";

/**
 * @import { Rows } from "../store/board_rows.js"
 *
 * @typedef {{name: string, from: number, until: number, tasks: number[]}} Process
 * @typedef {{processes: Process[], tasks: number[], until: number}} Lane
 */

/**
 * @param {Rows} rows
 * @param {number} number of a row that has started
 */
export const startOf = (rows, number) => rows.started[number] ?? 0;

/**
 * Who ran where, the tasks of a lane in the order of their start. A process that takes the place of one that was ended
 * goes on in its lane, so that there are as many lanes as tasks that ran at a time.
 *
 * @param {Rows} rows
 * @param {number} now
 */
export function makeLanes(rows, now) {
  /** @type {number[]} */
  const started = [];
  for (let i = 0; i < rows.length; i++) if (rows.started[i] !== null) started.push(i);
  started.sort((a, b) => startOf(rows, a) - startOf(rows, b));
  /** @type {Map<string, Process>} */
  const processes = new Map();
  for (const number of started) {
    const name = textOf(rows, "processor", number);
    const key = name || `task ${number}`; // where it ran is not known: on its own
    const until = endOf(rows, number, now);
    const process = processes.get(key);
    if (process) {
      process.tasks.push(number);
      process.until = Math.max(process.until, until);
    } else processes.set(key, { name, from: startOf(rows, number), until, tasks: [number] });
  }
  /** @type {Lane[]} */
  const lanes = [];
  for (const process of processes.values()) {
    let lane = lanes.find((free) => free.until <= process.from);
    if (!lane) lanes.push((lane = { processes: [], tasks: [], until: 0 }));
    lane.processes.push(process);
    lane.tasks = lane.tasks.concat(process.tasks);
    lane.until = process.until;
  }
  return lanes;
}
