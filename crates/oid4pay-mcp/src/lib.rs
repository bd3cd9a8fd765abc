//! An MCP server that lets an agent pay within limits its human set
