"""A supervisor over throw-away children, for tests to kill: `python -m tests.config.crew LOGS NAME=COMMAND…`.

One whose name ends in `?` is not vital.

A reload replaces the children named web and says "reloaded". Commands of such find the number to write to in `$2`.
"""

import asyncio
import sys
from pathlib import Path

from config.supervisor import Child, KeepsDyingError, Supervisor


async def main(logs: Path, children: list[Child]) -> None:
    supervisor = Supervisor(logs=logs, say=lambda text: print(text, flush=True))

    async def start() -> None:
        for child in children:
            supervisor.start(child)
        print("up", flush=True)

    async def reload() -> None:
        await supervisor.replace("web", ready_seconds=5)
        print("reloaded", flush=True)

    await supervisor.run(start, reload=reload, on_stop=lambda: None)


if __name__ == "__main__":
    crew = [
        Child(
            name=name.removesuffix("?"),
            argv=["sh", "-c", command, name],
            grace_seconds=60,
            is_vital=not name.endswith("?"),
        )
        for name, _equals, command in (argument.partition("=") for argument in sys.argv[2:])
    ]
    try:
        asyncio.run(main(Path(sys.argv[1]), crew))
    except KeepsDyingError as error:
        sys.exit(str(error))
