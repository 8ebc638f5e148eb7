"""``scaler-notebook mcp``: the user's engines for coding agents, by the Model Context Protocol (MCP) on stdio."""
