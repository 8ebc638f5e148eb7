"""The way of queued tasks to processes: which goes where and when, and how many processes there are."""
