"""An MCP server that lists, returns and prints whatever its first argument says."""

import json
import sys

conf = json.loads(sys.argv[1])


def printed(text):
    sys.stdout.buffer.write(text.encode("latin-1"))
    sys.stdout.flush()


printed(conf.get("printed", ""))


def out(message_id, **said):
    text = json.dumps({"jsonrpc": "2.0", "id": message_id, **said})
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


for line in sys.stdin:
    message = json.loads(line)
    number, method = message.get("id"), message.get("method")
    if number is None:
        continue
    if method == "initialize":
        version = message["params"]["protocolVersion"]
        capabilities = {"tools": {}}
        info = {"name": "raw", "version": "1"}
        out(number, result={"protocolVersion": version, "capabilities": capabilities,
                            "serverInfo": info})  # fmt: skip
    elif method == "tools/list":
        page = int((message.get("params") or {}).get("cursor") or 0)
        page = min(page, conf.get("last_page", page))
        pages = conf.get("pages") or [conf["tools"]]
        more = {"nextCursor": str(page + 1)} if page + 1 < len(pages) else {}
        out(number, result={"tools": pages[page], **more})
    elif method == "tools/call":
        told = conf.get("result")
        if "line" in conf:
            printed(conf["line"].replace("ID", str(number)) + "\n")
            continue
        if "error" in conf:
            out(number, error=conf["error"])
            continue
        if told is None:
            text = json.dumps(message["params"])
            told = {"content": [{"type": "text", "text": text}]}
        out(number, result=told)
    else:
        out(number, error={"code": -32601, "message": "no"})
