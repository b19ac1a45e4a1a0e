"""An MCP server for the tests; run by path it speaks over its standard streams."""

import asyncio
import logging
import os
import sys

from mcp.server.mcpserver import Image, MCPServer
from mcp_types import ToolAnnotations

logging.disable()
server = MCPServer("demo")

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool(annotations=ToolAnnotations(destructive_hint=True))
def wipe(name: str) -> str:
    """Wipe a disk."""
    raise ValueError(f"no {name}")


@server.tool()
def draw() -> Image:
    """Draw."""
    return Image(data=PNG, format="png")


@server.tool()
def die() -> str:
    """Die."""
    print("disk full", file=sys.stderr, flush=True)
    os._exit(3)


@server.tool()
async def doze() -> str:
    """Sleep."""
    await asyncio.sleep(60)
    return "late"


if __name__ == "__main__":
    server.run()
