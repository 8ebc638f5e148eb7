/* Amounts and times as a person says them. */

/** @import { Progress } from "./messages.js" */

/** @param {number} n */
export const amount = (n) => n.toLocaleString("en", { maximumFractionDigits: 2 }).replaceAll(",", "\u2009");

/** @param {Progress} progress */
export const progressWords = (progress) =>
  [progress.amount, progress.left, progress.note].filter(Boolean).join(" · ");

/** @param {number} n */
export const twoDigits = (n) => String(n).padStart(2, "0");

/**
 * Seconds; `settled` times below a second are worth their milliseconds.
 *
 * @param {number} seconds
 * @param {boolean} settled
 */
export function duration(seconds, settled) {
  const s = Math.max(0, seconds);
  if (settled && s < 0.9995) return `${Math.round(s * 1000)} ms`;
  if (s < 59.95) return `${s.toFixed(1)} s`;
  const whole = Math.round(s);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${twoDigits(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${twoDigits(Math.floor((whole % 3600) / 60))} min`;
}

/**
 * `40 s`, as in "about 40 s left": no more exact than it is true.
 *
 * @param {number} milliseconds
 */
export function roughly(milliseconds) {
  const s = milliseconds / 1000;
  if (s < 10) return `${Math.max(1, Math.round(s))} s`;
  if (s < 90) return `${Math.round(s / 5) * 5} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  return `${(s / 3600).toFixed(1)} h`;
}
