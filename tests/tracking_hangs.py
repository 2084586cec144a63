"""A recorder that hangs, with a service in a session of its own that holds its output open."""

import os
import subprocess
import time

if __name__ == "__main__":
    service = subprocess.Popen(["sleep", "120"], start_new_session=True)
    print(os.getpid(), service.pid, sep="\n", flush=True)
    time.sleep(120)
