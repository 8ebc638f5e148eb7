/**
 * The module of every view. Front ends make a module of this text for each model and never let go of either, JupyterLab
 * 4.6 not of the model's traits (it connects every comm to its kernel's statusChanged for good). So it is small, and
 * finds the real one, which all models of a page share, in a trait that it empties.
 *
 * @import { Channel, Traits, ViewContext, Widget } from "./messages.js"
 */

/** @type {Record<symbol, Map<string, Promise<{default: Widget | (() => Widget)}>>>} */
const page = /** @type {any} */ (globalThis);
const modules = (page[Symbol.for("scaler_notebook.modules")] ??= new Map());

/** @param {string} source */
function load(source) {
  const known = modules.get(source);
  if (known) return known;
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const loaded = import(url).finally(() => URL.revokeObjectURL(url));
  modules.set(source, loaded);
  return loaded;
}

export default () => {
  /** @type {Widget} */
  let widget;
  return {
    /** @param {{model: Channel & Traits}} context */
    async initialize(context) {
      const made = (await load(context.model.get("_module"))).default;
      // Here alone: nothing is saved to the kernel. A model remembers what it was before the last of these.
      for (const text of ["_module", "_css", "_css"]) context.model.set(text, "");
      widget = typeof made === "function" ? made() : made;
      return widget.initialize?.(context);
    },
    /** @param {ViewContext} context */
    render: (context) => widget.render(context),
  };
};
