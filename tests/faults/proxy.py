"""A piece of network between two processes, which can be cut."""

import asyncio
import contextlib
import random
import threading


class Wire:
    """Forwards a port of its own to another one, until it is cut or held."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._ends: set[asyncio.StreamWriter] = set()
        self.is_held = False
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        starting = asyncio.start_server(self._connected, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result()
        self.port: int = self._server.sockets[0].getsockname()[1]

    def cut(self, rng: random.Random, share: float) -> None:
        """Reset a share of the connections, in the middle of whatever they carry."""
        self._loop.call_soon_threadsafe(self._abort, random.Random(rng.random()), share)

    def hold(self, seconds: float) -> None:
        """Let nothing through for a while, without a word to either side; then reset every connection."""
        self._loop.call_soon_threadsafe(self._flowing.clear)
        self.is_held = True
        threading.Event().wait(seconds)
        self.is_held = False
        self._loop.call_soon_threadsafe(self._abort, random.Random(), 1.0)
        self._loop.call_soon_threadsafe(self._flowing.set)

    def close(self) -> None:
        """Stop forwarding."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def _end(self) -> None:
        self._server.close()
        self._flowing.set()
        self._abort(random.Random(), 1.0)
        if open_ := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(open_, timeout=5)

    def _abort(self, drawn: random.Random, share: float) -> None:
        for end in list(self._ends):
            if drawn.random() < share:
                end.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._ends |= {writer, far_writer}
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        self._ends -= {writer, far_writer}

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 16):
                await self._flowing.wait()
                target.write(data)
                await target.drain()
        target.close()
