"""What may be proposed as `data.dvc`: it comes from a job that read other people's tables. Standard library only."""

import re

from graphmill.errors import UserError

LINE = re.compile(rb"outs:|(- |  )(md5: [0-9a-f]{32}\.dir|size: \d+|nfiles: \d+|hash: md5|path: data|remote: [\w-]+)")
BYTES = 1000


def check(content: bytes) -> None:
    """Refuse what is no `data.dvc` of one folder `data`, as DVC writes it.

    Raises:
        UserError: naming the first line that does not belong there.
    """
    lines = content[:BYTES].splitlines()
    for line in lines:
        if not LINE.fullmatch(line):
            raise UserError(f"data.dvc: does not describe one folder `data`: {line[:80].decode(errors='replace')!r}")
    if lines[:1] != [b"outs:"] or sum(line.startswith(b"- ") for line in lines) != 1 or len(content) > BYTES:
        raise UserError("data.dvc: does not describe one folder `data`")
