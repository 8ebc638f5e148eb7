/* What a person is about in a view goes on when the page takes the view out of the document and puts it back. */

/**
 * @typedef {{node: Element, key: boolean, torn: boolean}} Press what is held down, by a key or a pointer; was it out of
 *   the document since?
 */

/**
 * Watch what is focused, scrolled, selected, held down and dragged in an element.
 *
 * @param {HTMLElement} el
 */
export function watchGestures(el) {
  const [focus, press, selection] = [watchFocus(el), watchPress(el), watchSelection(el)];
  const [scrolling, capture] = [watchScrolling(el), watchCapture(el)];
  return {
    /** Go on with all of it: the element is back. */
    resume() {
      press.tear();
      scrolling.restore();
      selection.restore(); // before the focus: that of a text field has its own selection
      focus.restore();
      capture.restore();
    },
    end() {
      for (const each of [focus, press, selection, scrolling, capture]) each.end();
    },
  };
}

/**
 * @param {EventTarget} target
 * @param {Record<string, (event: any) => void>} listeners by the type of their events
 * @param {boolean} first do they hear before what is in the target?
 */
function listen(target, listeners, first = true) {
  for (const [type, hear] of Object.entries(listeners)) target.addEventListener(type, hear, first);
  return () => {
    for (const [type, hear] of Object.entries(listeners)) target.removeEventListener(type, hear, first);
  };
}

/** @param {HTMLElement} el */
function watchFocus(el) {
  /** @type {HTMLElement | null} */
  let focused = null;
  const end = listen(el, {
    focusin: ({ target }) => (focused = target),
    focusout() {
      // What is taken out of the document loses the focus just before.
      queueMicrotask(() => {
        if (el.isConnected && !el.contains(document.activeElement)) focused = null;
      });
    },
  });
  function restore() {
    if (document.activeElement === document.body) focused?.focus({ preventScroll: true });
  }
  return { restore, end };
}

/** @param {HTMLElement} el */
function watchScrolling(el) {
  /** @type {Map<Element, number>} */
  const scrolled = new Map();
  const end = listen(el, {
    scroll({ target }) {
      if (target instanceof Element) scrolled.set(target, target.scrollTop);
    },
  });
  function restore() {
    for (const [node, top] of scrolled) {
      if (el.contains(node)) node.scrollTop = top;
      else scrolled.delete(node);
    }
  }
  return { restore, end };
}

/**
 * A selection, also one that is being made: its ends would be where the element was.
 *
 * @param {HTMLElement} el
 */
function watchSelection(el) {
  /** @type {[anchor: Node, at: number, focus: Node, to: number] | null} */
  let selected = null;
  const end = listen(document, {
    selectionchange() {
      const { anchorNode, anchorOffset, focusNode, focusOffset } = getSelection() ?? {};
      if (anchorNode && focusNode && el.contains(anchorNode) && el.contains(focusNode))
        selected = [anchorNode, anchorOffset ?? 0, focusNode, focusOffset ?? 0];
      else if (el.isConnected) selected = null;
    },
  });
  function restore() {
    if (!selected || !getSelection()?.isCollapsed) return;
    const [anchor, at, focus, to] = selected;
    const there = el.contains(anchor) && el.contains(focus) && at <= lengthOf(anchor) && to <= lengthOf(focus);
    if (there) getSelection()?.setBaseAndExtent(anchor, at, focus, to);
  }
  return { restore, end };
}

/** @param {Node} node */
const lengthOf = (node) => (node instanceof CharacterData ? node.length : node.childNodes.length);

/**
 * What drags has captured its pointer, and gets it back.
 *
 * @param {HTMLElement} el
 */
function watchCapture(el) {
  /** @type {{node: Element, pointer: number} | null} */
  let captured = null;
  function forget() {
    captured = null;
  }
  const known = {
    /** @param {PointerEvent} event */
    pointerdown({ target, pointerId }) {
      const captures = target instanceof Element && target.hasPointerCapture(pointerId);
      captured = captures ? { node: target, pointer: pointerId } : null;
    },
    pointerup: forget,
    pointercancel: forget,
  };
  const end = listen(el, known, false); // what drags captures its pointer when it hears of that
  function restore() {
    if (captured && el.contains(captured.node)) captured.node.setPointerCapture(captured.pointer);
  }
  return { restore, end };
}

/**
 * A button that is held down is clicked when it is let go. Browsers see to that alone where the element did not leave
 * the page meanwhile, or was touched.
 *
 * @param {HTMLElement} el
 */
function watchPress(el) {
  /** @type {Press | null} */
  let press = null;

  /**
   * @param {Node} at what is there now
   * @param {(node: Element) => void} click
   */
  function letGo(at, click) {
    const [torn, pressed] = [press?.torn, press?.node ?? null];
    press = null;
    let node = pressed;
    while (node && !node.contains(at)) node = node.parentElement; // as browsers do, if both are in one button
    if (torn && node && el.contains(node) && !node.closest(":disabled")) click(node);
  }

  const stopListening = [
    listen(el, {
      pointerdown({ target, button, pointerType }) {
        press = button === 0 && pointerType !== "touch" ? { node: target, key: false, torn: false } : null;
      },
      keydown({ target, key }) {
        if (key === " " && target.matches("button, summary")) press = { node: target, key: true, torn: false };
      },
    }),
    listen(document, {
      pointerup(event) {
        if (press && !press.key) letGo(event.target, (node) => node.dispatchEvent(new MouseEvent("click", event)));
      },
      pointercancel: () => (press = null),
      keyup({ target, key }) {
        if (press?.key && key === " ") letGo(target, (node) => /** @type {HTMLElement} */ (node).click());
      },
    }),
  ];
  return {
    tear() {
      if (press) press.torn = true;
    },
    end() {
      for (const stop of stopListening) stop();
    },
  };
}
