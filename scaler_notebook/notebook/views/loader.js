/**
 * The module of every view. Front ends make a module of this text for each model and never let go of either, JupyterLab
 * 4.6 not of the model's traits (it connects every comm to its kernel's statusChanged for good). So it is small, and
 * finds the real one, which all models of a page share, in a trait that it empties.
 */

const modules = (globalThis[Symbol.for("scaler_notebook.modules")] ??= new Map());

function load(source) {
  if (!modules.has(source)) {
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    modules.set(source, import(url).finally(() => URL.revokeObjectURL(url)));
  }
  return modules.get(source);
}

export default () => {
  let widget;
  return {
    async initialize(context) {
      const made = (await load(context.model.get("_module"))).default;
      // Here alone: nothing is saved to the kernel. A model remembers what it was before the last of these.
      for (const text of ["_module", "_css", "_css"]) context.model.set(text, "");
      widget = typeof made === "function" ? made() : made;
      return widget.initialize?.(context);
    },
    render: (context) => widget.render(context),
  };
};
