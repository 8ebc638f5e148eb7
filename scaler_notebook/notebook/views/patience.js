/* How long views wait, and what they say when they have waited in vain. */

export const TICK_MS = 100;
export const PATIENCE_MS = 5000; // until a click that nobody has answered can be made again: a kernel may lose one
export const KNOCK_AGAIN_MS = 1000; // until `ready` is said once more, if nothing has come
export const NO_ANSWER = "no answer yet: the kernel may be busy; you can click again";
