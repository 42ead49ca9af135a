"""Postbacks at a steady rate, run on the machine by its own Python: `python3 load.py NAME RATE SECONDS BASE...`

They go to the base URLs in turn, each over a connection of its own and with a subid of its own, which begins with NAME.
Prints JSON: how many of each answer (0: none), and the longest that anybody waited.
"""

import json
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter

#: Seconds that a caller waits.
PATIENCE = 60.0

answers: Counter[int] = Counter()
waits: list[float] = []
busy = threading.Lock()


def call(base: str, number: int) -> None:
    """A postback that brings its own click."""
    subid = f"load{sys.argv[1]}{number:06d}"
    url = f"{base}/2a76c2a/postback?subid={subid}&status=sale&payout=1&campaign=AbCd12&fbclid=IwAR0Example_Click-Id"
    began = time.monotonic()
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            status = answer.status
    except urllib.error.HTTPError as error:
        status = error.code
    except OSError:
        status = 0
    with busy:
        answers[status] += 1
        waits.append(time.monotonic() - began)


def main() -> None:
    rate, seconds, bases = float(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]
    began, callers = time.monotonic(), []
    for number in range(int(rate * seconds)):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        callers.append(threading.Thread(target=call, args=(bases[number % len(bases)], number)))
        callers[-1].start()
    for caller in callers:
        caller.join()
    print(json.dumps({"answers": answers, "longest": max(waits)}))


if __name__ == "__main__":
    main()
