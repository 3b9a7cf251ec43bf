"""An event loop that never goes on."""

import subprocess
import sys

STUCK = """
import asyncio, logging, threading
from odin.api.watchdog import Watchdog
logging.basicConfig()

async def serve():
    with Watchdog(give_up_s=0.5):
        threading.Event().wait()

asyncio.run(serve())
"""


def test_f11_a_server_whose_event_loop_never_goes_on_ends_and_says_where_it_was():
    done = subprocess.run([sys.executable, "-c", STUCK], capture_output=True, text=True, check=False)
    assert done.returncode == 9
    assert "threading.Event().wait()" in done.stderr or 'File "<string>", line 8, in serve' in done.stderr
    assert "this server ends, to be started again; tasks run on" in done.stderr
