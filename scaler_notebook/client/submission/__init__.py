"""From a call to a task: options, pickling, and how the call reads for a person."""
