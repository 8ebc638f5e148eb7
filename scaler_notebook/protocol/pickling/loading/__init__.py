"""Functions and classes that travel by value, where their pickle is loaded.

cloudpickle gives a function a namespace of its own kind, and recognizes a class that was loaded here before. What else
happens depends on who loads:

* a **task process** loads the call of a task within an :class:`~.unpickling_context.UnpicklingContext`. Everything from
  one module of the notebook shares one namespace, whichever pickle it came in, and a class has the state that the
  notebook gave it at the time of the submit;
* **every other process** loads a result. A class that exists here keeps its state, and functions get a namespace of
  their own, because the notebook's names belong to the notebook.
"""
