"""Kimi's own tokenizer, where there is one."""

import hashlib
import itertools
import os
from pathlib import Path

from kimikit.money import tokens


def find_tokenizer():
    """Return Kimi's own file: named, or in a folder kimi-tokenizer near the checkout."""
    around = [p.glob("*/kimi-tokenizer/tiktoken.model") for p in ROOT.parents]
    named = Path(os.environ.get("KIMIKIT_TOKENIZER", "-"))
    for path in itertools.chain([named], *around):
        if path.is_file():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            assert digest == tokens.SHA256, f"{path} is another vocabulary"
            return path
    return None


ROOT = Path(__file__).parents[2]
FOUND = find_tokenizer()
