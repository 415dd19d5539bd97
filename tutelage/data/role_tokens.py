"""How role tokens look when a model writes them as letters. Leaves out token ids, which never get this far."""

from __future__ import annotations

import re

# Tokens of the common chat formats: <|im_start|>, <start_of_turn>, </s>, [INST], <<SYS>>, and full-width bars.
ROLE_TOKEN = re.compile(
    r"<\|[\w ]{1,40}\|?>|<\w{1,40}\|>|<｜[^｜\n]{1,40}｜>|<(?:start|end)_of_(?:turn|image|text)>"
    r"|</s>|<(?:bos|eos|pad|unk|mask)>|<unused\d{1,4}>|\[/?INST\]|<</?SYS>>",
    re.IGNORECASE,
)
