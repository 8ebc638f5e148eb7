/* Texts by their code points, which Python counts; a character beyond the first 65,536 is two of JavaScript's units. */

const WIDE = /[\ud800-\udfff]/;

/** @param {string} text */
export const lengthOf = (text) => (WIDE.test(text) ? [...text].length : text.length);

/**
 * @param {string} text
 * @param {number} start
 * @param {number} [end]
 */
export const sliced = (text, start, end) =>
  WIDE.test(text) ? [...text].slice(start, end).join("") : text.slice(start, end);
