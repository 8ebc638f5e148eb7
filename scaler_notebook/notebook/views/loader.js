/**
 * The module of every view. Front ends make a module of this text for each model and never let go of either, JupyterLab
 * 4.6 not of the model's traits (it connects every comm to its kernel's statusChanged for good). So it is small, and
 * asks the kernel for the real one, which comes once to each page.
 *
 * @import { Channel, ModuleMessage, Packed, Traits, ViewContext, Widget } from "./messages.js"
 *
 * @typedef {Widget | (() => Widget)} Made what a module exports
 * @typedef {{made: Promise<Made>, take: (buffer: BlobPart) => void}} Module
 */

const ASK_AGAIN_MS = 1000; // the first question may have gone to a busy main thread; each pause is longer than the last

/** @type {Record<symbol, {name: string, modules: Map<string, Module>}>} */
const global = /** @type {any} */ (globalThis);
const page = (global[Symbol.for("scaler_notebook.page")] ??= {
  name: Math.random().toString(36).slice(2),
  modules: new Map(),
});

/** @param {BlobPart} buffer */
async function load(buffer) {
  const unpacked = new Blob([buffer]).stream().pipeThrough(new DecompressionStream("gzip"));
  const { script, style } = /** @type {Packed} */ (await new Response(unpacked).json());
  const node = document.createElement("style");
  node.textContent = style;
  document.head.append(node);
  const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  const module = await import(url).finally(() => URL.revokeObjectURL(url));
  return module.default;
}

/** @returns {Module} */
function expectModule() {
  /** @type {(buffer: BlobPart) => void} */
  let take = () => {};
  /** @type {Promise<BlobPart>} */
  const taken = new Promise((resolve) => (take = resolve));
  return { made: taken.then(load), take };
}

/**
 * Ask the kernel for a module until it is there, whoever got it; gives how to ask no more.
 *
 * @param {Channel} model
 * @param {Module} module
 * @param {boolean} first is nobody else asking for it just now?
 */
function askFor(model, module, first) {
  const hear = (/** @type {unknown} */ received, /** @type {BlobPart[]} */ buffers = []) => {
    const message = /** @type {ModuleMessage | null} */ (received);
    if (message?.type === "module") module.take(buffers[0]);
  };
  const ask = () => model.send({ type: "module", page: page.name });
  let [pause, timer] = [ASK_AGAIN_MS, 0];
  function askLater() {
    timer = window.setTimeout(() => {
      pause *= 3;
      ask();
      askLater();
    }, pause);
  }
  function stop() {
    clearTimeout(timer);
    model.off("msg:custom", hear);
  }
  model.on("msg:custom", hear);
  if (first) ask();
  askLater();
  module.made.finally(stop);
  return stop;
}

export default () => {
  /** @type {Promise<Widget>} */
  let widget;
  return {
    /** @param {{model: Channel & Traits}} context */
    initialize(context) {
      const { model } = context;
      model.send({ type: "here" });
      const name = model.get("_module");
      const known = page.modules.get(name);
      const module = known ?? expectModule();
      page.modules.set(name, module);
      const askNoMore = askFor(model, module, !known);
      let over = false;
      /** @type {(() => void) | undefined} */
      let end;
      widget = module.made.then((made) => (typeof made === "function" ? made() : made));
      widget.then(({ initialize }) => {
        if (!over) end = initialize?.(context);
      });
      return () => {
        over = true;
        askNoMore();
        end?.();
      };
    },
    /** @param {ViewContext} context */
    render: async (context) => (await widget).render(context),
  };
};
