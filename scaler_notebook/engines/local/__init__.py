"""The engine for one machine: a scheduler process that owns its task processes.

client (agent thread) ──raw sockets───► scheduler ──raw sockets──► task process
                                          │  └─ socket ─► fork server ─fork─► task process (the scheduler's child)
kernel ──lifeline (its stdin)────────────►┘
"""
