/* What is held down in a view stays as it is until it is let go, and then does what it said when it was pressed. */

const MAX_MS = 10_000; // of one press: the end of some is told to nobody, and a view must go on
const AFTER_TOUCH_MS = 100; // in which a touch that has ended may still become a click

/**
 * Know whether something in a view is held down, by a pointer or the space bar, or was let go and is about to be
 * clicked.
 *
 * @param {HTMLElement} root
 * @param {() => void} free called when what was held down has been let go, and clicked
 */
export function watchHold(root, free) {
  let [since, timer] = [-Infinity, 0];

  /** @param {number} delay */
  function letGo(delay) {
    clearTimeout(timer);
    timer = window.setTimeout(() => {
      since = -Infinity;
      free();
    }, delay); // behind the click, which comes with the event that ends the press
  }

  /** @param {PointerEvent | KeyboardEvent} event */
  function press(event) {
    if (event instanceof KeyboardEvent && event.key !== " ") return;
    since = performance.now();
    letGo(MAX_MS);
  }

  /** @param {PointerEvent | KeyboardEvent} event */
  function end(event) {
    if (since === -Infinity || (event.type === "pointermove" && "buttons" in event && event.buttons)) return;
    letGo("pointerType" in event && event.pointerType === "touch" ? AFTER_TOUCH_MS : 0);
  }

  const begins = /** @type {const} */ (["pointerdown", "keydown"]);
  const ends = /** @type {const} */ (["pointerup", "pointercancel", "pointermove", "keyup"]);
  for (const type of begins) root.addEventListener(type, press, true);
  for (const type of ends) document.addEventListener(type, end, true);
  return {
    isHeld: () => since !== -Infinity,
    end() {
      clearTimeout(timer);
      for (const type of begins) root.removeEventListener(type, press, true);
      for (const type of ends) document.removeEventListener(type, end, true);
    },
  };
}

/**
 * Hear messages, but none while something in a view is held down: then, they wait.
 *
 * @param {HTMLElement} root
 * @param {(message: unknown) => void} take
 */
export function hearWhenFree(root, take) {
  /** @type {unknown[]} */
  const waiting = [];
  function takeAll() {
    for (const message of waiting.splice(0)) take(message);
  }
  const hold = watchHold(root, takeAll);
  return {
    /** @param {unknown} message */
    hear(message) {
      if (hold.isHeld()) waiting.push(message);
      else take(message);
    },
    takeAll,
    end: hold.end,
  };
}
