"""Judges payloads with slack_sdk: check.py DIRECTORY reads every *.json there.

Prints one line a problem and ends with 1 where there is one. Before that it makes sure that the
judge bites: blocks that break a documented limit must be refused.
"""

import json
import pathlib
import sys

from slack_sdk.models.blocks import Block


def problem(block):
    """What slack_sdk has against the block, or None."""
    try:
        parsed = Block.parse(block)
        if parsed is None:
            return f"unknown block type {block.get('type')!r}"
        parsed.validate_json()
        # What the parser dropped, Slack would refuse.
        lost = set(block) - set(parsed.to_dict())
        return f"unknown keys {sorted(lost)}" if lost else None
    except Exception as error:  # whatever it throws is an objection
        return f"{type(error).__name__}: {error}"


def mrkdwn(length):
    return {"type": "mrkdwn", "text": "x" * length}


BAD = {
    "long header": {"type": "header", "text": {"type": "plain_text", "text": "x" * 151}},
    "long section": {"type": "section", "text": mrkdwn(3001)},
    "section without text": {"type": "section"},
    "eleven fields": {"type": "section", "fields": [mrkdwn(1)] * 11},
    "eleven context elements": {"type": "context", "elements": [mrkdwn(1)] * 11},
    "unknown type": {"type": "nosuch"},
}


def main():
    toothless = [name for name, block in BAD.items() if problem(block) is None]
    if toothless:
        print(f"slack_sdk lets through: {', '.join(toothless)}")
        return 1
    files = sorted(pathlib.Path(sys.argv[1]).glob("*.json"))
    found = 0 if files else 1
    blocks = 0
    for path in files:
        payload = json.loads(path.read_text(encoding="utf-8"))
        attachments = payload.get("attachments", [])
        for block in [block for attachment in attachments for block in attachment.get("blocks", [])]:
            blocks += 1
            objection = problem(block)
            if objection:
                found += 1
                print(f"{path.stem}: {block.get('type')}: {objection}")
    print(f"{len(files)} payloads, {blocks} blocks, {found} problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
