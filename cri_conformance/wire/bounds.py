# SPDX-License-Identifier: Apache-2.0
"""How much of what a runtime sends is taken: a message that is small on the wire may be huge here.

An empty item of a list takes two bytes on the wire and some hundred in memory. So before a
message is read, what it would take is estimated: by a bound that costs next to nothing, and,
where that is too high, by walking over the message without building it.
"""

from __future__ import annotations

from typing import Any

#: Bytes of memory that one message may take.
MOST_MEMORY = 256 * 1024 * 1024
#: Characters kept of what a runtime says with an error.
MOST_SAID = 16 * 1024
#: Bytes that an object takes that was made of a message inside another one.
_OBJECT = 250
#: What the walk takes for one, so that it comes to its end with some 400,000 of them.
_ITEM = 640

#: A message inside another one has a length before it: a small one where it is small itself.
_SMALL = bytes(range(16))
#: Below it a message can't take too much.
_HARMLESS = MOST_MEMORY // 256


def memory(data: bytes) -> int:
    """An upper bound of the bytes that a message takes in memory, from what came."""
    if len(data) < 1024:
        return 130 * len(data)
    return 14 * len(data) + _OBJECT * (len(data) - len(data.translate(None, _SMALL)))


def closely(descriptor: Any, data: bytes) -> int:
    """About the bytes that a message takes in memory, by walking over it if it is not small."""
    if len(data) < 1024:
        return 2048
    return MOST_MEMORY - _walked(descriptor, memoryview(data), MOST_MEMORY)


def too_much(descriptor: Any, data: bytes) -> str:
    """Why a message is not read, in words; "" if it can be."""
    if len(data) < _HARMLESS or memory(data) <= MOST_MEMORY:
        return ""
    if _walked(descriptor, memoryview(data), MOST_MEMORY) >= 0:
        return ""
    return f"{len(data)} bytes came that would take more than {MOST_MEMORY >> 20} MiB of memory"


def _walked(descriptor: Any, data: memoryview, left: int) -> int:
    """What is left of some bytes of memory after a message; below 0 if it takes more."""
    at, end = 0, len(data)
    fields = descriptor.fields_by_number
    while at < end and left >= 0:
        # Most keys and lengths are one byte: this walks over hundreds of thousands of them.
        key = data[at]
        at += 1
        if key >= 0x80:
            key, at = _varint(data, at - 1)
        kind = key & 7
        if kind == 0:
            _, at = _varint(data, at)
        elif kind == 2:
            size = data[at] if at < end else 0
            at += 1
            if size >= 0x80:
                size, at = _varint(data, at - 1)
            field = fields.get(key >> 3)
            if field is not None and field.message_type is not None:
                left -= _ITEM
                if size:
                    left = _walked(field.message_type, data[at : at + size], left)
            else:
                # Of numbers that stand together each byte may be one.
                text = field is None or field.cpp_type == field.CPPTYPE_STRING
                left -= 32 + size * (1 if text else 8)
            at += size
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            # No message at all: whoever reads it will say so.
            break
    return left


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    return value, at
