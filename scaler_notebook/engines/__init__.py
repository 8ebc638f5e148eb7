"""The engines that run tasks, each behind the interface :class:`~.base.Engine`."""
